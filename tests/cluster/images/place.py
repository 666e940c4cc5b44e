"""Where built images lie: outside the checkout, so that every checkout and every run finds them again.

~/.cache/waystation-cluster/images/
    NAME-KEY.tar     an image as an OCI archive; KEY is the hash of all it was made from
    base-KEY.tar     the base image's files
    storage/         buildah's layers, from which a changed image is built in seconds
    lock             held while building
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    where = Path(root) / "waystation-cluster" / "images"
    where.mkdir(parents=True, exist_ok=True)
    return where


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One build at a time on this machine; released by the kernel, whatever becomes of its owner."""
    with (cache() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def retire(kept: Path, name: str) -> set[str]:
    """Keeps two archives of an image, a branch and what it is compared with; their keys."""
    archives = sorted(cache().glob(f"{name}-????????????.tar"), key=lambda path: path.stat().st_mtime)
    others = [path for path in archives if path != kept]
    for path in others[:-1]:
        path.unlink(missing_ok=True)
    return {path.stem.removeprefix(f"{name}-") for path in [kept, *others[-1:]]}
