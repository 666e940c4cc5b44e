"""The build itself: same tree, same image; an unchanged tree costs nothing; containerd takes it."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.images import base, buildah, source
from tests.cluster.images import build as builder
from tests.cluster.images.build import Archive
from tests.cluster.images.load import load
from tests.support.waiting import until

PRODUCT = [name for name, target in builder.TARGETS.items() if target]


def digest(tag: str) -> str:
    return str(json.loads(buildah.run("inspect", "--type", "image", tag))["FromImageDigest"])


def test_two_builds_give_the_same_images(
    archives: dict[str, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built in another store, from the same base, without a layer of the first build: the same digests."""
    expected = {name: digest(archives[name].stored) for name in PRODUCT}
    files = base.files()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.copyfile(files, base.files())
    parent = base.ensure(epoch=builder.epoch())
    for name in PRODUCT:
        builder.assemble(archives[name], archives[name].stored, parent, fresh=True)
    assert {name: digest(archives[name].stored) for name in PRODUCT} == expected
    shutil.rmtree(tmp_path)  # a gigabyte


def test_unchanged_tree_costs_less_than_a_second(
    archives: dict[str, Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make images` of what is built already answers at once, whatever the times and modes of the files."""
    archives["waystation-relay"].source.write(tmp_path)
    monkeypatch.setattr(source, "ROOT", tmp_path)
    begun = _spent_s()
    assert builder.build() == list(archives.values())
    assert _spent_s() - begun < 1.0


def _spent_s() -> float:
    """Of processors, by this process and those it ran: another build on the machine may keep the lock."""
    return sum(os.times()[:4])


def test_changed_file_gives_another_tag(archives: dict[str, Archive]) -> None:
    """Any byte of the source changes the tag, so a pod never runs what it was not meant to."""
    of = archives["waystation-relay"].source
    for path in ("Containerfile", "pyproject.toml", "images/relay.txt", "relay/waystation/__main__.py"):
        changed = dataclasses.replace(of, files={**of.files, path: of.files[path] + b"#"})
        assert changed.key != of.key, path


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[Path]:
    """One of our own, with its folders and socket in ours."""
    socket = folder / "containerd.sock"
    configuration = folder / "config.toml"
    configuration.write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{socket}"\n[ttrpc]\naddress = "{socket}.ttrpc"\n',
        encoding="utf-8",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [shutil.which("containerd") or "containerd", "--config", str(configuration)],
            stdout=log,
            stderr=log,
        )
    try:
        ctr = ["ctr", "--address", str(socket), "--connect-timeout", "1s", "version"]
        until(lambda: subprocess.run(ctr, capture_output=True).returncode == 0, "containerd", within_s=20)
        yield socket
    finally:
        process.terminate()
        process.wait(20)


def test_containerd_takes_the_images_once(archives: dict[str, Archive], tmp_path: Path) -> None:
    """After loading, a pod's image reference is known; loading again does nothing."""
    with containerd(tmp_path) as socket:
        references = [archive.reference for archive in archives.values()]
        assert load(archives.values(), socket) == references
        known = subprocess.run(
            ["ctr", "--address", str(socket), "-n", "k8s.io", "images", "check", "--quiet"],
            capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        assert set(references) <= set(known)  # check names complete ones only
        assert load(archives.values(), socket) == []
