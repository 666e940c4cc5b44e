"""The Containerfile and what goes with it, without building anything."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.cluster.images.source import PRODUCT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
STAGES = {
    match["name"]: match["body"]
    for match in re.finditer(
        r"^FROM \S+ AS (?P<name>\S+)\n(?P<body>.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL
    )
}
SHIPPED = ("relay", "operator")


def test_version_is_the_distribution_s() -> None:
    """The label of an image built by hand names the version it contains."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert set(re.findall(r"^ARG VERSION=(\S+)$", TEXT, re.MULTILINE)) == {version}


@pytest.mark.parametrize("stage", SHIPPED)
def test_nothing_runs_in_a_shipped_stage(stage: str) -> None:
    """Final stages only copy: no cache, log or leftover of a command gets into them."""
    assert not re.search(r"^(RUN|ADD)\b", STAGES[stage], re.MULTILINE)


@pytest.mark.parametrize("stage", SHIPPED)
def test_shipped_stage_is_not_root(stage: str) -> None:
    """Pod Security `restricted` wants a numeric user other than 0."""
    assert re.findall(r"^USER (.*)$", STAGES[stage], re.MULTILINE) == ["65532:65532"]


def test_ignore_file_lets_through_what_images_are_made_of() -> None:
    """A build by hand and a build for the tests start from the same files."""
    lines = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert let_through | {"Containerfile"} == set(PRODUCT)


def test_docker_ignores_the_same() -> None:
    """Docker reads .dockerignore where Podman and buildah read .containerignore."""
    docker, podman = ROOT / ".dockerignore", ROOT / ".containerignore"
    assert docker.read_bytes() == podman.read_bytes()
