"""skaffold.yaml names what there is: targets of the Containerfile, the chart, its values, its own images."""

import re
from pathlib import Path

import pytest
from charts import page
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SKAFFOLD = YAML(typ="safe", pure=True).load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
ARTIFACTS = {artifact["image"]: artifact["docker"] for artifact in SKAFFOLD["build"]["artifacts"]}
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]
CHART = ROOT / RELEASE["chartPath"]
VALUES = {value.path: value for value in page.values((CHART / "values.yaml").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("image", ARTIFACTS)
def test_image_is_a_target(image: str) -> None:
    """Each image is built from its target, upon the base that the Containerfile itself would take."""
    docker = ARTIFACTS[image]
    assert (ROOT / docker["dockerfile"]).is_file()
    assert image == f"waystation-{docker['target']}"
    assert re.search(rf"^FROM \S+ AS {docker['target']}$", CONTAINERFILE, re.MULTILINE)
    base = re.search(r"^ARG BASE=(\S+)$", CONTAINERFILE, re.MULTILINE)
    assert base is not None
    assert f'default "{base[1]}"' in docker["buildArgs"]["BASE"]


def test_values_are_the_charts() -> None:
    """What is set for the chart are values that it has."""
    assert {*RELEASE["setValues"], *RELEASE["setValueTemplates"]} <= set(VALUES)


def test_both_images_are_handed_to_the_chart() -> None:
    """Repository, tag and digest of each come from what was just built."""
    for image, docker in ARTIFACTS.items():
        for part, variable in (("repository", "REPO"), ("tag", "TAG"), ("digest", "DIGEST")):
            template = RELEASE["setValueTemplates"][f"{docker['target']}.image.{part}"]
            assert template == f"{{{{.IMAGE_{variable}_{image.replace('-', '_')}}}}}"
    assert set(ARTIFACTS) == {VALUES[f"{part}.image.repository"].default for part in ("relay", "operator")}
