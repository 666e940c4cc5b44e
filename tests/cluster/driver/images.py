"""The two images every cluster here has: the one that holds a pod together, and a shell for tests.

The shell is Debian's static busybox, whose `wget -T` crashes; give the command a deadline instead.

Images of the product itself come from ``tests/cluster/images``.
"""

import os
import subprocess
from pathlib import Path

from tests.cluster.driver import binaries
from tests.cluster.driver.configuration import PAUSE_IMAGE
from tests.cluster.driver.ociarchive import Image, pack
from tests.cluster.driver.place import Place

SHELL_IMAGE = "localhost/shell:1"
_APPLETS = (
    "sh",
    "cat",
    "echo",
    "id",
    "ls",
    "nc",
    "nslookup",
    "sleep",
    "stat",
    "touch",
    "wget",
    "httpd",
    "kill",
)


def small() -> tuple[Image, ...]:
    return (
        Image(PAUSE_IMAGE, {"pause": binaries.where("pause")}, {}, ("/pause",), "65535:65535"),
        Image(
            SHELL_IMAGE,
            {"bin/busybox": Path("/bin/busybox")},
            {f"bin/{applet}": "busybox" for applet in _APPLETS},
            ("/bin/sh",),
            "65532:65532",
        ),
    )


def import_small(place: Place) -> None:
    for image in small():
        if image.name not in _present(place):
            archive = place.root / "image.tar"
            pack(image, archive)
            import_archive(place, archive)
            archive.unlink()


def import_archive(place: Place, archive: Path) -> None:
    """Give containerd the images of an archive, which names them."""
    _ctr(place, "images", "import", os.fspath(archive))


def _present(place: Place) -> set[str]:
    return set(_ctr(place, "images", "list", "--quiet").split())


def _ctr(place: Place, *argv: str) -> str:
    command = place.enter("ctr", f"--address={place.containerd_socket}", "--namespace=k8s.io", *argv)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"ctr {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
