"""The lock files against pyproject.toml: what the images install is what the distribution asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from images.lock import BUILD, EXTRAS, file_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?P<marker> ;[^\\]*)?")
LOCKS = (*EXTRAS, BUILD)


def wanted(name: str) -> list[Requirement]:
    if name == BUILD:
        return [Requirement(line) for line in PROJECT["build-system"]["requires"]]
    project = PROJECT["project"]
    lines = [*project["dependencies"]]
    for extra in EXTRAS[name]:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def entries(name: str) -> dict[str, tuple[Version, list[str]]]:
    """What the lock file pins, by canonical name: the version and the hashes."""
    found: dict[str, tuple[Version, list[str]]] = {}
    text = file_of(name).read_text(encoding="utf-8").replace("\\\n", "")
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pinned = PINNED.match(line)
        assert pinned is not None, f"not pinned: {line[:60]}"
        hashes = re.findall(r"--hash=(\S+)", line)
        found[canonicalize_name(pinned["name"])] = (Version(pinned["version"]), hashes)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_satisfies_the_project(name: str) -> None:
    """Each library that pyproject.toml names is locked at a version it allows (else: make image-lock)."""
    locked = entries(name)
    problems = []
    for requirement in wanted(name):
        version = locked.get(canonicalize_name(requirement.name), (None, []))[0]
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement}: images/{name}.txt has {version}; run: make image-lock")
    assert problems == []


@pytest.mark.parametrize("name", LOCKS)
def test_each_locked_file_has_its_hash(name: str) -> None:
    """Nothing gets into an image that is not, byte for byte, what was locked."""
    locked = entries(name)
    assert locked
    assert [one for one, (_, hashes) in locked.items() if not hashes] == []
    assert {hashed.partition(":")[0] for _, hashes in locked.values() for hashed in hashes} == {"sha256"}


def test_images_agree_on_shared_libraries() -> None:
    """A library in both images has one version: one advisory, one answer."""
    relay, operator = (entries(name) for name in EXTRAS)
    shared = relay.keys() & operator.keys()
    assert {one: relay[one][0] for one in shared} == {one: operator[one][0] for one in shared}
