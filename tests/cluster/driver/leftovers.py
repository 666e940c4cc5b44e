"""What pods and their programs leave on the machine, found by where it points and removed.

Works whatever is still alive: containerd's shims and the pods' processes
outlive containerd, and mounts outlive everything. Nothing here asks a daemon
for help, so that it also cleans up after a kill -9 of all of them.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.driver.place import MARK, Place

_CGROUPS = Path("/sys/fs/cgroup")
_MNT_DETACH = 2
# Settings of the whole machine that a kubelet changes to its liking.
_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_REMEMBERED = Path("/run/waystation-cluster-settings.json")
# What the programs make with no way to tell them where; innermost first.
_FOLDERS = (
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/lib/cni/results",
    "/var/lib/cni",
    "/run/containerd/s",
    "/run/containerd",
)


def kill_pods(place: Place, *, within_s: float = 20.0) -> None:
    """kill -9 of every container's process and every shim of ours."""
    deadline = time.monotonic() + within_s
    while pids := {*_shims(place), *_in_cgroups(place)}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes that cannot be killed: {sorted(pids)}")
        time.sleep(0.05)


def _shims(place: Place) -> Iterator[int]:
    """A shim's command line has the address of its containerd."""
    address = str(place.containerd_socket).encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            argv = (folder / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in argv[0] and address in argv:
                yield int(folder.name)


def cgroups(place: Place) -> list[Path]:
    """Our cgroup in every hierarchy there is: one in cgroup v2, one a controller in v1."""
    unified = (_CGROUPS / "cgroup.controllers").exists()
    roots = [_CGROUPS] if unified else [path for path in _CGROUPS.iterdir() if not path.is_symlink()]
    return [root / place.netns for root in roots if root.is_dir()]


def kill_pod(place: Place, uid: str) -> None:
    """kill -9 of every process in the containers of one pod."""
    killed = 0
    for pid in _in_cgroups(place, f"*pod{uid}"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    assert killed, f"no process of pod {uid} runs here"


def _in_cgroups(place: Place, below: str = "") -> Iterator[int]:
    roots = [root for root in cgroups(place) if root.exists()]
    if below:
        roots = [found for root in roots for found in root.rglob(below)]
    for root in roots:
        for file in root.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                yield from map(int, file.read_text(encoding="ascii").split())


def make_cgroups(place: Place) -> None:
    for root in cgroups(place):
        root.mkdir(exist_ok=True)


def remove_cgroups(place: Place, *, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    for root in filter(Path.exists, cgroups(place)):
        for folder in sorted((root, *root.rglob("*/")), key=lambda p: len(p.parts), reverse=True):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:  # the kernel is not done with the processes that were killed
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)


def unmount(place: Place) -> None:
    """Everything mounted below the cluster's folder, innermost first."""
    libc = ctypes.CDLL(None, use_errno=True)
    for point in reversed(_mounted_below(place.root)):
        if libc.umount2(os.fsencode(point), _MNT_DETACH):
            raise OSError(ctypes.get_errno(), f"cannot unmount {point}")


def _mounted_below(root: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split(" ")[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if point.startswith(f"{root}/")]


def remove_files(place: Place) -> None:
    """The cluster's folder, and what its programs put elsewhere: sockets, links to logs, CNI's notes."""
    containerd = place.root / "containerd"
    for file in containerd.glob("state/*/*/*/address"):
        socket = file.read_text(encoding="utf-8").removeprefix("unix://")
        if socket.startswith("/run/containerd/s/"):
            Path(socket).unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{place.root}/"):
            link.unlink()
    notes = Path("/var/lib/cni/results")
    loopbacks = (f"cni-loopback-{pod.name}-*" for pod in containerd.glob("root/*.cri/sandboxes/*"))
    for pattern in (f"{place.netns}-*", *loopbacks):
        for note in notes.glob(pattern):
            note.unlink(missing_ok=True)
    Path("/var/lib/kubelet/device-plugins/kubelet.sock").unlink(missing_ok=True)
    for folder in _FOLDERS:
        with contextlib.suppress(OSError):  # absent, or somebody else's things are in it
            Path(folder).rmdir()
    if not place.root.exists():
        return
    if not (place.root / MARK).exists():
        raise RuntimeError(f"{place.root} is not a test cluster's folder; remove it yourself")
    if mounted := _mounted_below(place.root):
        raise RuntimeError(f"still mounted: {', '.join(mounted)}")
    shutil.rmtree(place.root)


def remember_settings() -> None:
    """What the machine had before the first cluster on it; a second one finds the first one's settings."""
    if not _REMEMBERED.exists():
        settings = {name: Path("/proc/sys", name).read_text(encoding="ascii").strip() for name in _SETTINGS}
        _REMEMBERED.write_text(json.dumps(settings), encoding="utf-8")


def restore_settings() -> None:
    with contextlib.suppress(FileNotFoundError):
        settings = json.loads(_REMEMBERED.read_text(encoding="utf-8"))
        for name, value in settings.items():
            Path("/proc/sys", name).write_text(value, encoding="ascii")
        _REMEMBERED.unlink()
