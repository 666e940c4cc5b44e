"""Setting what is damaged aside in ``corrupt/``, so that a person can look at it and nothing is lost.

For a body: ``<queue id>.body``, the bytes as they are on disk, if there are
any, and ``<queue id>.json``, what the message was. For rows of the index:
``<queue id>.rows.json``, as they were found. All are durable before the index
lets go of the original. Writer thread and recovery only.
"""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Place
from waystation_relay.spool import rows
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.identity import queue_id_of
from waystation_relay.spool.layout import Layout, sync, write_all, write_durably
from waystation_relay.spool.rows import Row, Unreadable
from waystation_relay.spool.schema import INLINE, SET_ASIDE
from waystation_relay.spool.segments import HEADER, is_header

PIECE_BYTES = 1024 * 1024


class Description(msgspec.Struct, frozen=True):
    """The JSON beside a body."""

    queue_id: str
    why: str
    arrival: float
    size_bytes: int
    place: Place
    body: str | None  # the file's name, when there was anything to copy
    envelope: Envelope | None  # none: unreadable too
    origin: Origin | None


class Found(msgspec.Struct, frozen=True):
    """Rows as they were; what was bytes is base64."""

    queue_id: str
    why: str
    message: Row
    recipients: Sequence[Row]


class SetAside(msgspec.Struct, frozen=True):
    queue_id: str
    copied: bool  # what the original place held is now in corrupt/


def set_aside(layout: Layout, db: sqlite3.Connection, message_id: int, why: str) -> SetAside | None:
    """Copy a damaged body and describe it; ``None`` when the message is gone. The index is not changed."""
    row = db.execute(
        f"SELECT {rows.MESSAGE_COLUMNS} FROM messages WHERE id = ?",  # noqa: S608 a constant
        (message_id,),
    ).fetchone()
    if row is None:
        return None
    _, arrival, size_bytes, segment, offset, crc32, blob = row
    queue_id = queue_id_of(message_id, layout.tag)
    place = Place(segment, offset, size_bytes, crc32)
    described = layout.corrupt / f"{queue_id}.json"
    if place.segment == SET_ASIDE and described.exists():
        return SetAside(queue_id, copied=True)
    target = layout.corrupt / f"{queue_id}.body"
    copied = True
    present = target.exists()  # from an earlier attempt that a crash cut off
    try:
        if place.segment == INLINE:
            present = _copy_inline(db, message_id, target)
        elif place.segment > 0:
            present, copied = _copy_record(layout.segment(place.segment), message_id, place, target)
    except (OSError, sqlite3.Error):
        copied = False  # unreadable, like a missing file: the place stays, should the medium come back
    reach("corrupt.copied")
    sealed = None
    with contextlib.suppress(Unreadable):
        sealed = rows.unseal(message_id, blob)
    description = Description(
        queue_id,
        why,
        arrival,
        size_bytes,
        place,
        target.name if present else None,
        sealed.envelope if sealed else None,
        sealed.origin if sealed else None,
    )
    write_durably(described, msgspec.json.format(msgspec.json.encode(description)))
    reach("corrupt.described")
    return SetAside(queue_id, copied)


def keep_rows(layout: Layout, message_id: int, why: str, message: Row, recipients: Sequence[Row]) -> str:
    """Write down rows that do not check out, before they are mended; the queue id."""
    found = Found(queue_id_of(message_id, layout.tag), why, message, recipients)
    write_durably(
        layout.corrupt / f"{found.queue_id}.rows.json", msgspec.json.format(msgspec.json.encode(found))
    )
    reach("corrupt.rows_kept")
    return found.queue_id


def _copy_inline(db: sqlite3.Connection, message_id: int, target: Path) -> bool:
    found = db.execute("SELECT content FROM bodies WHERE message_id = ?", (message_id,)).fetchone()
    if found is None or not isinstance(found[0], bytes):
        return False
    write_durably(target, found[0])
    return True


def _copy_record(source: Path, message_id: int, place: Place, target: Path) -> tuple[bool, bool]:
    """As much of the record as there is, in bounded memory: whether there is a file, and this record in it.

    If the index is wrong about the place, the body may lie elsewhere in the segment: it must stay.
    """
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, False
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        at = place.offset - HEADER.size
        found = os.pread(fd, HEADER.size, at) if at >= 0 else b""
        done = 0
        while done < place.length:
            piece = os.pread(fd, min(PIECE_BYTES, place.length - done), place.offset + done)
            if not piece:
                break
            write_all(out, [piece], done)
            done += len(piece)
        sync(out, target)
    finally:
        os.close(out)
        os.close(fd)
    return True, is_header(found, message_id, place)
