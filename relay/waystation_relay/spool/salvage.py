"""A new index from what can still be read of a damaged one.

The damaged files are moved to ``corrupt/`` and read there, the WAL merged into
the file as far as it can be had. Ids are gathered from every tree that names
them, each read forwards and backwards up to the damage, so that one bad page
costs the rows on it and no others. A message whose envelope can be had comes
back, mended (``mend``); where only a body or recipients are left, they are
written to ``corrupt/``.

A *mark* in ``corrupt/`` says that this is under way. Empty, it only keeps
recovery from removing segments nobody refers to; else it holds the name the
damaged index gets, and nobody may open ``index`` before ``finish``:

    mark       index    corrupt/NAME   what is left to do
    suspected  unknown  -              see whether it is damaged
    NAME       damaged  -              everything
    NAME       -        damaged        move the WAL, build
    NAME       new      damaged        empty the mark

A disk that cannot be read is no damage: SQLite gives the same error for both,
so the files are read through before anything is given up for lost.
"""

import contextlib
import mmap
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from waystation_relay.mail.message import Status
from waystation_relay.spool import adopt, header, restore, wal
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.identity import END, RESERVED, queue_id_of
from waystation_relay.spool.index import ADD_BODY, ADD_MESSAGE, ADD_RECIPIENT
from waystation_relay.spool.layout import Layout, beside, sync_directory, write_durably
from waystation_relay.spool.mend import mended
from waystation_relay.spool.rows import Row, Unreadable
from waystation_relay.spool.schema import INLINE, SET_ASIDE, open_writer, text

Event = Callable[[str, dict[str, object]], None]

BODY_LOST = "corrupt: body lost"
LONGEST_S = 366 * 86400.0  # nobody is due later than this: a bit is wrong, and now is as good a time as any
IDS = (
    "SELECT id FROM messages ORDER BY id ASC",
    "SELECT id FROM messages ORDER BY id DESC",
    "SELECT message_id FROM recipients ORDER BY message_id ASC",
    "SELECT message_id FROM recipients ORDER BY message_id DESC",
    "SELECT message_id FROM recipients INDEXED BY recipients_due WHERE status = 0",
    "SELECT message_id FROM bodies ORDER BY message_id ASC",
    "SELECT message_id FROM bodies ORDER BY message_id DESC",
)
SUSPECTED = "suspected"
PIECE_BYTES = 1024 * 1024
FLOOR = "SELECT value FROM counters WHERE name = 'id_floor'"


class Mark:
    def __init__(self, layout: Layout) -> None:
        self.path = layout.corrupt / "recovering"

    def exists(self) -> bool:
        return self.path.exists()

    def leave(self, name: str = "") -> None:
        write_durably(self.path, name.encode())
        reach("salvage.marked")

    def name(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def wal_of(layout: Layout) -> Path:
    return beside(layout.index, "-wal")


def keep_wal(layout: Layout) -> None:
    """The index is gone, its WAL is not: SQLite would delete it."""
    number = 1
    while (kept := layout.corrupt / f"index-missing-{number}-wal").exists():
        number += 1
    with contextlib.suppress(FileNotFoundError):
        wal_of(layout).rename(kept)
        sync_directory(layout.corrupt)
        sync_directory(layout.directory)


def is_log_damaged(layout: Layout) -> bool:
    """Damage in a WAL is nothing that SQLite would mention."""
    with contextlib.suppress(FileNotFoundError), wal_of(layout).open("rb") as file:
        if os.fstat(file.fileno()).st_size:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
                return wal.is_damaged(raw)
    return False


def suspect(layout: Layout) -> None:
    """The index gave an error that damage gives. The next start is to look closely."""
    Mark(layout).leave(SUSPECTED)


def examine(layout: Layout) -> None:
    """An index under suspicion is sound after all, or to be salvaged; OSError when it cannot be read."""
    mark = Mark(layout)
    if mark.name() != SUSPECTED:
        return
    read_through(layout.index)
    if layout.index.exists() and _is_sound(layout):
        mark.remove()
        sync_directory(layout.corrupt)
    else:
        begin(layout)


def _is_sound(layout: Layout) -> bool:
    if not header.is_sound(layout.index_header()):
        return False
    try:
        with contextlib.closing(sqlite3.connect(layout.index, isolation_level=None)) as db:
            return db.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
    except restore.UNREADABLE:
        return False


def read_through(index: Path) -> None:
    """Every byte of an index and its WAL can be read, whatever it says; else OSError, naming the file."""
    for path in (index, beside(index, "-wal")):
        try:
            with path.open("rb", buffering=0) as file:
                while file.read(PIECE_BYTES):
                    pass
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error


def begin(layout: Layout) -> None:
    """The index is damaged: decide where it goes. ``finish`` does the rest."""
    number = 1
    while (layout.corrupt / f"index-damaged-{number}").exists():
        number += 1
    Mark(layout).leave(f"index-damaged-{number}")


def finish(layout: Layout, event: Event) -> None:
    """Carry a salvage that was begun to its end; nothing to do when none was."""
    mark = Mark(layout)
    name = mark.name()
    if not name:
        return
    aside = layout.corrupt / name
    if not aside.exists():
        layout.index.rename(aside)
        sync_directory(layout.corrupt)
        sync_directory(layout.directory)
        reach("salvage.moved")
    if not layout.index.exists():
        beside(layout.index, "-shm").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            beside(layout.index, "-wal").rename(beside(aside, "-wal"))
        sync_directory(layout.corrupt)
        sync_directory(layout.directory)
        reach("salvage.wal_moved")
        read_through(aside)
        restore.merge_log(layout, aside)
        saved, lost = _build(layout, aside, event)
        event("spool.index_salvaged", {"damaged": name, "messages": saved, "lost": lost})
    mark.leave()


def _build(layout: Layout, aside: Path, event: Event) -> tuple[int, int]:
    """Write the new index under another name, then give it its own."""
    new = beside(layout.index, ".new")
    for suffix in ("", "-wal", "-shm"):
        beside(new, suffix).unlink(missing_ok=True)
    db = open_writer(new)
    restore.header_of(aside)
    restore.catalogue_of(aside)
    saved = lost = last = 0
    with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as old:
        old.text_factory = text
        try:
            db.execute("PRAGMA temp_store=FILE")
            db.execute("CREATE TEMP TABLE found (id INTEGER PRIMARY KEY)")
            for sql in IDS:
                db.executemany("INSERT OR IGNORE INTO temp.found VALUES (?)", _readable(old, sql))
            db.execute("BEGIN")
            for (number,) in db.execute("SELECT id FROM temp.found ORDER BY id").fetchall():
                last = number
                if _copy(old, db, number):
                    saved += 1
                else:
                    lost += 1
                    _describe(layout, old, number, event)
            db.executemany(adopt.REMEMBER, _names(old))
            floor = max([last + RESERVED, *(value for (value,) in _readable(old, FLOOR))])
            db.execute("UPDATE counters SET value = ? WHERE name = 'id_floor'", (floor,))
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            db.close()
    reach("salvage.built")
    new.rename(layout.index)
    sync_directory(layout.directory)
    reach("salvage.renamed")
    return saved, lost


def _readable(old: sqlite3.Connection, sql: str) -> Iterator[tuple[int]]:
    """Numbers up to the damage."""
    with contextlib.suppress(*restore.UNREADABLE):
        for (number,) in old.execute(sql):
            if isinstance(number, int) and 0 < number < END:
                yield (number,)


def _names(old: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Of what was adopted, up to the damage: without its name it might be taken a second time."""
    with contextlib.suppress(*restore.UNREADABLE):
        for name, number in old.execute(adopt.ALL, (adopt.PREFIX, adopt.BEHIND)):
            if isinstance(name, str) and isinstance(number, int) and 0 < number < END:
                yield name, number


def _rows(old: sqlite3.Connection, sql: str, number: int) -> list[Row]:
    try:
        return old.execute(sql, (number,)).fetchall()
    except restore.UNREADABLE:
        return []


def _copy(old: sqlite3.Connection, db: sqlite3.Connection, number: int) -> bool:
    """One message into the new index, as whole as it can be had."""
    found = _rows(old, "SELECT * FROM messages WHERE id = ?", number)
    if not found:
        return False
    recipients = [
        row
        for row in _rows(old, "SELECT * FROM recipients WHERE message_id = ? ORDER BY number", number)
        if row[0] == number  # from a tree that is out of order a lookup may bring another's
    ]
    bodies = _rows(old, "SELECT * FROM bodies WHERE message_id = ?", number)
    try:
        _insert(db, found[0], recipients, bodies)
    except (sqlite3.DatabaseError, Unreadable):
        for table, column in (("messages", "id"), ("recipients", "message_id"), ("bodies", "message_id")):
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608 constants
        return False
    return True


def _insert(db: sqlite3.Connection, message: Row, recipients: list[Row], bodies: list[Row]) -> None:
    match message:
        case (int(number), float(), int(), str(sender), str(), int(segment), int(), int(), blob) if (
            0 < number < END
        ):
            sealed, recipients = mended(number, sender, blob, recipients)
            segment = SET_ASIDE if segment == INLINE and not bodies else segment
        case _:
            raise Unreadable("message: not as it was written")
    if segment == SET_ASIDE:
        recipients = [
            (*row[:2], int(Status.HELD), *row[3:6], "storage", row[7] or BODY_LOST, row[8])
            for row in recipients
        ]
    arrival = number / 1_000_000
    recipients = [
        row
        if not isinstance(row[3], float) or row[3] < arrival + LONGEST_S
        else (*row[:3], arrival, *row[4:])
        for row in recipients
    ]
    db.execute(ADD_MESSAGE, (*message[:5], segment, *message[6:8], sealed))
    db.executemany(ADD_RECIPIENT, recipients)
    if segment == INLINE:
        db.executemany(ADD_BODY, bodies)


def _describe(layout: Layout, old: sqlite3.Connection, number: int, event: Event) -> None:
    """The envelope is lost: what else there is goes to ``corrupt/`` for a person."""
    queue_id = queue_id_of(number, layout.tag)
    recipients = _rows(old, "SELECT address FROM recipients WHERE message_id = ?", number)
    bodies = _rows(old, "SELECT content FROM bodies WHERE message_id = ?", number)
    for (content,) in bodies:
        if isinstance(content, bytes):
            write_durably(layout.corrupt / f"{queue_id}.body", content)
    left = {"queue_id": queue_id, "why": "envelope lost", "recipients": [row[0] for row in recipients]}
    write_durably(layout.corrupt / f"{queue_id}.json", msgspec.json.format(msgspec.json.encode(left)))
    event("spool.corrupt", {"queue_id": queue_id, "text": "envelope lost"})
