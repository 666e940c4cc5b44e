"""What is made for the chart is up to date. Tests that need Helm are in tests/cluster/lane."""

import tomllib
from pathlib import Path

import pytest
from charts import generate
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "waystation"
MADE = {path.relative_to(ROOT).as_posix(): text for path, text in generate.expected(ROOT).items()}


def test_definitions_are_those_of_the_top() -> None:
    """The chart installs crds/ to the byte; `python -m waystation_operator.cli.generate` writes both."""
    copies = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}
    assert copies == {path.name: path.read_bytes() for path in (ROOT / "crds").iterdir()}


@pytest.mark.parametrize("file", MADE)
def test_made_file_is_up_to_date(file: str) -> None:
    """`python -m charts.generate` would write nothing else."""
    assert (ROOT / file).read_text(encoding="utf-8") == MADE[file]


def test_definitions_keep_their_place_for_annotations() -> None:
    """The template adds to the metadata of a definition by replacing one line, which is there once."""
    for path in (CHART / "files" / "crds").iterdir():
        assert path.read_text(encoding="utf-8").count("\nmetadata:\n") == 1, path.name


def test_versions_are_one() -> None:
    """Chart, application and package have the same version."""
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    chart = YAML(typ="safe", pure=True).load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (package, package)
