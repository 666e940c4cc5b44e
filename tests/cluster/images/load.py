"""Gives a containerd the images of archives, under the names that pods refer to them by."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.images.build import REPOSITORY, Archive

NAMESPACE = "k8s.io"  # where the kubelet looks


def load(archives: Iterable[Archive], socket: Path, namespace: str = NAMESPACE) -> list[str]:
    """The references of those that were not there yet."""
    there = set(_ctr(socket, namespace, "images", "list", "--quiet").split())
    loaded = []
    for archive in archives:
        if archive.reference not in there:
            name = f"{REPOSITORY}/{archive.name}"
            _ctr(socket, namespace, "images", "import", "--base-name", name, str(archive.path))
            loaded.append(archive.reference)
    return loaded


def _ctr(socket: Path, namespace: str, *arguments: str) -> str:
    command = ["ctr", "--address", str(socket), "--namespace", namespace, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
