"""What a storage error means, and when the spool is full.

An error of a write may pass (disk full, volume read-only): the batch fails,
intake is refused, and the spool tries again. An error of fsync or a damaged
index never passes: what is on disk is unknown, so the process must restart
and recover before it promises anything again (``permanent``).

SQLite says "disk I/O error" to most of what a disk can do; ``probe`` writes a
file of its own to hear what it was.
"""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path

import msgspec

from waystation_relay.spool.index import is_damaged
from waystation_relay.spool.layout import SyncFailed, sync, write_all
from waystation_relay.spool.rows import Unreadable
from waystation_relay.spool.values import (
    FailureKind,
    Refusal,
    RefusalKind,
    SpoolFailure,
    SpoolLimits,
)

BY_ERRNO = {
    errno.ENOSPC: FailureKind.FULL,
    errno.EDQUOT: FailureKind.FULL,
    errno.EFBIG: FailureKind.FULL,
    errno.EROFS: FailureKind.READ_ONLY,
}
BY_SQLITE = {
    sqlite3.SQLITE_FULL: FailureKind.FULL,
    sqlite3.SQLITE_READONLY: FailureKind.READ_ONLY,
}
SYNC_ERRORS = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
PROBE = b"\0" * 65536
BY_FAILURE = {
    FailureKind.FULL: RefusalKind.FULL,
    FailureKind.READ_ONLY: RefusalKind.READ_ONLY,
    FailureKind.IO: RefusalKind.FAILING,
    FailureKind.CORRUPT: RefusalKind.FAILING,
    FailureKind.CLOSED: RefusalKind.FAILING,
}


class Volume(msgspec.Struct, frozen=True):
    """The file system the spool is on."""

    size_bytes: int
    free_bytes: int


def volume_of(directory: Path) -> Volume:
    found = os.statvfs(directory)
    return Volume(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def failure_of(error: Exception) -> SpoolFailure:
    match error:
        case SyncFailed():
            return SpoolFailure(FailureKind.IO, str(error), permanent=True)
        case OSError():
            kind = BY_ERRNO.get(error.errno or 0, FailureKind.IO)
            return SpoolFailure(kind, error.strerror or str(error))
        case sqlite3.Error():
            code = getattr(error, "sqlite_errorcode", 0)
            text = f"index: {error}"
            if is_damaged(error):
                return SpoolFailure(FailureKind.CORRUPT, text, permanent=True)
            if code in SYNC_ERRORS or not isinstance(error, sqlite3.OperationalError):
                return SpoolFailure(FailureKind.IO, text, permanent=True)
            return SpoolFailure(BY_SQLITE.get(code & 0xFF, FailureKind.IO), text)
        case Unreadable():
            return SpoolFailure(FailureKind.CORRUPT, f"index: {error}", permanent=True)
        case _:  # a mistake of ours: nobody knows what state it left
            return SpoolFailure(FailureKind.IO, f"{type(error).__name__}: {error}", permanent=True)


def probe(path: Path) -> SpoolFailure | None:
    """Whether the volume takes a small file now, and durably."""
    try:
        with path.open("wb", buffering=0) as file:
            write_all(file.fileno(), [PROBE], 0)
            sync(file.fileno(), path)
    except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
        return failure_of(error)
    finally:
        with contextlib.suppress(OSError):  # nothing of it may take room that settlements need
            path.unlink()
    return None


def refusal_of(failure: SpoolFailure) -> Refusal:
    return Refusal(BY_FAILURE[failure.kind], failure.text)


def fullness(size_bytes: int, limits: SpoolLimits, volume: Volume, spare_bytes: int = 0) -> Refusal | None:
    """Whether what is queued, or the room left on the volume and in our own files, forbids taking more."""
    allowed = limits.max_bytes * limits.full_at_percent // 100
    if size_bytes >= allowed:
        return Refusal(RefusalKind.FULL, f"{size_bytes} bytes are queued, intake stops at {allowed}")
    least = min(limits.max_bytes, volume.size_bytes) * (100 - limits.full_at_percent) // 100
    free = volume.free_bytes + spare_bytes
    if free < least:
        return Refusal(RefusalKind.FULL, f"{free} bytes are free on the volume, intake stops below {least}")
    return None
