"""Reading bodies, checked: from the index, from a shared segment, or in pieces from a file of its own.

Safe against a writer that compacts, retires and recycles meanwhile: the place
is looked up afresh for each read, every record names its message, and what
does not check out is looked up once more before anybody calls it damage.
"""

import os
import sqlite3
import zlib
from pathlib import Path

from waystation_relay.mail.message import Place
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.schema import INLINE, SET_ASIDE
from waystation_relay.spool.segments import HEADER, is_header

PIECE_BYTES = 1024 * 1024
LOOKUP = "SELECT segment, offset, size_bytes, crc32 FROM messages WHERE id = ?"


class Damaged(Exception):  # noqa: N818 the word for what happened
    """The bytes are not what was written; the text says how that shows."""


class Gone(Exception):  # noqa: N818 the word for what happened
    """The index knows no such message."""


class BodyFile:
    """A large body, checked when it was opened; readable until closed, whatever becomes of the message."""

    __slots__ = ("_fd", "_offset", "size_bytes")

    def __init__(self, fd: int, offset: int, size_bytes: int) -> None:
        self._fd = fd
        self._offset = offset
        self.size_bytes = size_bytes

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Up to ``size_bytes`` from ``offset``; short only at the end."""
        wanted = min(size_bytes, self.size_bytes - offset)
        if wanted <= 0:
            return b""
        piece = os.pread(self._fd, wanted, self._offset + offset)
        assert len(piece) == wanted, "a segment does not shrink while it is referred to"
        return piece

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def place_of(db: sqlite3.Connection, message_id: int) -> Place:
    row = db.execute(LOOKUP, (message_id,)).fetchone()
    if row is None:
        raise Gone(f"no message {message_id}")
    return Place(*row)


def load(db: sqlite3.Connection, layout: Layout, message_id: int, memory_bytes: int) -> bytes | BodyFile:
    """The body, whole up to ``memory_bytes``, else an open file.

    Raises Gone, Damaged, OSError, sqlite3.Error.
    """
    place = place_of(db, message_id)
    while True:
        try:
            return _load(db, layout, message_id, place, memory_bytes)
        except Damaged:
            now = place_of(db, message_id)  # compacted or settled meanwhile?
            if now == place:
                raise
            place = now


def read_record(path: Path, message_id: int, place: Place) -> bytes:
    """One body from a segment."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"segment {path.name} is missing") from None
    try:
        _check_place(fd, path, place)
        record = os.pread(fd, HEADER.size + place.length, place.offset - HEADER.size)
    finally:
        os.close(fd)
    if not is_header(record[: HEADER.size], message_id, place):
        raise Damaged(f"no such record in segment {path.name} at {place.offset}")
    body = record[HEADER.size :]
    if zlib.crc32(body) != place.crc32:
        raise Damaged(f"checksum mismatch in segment {path.name} at {place.offset}")
    return body


def _load(
    db: sqlite3.Connection, layout: Layout, message_id: int, place: Place, memory_bytes: int
) -> bytes | BodyFile:
    if place.segment == SET_ASIDE:
        raise Damaged("already set aside")
    if place.segment == INLINE:
        row = db.execute("SELECT content FROM bodies WHERE message_id = ?", (message_id,)).fetchone()
        if row is None:
            raise Damaged("no body in the index")
        content = row[0]
        if (
            not isinstance(content, bytes)
            or len(content) != place.length
            or zlib.crc32(content) != place.crc32
        ):
            raise Damaged("checksum mismatch in the index")
        return content
    path = layout.segment(place.segment)
    if place.length <= memory_bytes:
        return read_record(path, message_id, place)
    return _open(path, message_id, place)


def _open(path: Path, message_id: int, place: Place) -> BodyFile:
    """Check a large record piece by piece, and keep it open."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"segment {path.name} is missing") from None
    body = BodyFile(fd, place.offset, place.length)
    try:
        _check(fd, path, message_id, place)
    except BaseException:
        body.close()
        raise
    return body


def _check_place(fd: int, path: Path, place: Place) -> None:
    """What the index says of the place may itself be damaged."""
    if place.offset < HEADER.size or place.length < 0:
        raise Damaged(f"no such place in segment {path.name}: {place.offset}, {place.length}")
    if os.fstat(fd).st_size < place.offset + place.length:
        raise Damaged(f"segment {path.name} ends within the record")


def _check(fd: int, path: Path, message_id: int, place: Place) -> None:
    _check_place(fd, path, place)
    found = os.pread(fd, HEADER.size, place.offset - HEADER.size)
    if not is_header(found, message_id, place):
        raise Damaged(f"no such record in segment {path.name} at {place.offset}")
    crc32 = 0
    for offset in range(0, place.length, PIECE_BYTES):
        piece = os.pread(fd, min(PIECE_BYTES, place.length - offset), place.offset + offset)
        crc32 = zlib.crc32(piece, crc32)
    if crc32 != place.crc32:
        raise Damaged(f"checksum mismatch in segment {path.name} at {place.offset}")
