"""A stand-in for python:3-slim, made of Debian packages: nothing is pulled from an image registry.

Like that image it has no compiler, no documentation and no bytecode of the
standard library. Made once and kept; ``--renew`` makes it again with the
packages of the day.
"""

import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.cluster.images import buildah
from tests.cluster.images.place import cache
from tests.cluster.images.source import Source

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
EMPTIED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
PHASES = ("Retrieving Packages", "Extracting apt", "Installing", "Unpacking the", "Configuring the")
CONTAINERFILE = """FROM scratch
ADD root.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
SOURCE = Source({"Containerfile": CONTAINERFILE.encode()}, (SUITE, *PACKAGES, *EMPTIED, platform.machine()))
TAG = f"localhost/waystation-base:{SOURCE.key}"


def files() -> Path:
    return cache() / f"base-{SOURCE.key}.tar"


def ensure(*, epoch: int, renew: bool = False) -> str:
    """The base image is in buildah's store; its tag there."""
    if renew or not files().exists():
        print(f"==> base image: {SUITE} with {', '.join(PACKAGES)} (about 1.5 minutes, once)", flush=True)
        _debootstrap(epoch)
    if renew or not buildah.has(TAG):
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            SOURCE.write(Path(folder))
            Path(folder, "root.tar").hardlink_to(files())
            buildah.bud(Path(folder), TAG, epoch=epoch, arguments={}, fresh=True)
    return TAG


def _debootstrap(epoch: int) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        root = Path(folder, "root")
        script = [
            "debootstrap",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            str(root),
            MIRROR,
        ]
        with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            assert running.stdout is not None
            said = []
            for line in running.stdout:
                said.append(line)
                if any(phase in line for phase in PHASES):
                    print(f"      {line.strip()}", flush=True)
        if running.returncode:
            raise SystemExit("debootstrap failed:\n" + "".join(said[-20:]))
        for name in EMPTIED:
            for path in (root / name).iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in sorted(root.glob("usr/lib/python3*/**/__pycache__")):
            shutil.rmtree(path)
        unfinished = files().with_suffix(".unfinished")
        with tarfile.open(unfinished, "w") as tar:
            tar.add(root, ".", filter=lambda member: member.replace(mtime=epoch, deep=False))
        unfinished.rename(files())
