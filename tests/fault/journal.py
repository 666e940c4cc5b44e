"""The shim's journal, read: every change to the files below one folder, in order."""

import enum
import struct
from pathlib import Path
from typing import NamedTuple

HEAD = struct.Struct("<IQQQII")
LENGTH = struct.Struct("<I")


class What(enum.IntEnum):
    """``first`` and ``second`` of a step, where they say anything."""

    CREATE = 1
    MKDIR = 2
    WRITE = 3  # offset, length
    TRUNCATE = 4  # size
    SYNC = 5
    SYNC_DIRECTORY = 6
    RENAME = 7
    UNLINK = 8
    RMDIR = 9
    LINK = 10
    NOTE = 11  # the test's own words, in ``data``
    ALLOCATE = 12  # offset, length
    SYNC_FAILED = 13


class Step(NamedTuple):
    what: What
    inode: int
    first: int
    second: int
    name: str
    other: str
    data: bytes


def read(path: Path) -> list[Step]:
    """All steps; a journal is whole at all times, so anything else is a mistake of the shim's."""
    raw = path.read_bytes()
    steps: list[Step] = []
    at = 0
    while at < len(raw):
        (length,) = LENGTH.unpack_from(raw, at)
        at += LENGTH.size
        what, inode, first, second, name_length, other_length = HEAD.unpack_from(raw, at)
        names = at + HEAD.size
        data = names + name_length + other_length
        steps.append(
            Step(
                What(what),
                inode,
                first,
                second,
                raw[names : names + name_length].decode(),
                raw[names + name_length : data].decode(),
                raw[data : at + length],
            )
        )
        at += length
    assert at == len(raw), "the journal ends within a record"
    return steps
