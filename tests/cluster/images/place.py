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
import time
from collections.abc import Iterator
from pathlib import Path

IN_USE_S = 3600  # another checkout's tests may be about to import theirs


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
    """Removes archives of an image that nobody used for an hour, but the latest; the keys of the rest."""
    others = [path for path in cache().glob(f"{name}-????????????.tar") if path != kept]
    used = {path: path.stat().st_mtime for path in others}
    latest = max(others, key=used.__getitem__, default=kept)
    stay = {kept, latest, *(path for path in others if used[path] > time.time() - IN_USE_S)}
    for path in set(others) - stay:
        path.unlink(missing_ok=True)
    return {path.stem.removeprefix(f"{name}-") for path in stay}
