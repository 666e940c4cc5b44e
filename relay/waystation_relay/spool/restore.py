"""A damaged index, moved aside, is put into a shape in which SQLite reads what is left of it.

What SQLite refuses a file for, and what we know without it: the header, the
list of tables, how long an empty index is, and the commits of a WAL whose
middle is damaged. Each step may be done again. Rows are none of its business (``salvage``).
"""

import contextlib
import sqlite3
from pathlib import Path

from waystation_relay.spool import header, wal
from waystation_relay.spool.layout import Layout, beside, sync, sync_directory, write_durably
from waystation_relay.spool.schema import CATALOGUE, catalogue, text

# Messages of SQLite's may quote the damage, and then are no UTF-8.
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)


def merge_log(layout: Layout, aside: Path) -> None:
    """What can be had of the WAL goes into the index beside it; SQLite would stop at the first damage."""
    log = beside(aside, "-wal")
    with contextlib.suppress(FileNotFoundError):
        raw = log.read_bytes()
        with aside.open("r+b") as file:
            for number, content in wal.pages(raw):
                file.seek((number - 1) * header.PAGE_BYTES)
                file.write(content)
            file.flush()
            sync(file.fileno(), aside)
        log.rename(beside(aside, "-log"))
        sync_directory(layout.corrupt)


def header_of(aside: Path) -> None:
    """What never changes in the header is known; as it was found, it stays beside the file.

    So is the size of an empty index: SQLite reads nothing of one that ends before a table's first page.
    """
    least = max(int(str(root)) for _, _, _, root, _ in catalogue()) * header.PAGE_BYTES
    with aside.open("r+b") as file:
        found = file.read(header.SIZE)
        if not found:
            return
        size_bytes = aside.stat().st_size
        size_bytes = max(least, size_bytes + -size_bytes % header.PAGE_BYTES)
        file.truncate(size_bytes)
        right = header.restored(found, size_bytes)
        if found != right:
            write_durably(beside(aside, "-header"), found)
            file.seek(0)
            file.write(right)


def catalogue_of(aside: Path) -> None:
    """The tables' names and places are known: damage to their list need not cost the tables."""
    with (
        contextlib.suppress(*UNREADABLE),
        contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as old,
    ):
        old.execute("PRAGMA writable_schema=ON")
        old.text_factory = text
        if old.execute(CATALOGUE).fetchall() != catalogue():
            old.execute("BEGIN")
            old.execute("DELETE FROM sqlite_master")
            old.executemany("INSERT INTO sqlite_master VALUES (?,?,?,?,?)", catalogue())
            old.execute("COMMIT")
