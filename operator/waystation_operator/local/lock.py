"""One command at a time changes the folder of a local run.

The lock is the kernel's (flock), so it is gone with the process that held it,
however that ended; the file only names the holder for people.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from waystation_operator.local.layout import Layout


class BusyError(Exception):
    """Somebody else holds the folder; the text names the process and the remedy."""


@contextmanager
def held(layout: Layout, command: str) -> Iterator[None]:
    """Holds the folder for ``command``, the words people typed. Raises :class:`BusyError`."""
    layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            raise BusyError(
                f"{layout.root} is being changed by {holder}; wait until it is done, or use another --data"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"`{command}` (PID {os.getpid()})".encode(), 0)
        yield
    finally:
        os.close(descriptor)
