"""The images, built when they changed; each one's files mounted once for all tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.images import build as builder
from tests.cluster.images.build import Archive
from tests.cluster.images.container import Containers, Rootfs, mounted


@pytest.fixture(scope="session")
def archives() -> dict[str, Archive]:
    for name in ("buildah", "debootstrap", "runc", "containerd"):
        if shutil.which(name) is None:
            pytest.fail(f"{name} is missing: apt-get install {name}", pytrace=False)
    return {archive.name: archive for archive in builder.build()}


@pytest.fixture(scope="session")
def relay_rootfs(archives: dict[str, Archive]) -> Iterator[Rootfs]:
    with mounted(archives["waystation-relay"].stored) as rootfs:
        yield rootfs


@pytest.fixture(scope="session")
def operator_rootfs(archives: dict[str, Archive]) -> Iterator[Rootfs]:
    with mounted(archives["waystation-operator"].stored) as rootfs:
        yield rootfs


@pytest.fixture
def relay_image(relay_rootfs: Rootfs, tmp_path: Path) -> Containers:
    return Containers(relay_rootfs, tmp_path)


@pytest.fixture
def operator_image(operator_rootfs: Rootfs, tmp_path: Path) -> Containers:
    return Containers(operator_rootfs, tmp_path)
