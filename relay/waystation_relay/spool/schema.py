"""The index's tables and how its connections are set up.

``messages`` is written once and deleted once; what changes while a message
waits is in ``recipients``; bodies have a table of their own so that scans of
``messages`` stay narrow. Due times are found through a partial index over
waiting recipients, records of a segment through a partial index over bodies
that are not inline. Nothing else is indexed: administration scans, intake
does not pay for it.

``counters`` also keeps the names of adopted mail (``adopt``).

``segment``: 0 the body is in ``bodies``; above, in the segment of that
number; -1 it was damaged and lies in ``corrupt/``.
"""

import contextlib
import functools
import sqlite3
from pathlib import Path

from waystation_relay.spool.header import APPLICATION_ID, PAGE_BYTES
from waystation_relay.spool.layout import FORMAT

INLINE = 0
SET_ASIDE = -1

# Tables before indexes, the order of VACUUM: it leaves the trees where they were (``catalogue``).
TABLES = (
    """CREATE TABLE IF NOT EXISTS messages (
        id INTEGER PRIMARY KEY,
        arrival REAL NOT NULL,
        size_bytes INTEGER NOT NULL,
        sender TEXT NOT NULL,
        sender_domain TEXT NOT NULL,
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        crc32 INTEGER NOT NULL,
        sealed BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS recipients (
        message_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        status INTEGER NOT NULL,
        due REAL NOT NULL,
        address TEXT NOT NULL,
        domain TEXT NOT NULL,
        reason TEXT NOT NULL,
        hold TEXT NOT NULL,
        details BLOB,
        PRIMARY KEY (message_id, number)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS bodies (
        message_id INTEGER PRIMARY KEY,
        content BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS counters (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE INDEX IF NOT EXISTS messages_segment ON messages (segment, size_bytes) WHERE segment > 0""",
    """CREATE INDEX IF NOT EXISTS recipients_due ON recipients (due, message_id) WHERE status = 0""",
    "INSERT OR IGNORE INTO counters VALUES ('id_floor', 0)",
)

# secure_delete: Debian's SQLite zeroes what it deletes, which would write every inline body twice.
# wal_autocheckpoint: the writer checkpoints itself, after the callbacks of a commit have gone out.
WRITER = (
    f"page_size={PAGE_BYTES}",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=OFF",
    "wal_autocheckpoint=0",
    "cache_size=-16384",
    "temp_store=MEMORY",
)
CATALOGUE = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master ORDER BY rootpage"
READER = ("query_only=ON", "cache_size=-4096", "temp_store=MEMORY")


class Mismatch(Exception):  # noqa: N818 the word for what happened
    """SQLite sees no damage, we do: a lookup would fail, or pass over a message."""


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; tables are made when missing, in one transaction."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    db.text_factory = text
    try:
        for pragma in WRITER:
            # To the end: the change to WAL is committed behind its row, and would fail unheard.
            db.execute(f"PRAGMA {pragma}").fetchall()
        _check_mode(db)
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            db.execute("BEGIN IMMEDIATE")
            _make(db)
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={FORMAT}")
            db.execute("COMMIT")
        _check_catalogue(db)
    except UnicodeDecodeError as error:  # SQLite complains of a table's name in the bytes it found
        db.close()
        raise Mismatch("the tables are not as they were made") from error
    except BaseException:
        db.close()
        raise
    return db


def _make(db: sqlite3.Connection) -> None:
    for statement in TABLES:
        db.execute(statement)


@functools.cache
def catalogue() -> list[tuple[object, ...]]:
    """What SQLite writes down about the tables when it makes them, page numbers included: always the same."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _make(db)
        return db.execute(CATALOGUE).fetchall()


def _check_catalogue(db: sqlite3.Connection) -> None:
    if db.execute(CATALOGUE).fetchall() != catalogue():
        raise Mismatch("the tables are not as they were made")


def _check_mode(db: sqlite3.Connection) -> None:
    """SQLite says nothing when it cannot have the mode it was asked for."""
    if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise sqlite3.OperationalError("this file system cannot hold a database in WAL mode")


def open_reader(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    db.text_factory = text
    for pragma in READER:
        db.execute(f"PRAGMA {pragma}")
    return db


def text(raw: bytes) -> str:
    """A column's text. What is not UTF-8 is damage: it is to show in the value, not to end the query."""
    return raw.decode("utf-8", "replace")
