"""A container as strict as a pod of ours: runc, read-only root, uid 65532, no capability, no new privileges.

The root file system is the image's, mounted from buildah's store; the network
is the host's, so that a relay in it is reached on loopback ports like any
other. Entry point, environment and user come from the image.
"""

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.images import buildah

FLAGS = ["nosuid", "noexec", "nodev"]


@dataclass(frozen=True, slots=True)
class Rootfs:
    path: Path
    config: dict[str, Any]  # the image's, as OCI has it

    def file(self, name: str) -> Path:
        return self.path / name.lstrip("/")


@contextlib.contextmanager
def mounted(tag: str) -> Iterator[Rootfs]:
    """The files of an image in buildah's store."""
    name = buildah.run("from", "--pull-never", tag).strip()
    try:
        about = json.loads(buildah.run("inspect", "--type", "image", tag))
        yield Rootfs(Path(buildah.run("mount", name).strip()), about["OCIv1"]["config"])
    finally:
        buildah.run("rm", name)


def bundle(folder: Path, rootfs: Rootfs, arguments: Sequence[str], mounts: Sequence[dict[str, Any]]) -> None:
    """Writes what runc runs. ``mounts`` come on top of /proc and /dev; there is no /tmp."""
    uid, _, gid = rootfs.config["User"].partition(":")
    sets = ("bounding", "effective", "permitted", "inheritable")
    spec = {
        "ociVersion": "1.0.2",
        "hostname": "relay-0",
        "root": {"path": str(rootfs.path), "readonly": True},
        "process": {
            "user": {"uid": int(uid), "gid": int(gid)},
            "args": list(arguments),
            "env": rootfs.config["Env"],
            "cwd": rootfs.config["WorkingDir"],
            "capabilities": {name: [] for name in sets},
            "noNewPrivileges": True,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": FLAGS},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            *mounts,
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
    }
    (folder / "config.json").write_text(json.dumps(spec), encoding="utf-8")


def read_only(source: Path, destination: str) -> dict[str, Any]:
    options = ["bind", "ro", *FLAGS]
    return {"destination": destination, "type": "bind", "source": str(source), "options": options}


def memory(destination: str) -> dict[str, Any]:
    """A volume as the pod's fsGroup leaves it, in memory."""
    options = ["nosuid", "nodev", "noexec", "uid=65532", "gid=65532", "mode=0770", "size=256m"]
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options}


def command(folder: Path, name: str) -> list[str]:
    return ["runc", "--root", str(folder / "state"), "run", "--bundle", str(folder), name]


@dataclass(frozen=True, slots=True)
class Containers:
    """Runs commands of one image, each in a container that is gone when the command ends."""

    rootfs: Rootfs
    folder: Path

    def run(
        self, *arguments: str, mounts: Sequence[dict[str, Any]] = (), entrypoint: Sequence[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The image's command with these arguments, to its end."""
        argv, where = self._prepare(arguments, mounts, entrypoint)
        return subprocess.run(
            argv, cwd=where, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )

    @contextlib.contextmanager
    def running(
        self, *arguments: str, mounts: Sequence[dict[str, Any]] = ()
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        """The same in the background, with the file of its output. runc passes signals on to it."""
        argv, where = self._prepare(arguments, mounts, None)
        log = where / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(argv, cwd=where, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            yield process, log
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    _runc(where, "kill", argv[-1], "KILL")
                    process.wait(10)

    def _prepare(
        self, arguments: Sequence[str], mounts: Sequence[dict[str, Any]], entrypoint: Sequence[str] | None
    ) -> tuple[list[str], Path]:
        name = f"waystation-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        where = self.folder / name
        where.mkdir(parents=True)
        start = self.rootfs.config["Entrypoint"] if entrypoint is None else entrypoint
        bundle(where, self.rootfs, [*start, *arguments], mounts)
        return command(where, name), where


def _runc(folder: Path, *arguments: str) -> None:
    subprocess.run(["runc", "--root", str(folder / "state"), *arguments], capture_output=True, check=True)
