"""Mail that another relay of the pool hands over: its names here, and whether it came before.

An adopted message gets an id of this spool and keeps the queue id that its
client was told. What it was called where it comes from (its *name* there, the
queue id that spool would have made for it) is remembered even after it has
left: an offer that is repeated because its answer got lost is recognised. A
name stands for one stay in one spool, so mail that comes back after it was
handed on has another name, and is taken.

Both are rows of ``counters``, whose other rows are told apart by their names:
earlier versions pass over what they do not know there. The value is the id
here, which is also the time of the adoption in microseconds.

Known limits
    A name is forgotten ``REMEMBERED_S`` after the adoption, the oldest sooner
    when there are more than ``MOST``; never before its message has left.
"""

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Progress
from waystation_relay.spool.identity import id_of

PREFIX, BEHIND = "adopted:", "adopted;"  # every name that begins with the first lies before the second
REMEMBERED_S = 30 * 86_400.0
MOST = 500_000

REMEMBER = "INSERT OR REPLACE INTO counters VALUES (?, ?)"
IDS = "SELECT value FROM counters WHERE name IN ({})"
IS_QUEUED = "SELECT 1 FROM messages WHERE id = ?"
ALL = "SELECT name, value FROM counters WHERE name > ? AND name < ?"
NEWEST = "SELECT value FROM counters WHERE name > ? AND name < ? ORDER BY value DESC LIMIT 1 OFFSET ?"
FORGET = (
    "DELETE FROM counters WHERE name > ? AND name < ? AND value <= ? "
    "AND NOT EXISTS (SELECT 1 FROM messages WHERE id = value)"
)


class Adoption(msgspec.Struct, frozen=True, array_like=True):
    """What comes with the body. ``pending``: recipients still to be delivered, as far as they had come."""

    name: str
    queue_id: str
    envelope: Envelope
    origin: Origin
    arrival: float
    pending: tuple[Progress, ...]


def key_of(name: str) -> str:
    return PREFIX + name.upper()


def remember(db: sqlite3.Connection, adopted: Iterable[tuple[int, Adoption]]) -> None:
    """Inside the transaction that adds the messages."""
    db.executemany(
        REMEMBER,
        [
            (key_of(name), number)
            for number, adoption in adopted
            for name in {adoption.name: None, adoption.queue_id: None}
        ],
    )


def ids_of(db: sqlite3.Connection, queue_ids: Sequence[str], tag: str) -> list[int]:
    """The ids that these queue ids may stand for here, made here or adopted."""
    own = [number for queue_id in queue_ids if (number := id_of(queue_id, tag)) is not None]
    sql = IDS.format(",".join("?" * len(queue_ids)))
    return own + [number for (number,) in db.execute(sql, [key_of(one) for one in queue_ids])]


def known(db: sqlite3.Connection, tag: str, offered: Sequence[tuple[str, str]]) -> set[str]:
    """Of (name, queue id) pairs, the names of those that need not be taken: they were, or are queued here."""
    found = set()
    for name, queue_id in offered:
        if db.execute(IDS.format("?"), (key_of(name),)).fetchone() is not None or any(
            db.execute(IS_QUEUED, (number,)).fetchone() is not None for number in ids_of(db, [queue_id], tag)
        ):
            found.add(name)
    return found


def forget(db: sqlite3.Connection, now: float, most: int = MOST) -> None:
    """Names of long ago, whose messages have left."""
    before = int((now - REMEMBERED_S) * 1_000_000)
    row = db.execute(NEWEST, (PREFIX, BEHIND, most)).fetchone()
    if row is not None:
        before = max(before, row[0])
    db.execute(FORGET, (PREFIX, BEHIND, before))
