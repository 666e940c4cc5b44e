"""Where should a queued body live, and how much may share a commit?

Runs the same steady load through every candidate store: each batch accepts
N messages and retires the N of the batch before, durably (fdatasync of body
files before a SQLite WAL commit with synchronous=FULL). It prints CPU
(user + system, whole process) and elapsed microseconds a message, and the
fdatasync calls a batch. Schema and statements are those of
``waystation_relay.spool``; the candidates differ only in where bodies go:

inline   a row of the index
segment  a record of an append-only file shared by all messages; ``recycled``
         overwrites a file that an earlier segment left behind
file     a file for each message, its directory synced once a batch

    python bench/spool_alternatives.py [--directory DIR] [--table bodies|batches|pages|recycling]

``docs/design/spool.md`` holds the figures the design rests on.
"""

import argparse
import os
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

SEGMENT_BYTES = 64 * 2**20

SCHEMA = """
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, queue_id TEXT NOT NULL, arrival REAL NOT NULL, size_bytes INTEGER NOT NULL,
  sender TEXT NOT NULL, sender_domain TEXT NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
  length INTEGER NOT NULL, crc32 INTEGER NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE recipients (
  message_id INTEGER NOT NULL, number INTEGER NOT NULL, status INTEGER NOT NULL, due REAL NOT NULL,
  address TEXT NOT NULL, domain TEXT NOT NULL, reason TEXT NOT NULL, progress BLOB,
  PRIMARY KEY (message_id, number)) WITHOUT ROWID;
CREATE INDEX recipients_due ON recipients (due, message_id) WHERE status = 0;
CREATE TABLE bodies (message_id INTEGER PRIMARY KEY, content BLOB NOT NULL);
"""
MESSAGE = "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?,?,?)"
RECIPIENT = "INSERT INTO recipients VALUES (?,?,0,?,?,?,'',NULL)"
ENVELOPE = b"\x92" + b"e" * 150


class Store:
    """The index, and the syncs it and its body files cost."""

    def __init__(self, directory: Path, page_bytes: int = 4096, wal_pages: int = 4000) -> None:
        self.directory = directory
        self.syncs = 0
        self.db = sqlite3.connect(directory / "index", isolation_level=None)
        for pragma in (
            f"page_size={page_bytes}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=OFF",
            f"wal_autocheckpoint={wal_pages * 4096 // page_bytes}",
            "cache_size=-16384",
        ):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.executescript(SCHEMA)
        self.ids = iter(range(1_800_000_000_000_000, 2_000_000_000_000_000))

    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, int, int]]:
        """Make bodies durable; (segment, offset, crc32) for each."""
        raise NotImplementedError

    def inline(self, bodies: Sequence[tuple[int, bytes]]) -> None:
        """Whatever must happen inside the transaction."""

    def forget(self, ids: Sequence[int]) -> None:
        """Drop bodies of retired messages."""

    def batch(self, bodies: Sequence[bytes], retired: Sequence[int]) -> list[int]:
        ids = [next(self.ids) for _ in bodies]
        named = list(zip(ids, bodies, strict=True))
        places = self.put(named)
        now = time.time()
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            MESSAGE,
            [
                (i, f"{i:x}-abcde", now, len(b), "a@sender.test", "sender.test", s, o, len(b), c, ENVELOPE)
                for (i, b), (s, o, c) in zip(named, places, strict=True)
            ],
        )
        self.db.executemany(RECIPIENT, [(i, 0, now, "b@recipient.test", "recipient.test") for i in ids])
        self.inline(named)
        if retired:
            one = [(i,) for i in retired]
            self.db.executemany("DELETE FROM recipients WHERE message_id=? AND number=0 AND status=0", one)
            for i in one:
                self.db.execute(
                    "DELETE FROM messages WHERE id=? AND NOT EXISTS "
                    "(SELECT 1 FROM recipients WHERE message_id=id) RETURNING size_bytes, segment",
                    i,
                ).fetchone()
            self.forget(retired)
        self.db.execute("COMMIT")
        self.syncs += 1
        return ids


class Inline(Store):
    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, int, int]]:
        return [(0, 0, zlib.crc32(b)) for _, b in bodies]

    def inline(self, bodies: Sequence[tuple[int, bytes]]) -> None:
        self.db.executemany("INSERT INTO bodies VALUES (?,?)", bodies)

    def forget(self, ids: Sequence[int]) -> None:
        self.db.executemany("DELETE FROM bodies WHERE message_id=?", [(i,) for i in ids])


class Segment(Store):
    recycle = False

    def __init__(self, directory: Path, page_bytes: int = 4096, wal_pages: int = 4000) -> None:
        super().__init__(directory, page_bytes, wal_pages)
        self.number = 0
        self.spare: Path | None = None
        self.path: Path | None = None
        self.fd = -1
        self.roll()

    def roll(self) -> None:
        old = self.path
        if self.fd >= 0:
            os.close(self.fd)
        self.number += 1
        self.path = self.directory / f"segment-{self.number}"
        if self.recycle and self.spare is not None:
            self.spare.rename(self.path)
        elif self.spare is not None:
            self.spare.unlink()
        self.spare = old
        self.fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        self.offset = 0
        sync_directory(self.directory)
        self.syncs += 1

    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, int, int]]:
        places, parts, offset = [], [], self.offset
        for number, body in bodies:
            crc = zlib.crc32(body)
            parts += [b"%032d" % number, body]
            places.append((self.number, offset + 32, crc))
            offset += 32 + len(body)
        os.pwritev(self.fd, parts, self.offset)
        os.fdatasync(self.fd)
        self.syncs += 1
        self.offset = offset
        if offset > SEGMENT_BYTES:
            self.roll()
        return places


class RecycledSegment(Segment):
    recycle = True


class FileEach(Store):
    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, int, int]]:
        for number, body in bodies:
            fd = os.open(self.directory / str(number), os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(fd, body)
            os.fdatasync(fd)
            os.close(fd)
        sync_directory(self.directory)
        self.syncs += len(bodies) + 1
        return [(1, 0, zlib.crc32(b)) for _, b in bodies]

    def forget(self, ids: Sequence[int]) -> None:
        for number in ids:
            (self.directory / str(number)).unlink()


def sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def measure(base: Path, make: Callable[[Path], Store], size: int, batch: int, seconds: float) -> str:
    directory = Path(tempfile.mkdtemp(dir=base))
    try:
        store = make(directory)
        bodies = [os.urandom(size) for _ in range(batch)]
        retired: list[int] = []
        # Recycling pays once the first files have been filled: reach that state before counting.
        warm_bytes = 2.2 * SEGMENT_BYTES if isinstance(store, RecycledSegment) else 0
        warmed, stop = 0, time.perf_counter() + 0.3
        while time.perf_counter() < stop or warmed < warm_bytes:
            retired = store.batch(bodies, retired)
            warmed += size * batch
        store.syncs = batches = 0
        cpu, start = time.process_time(), time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            retired = store.batch(bodies, retired)
            batches += 1
        cpu = time.process_time() - cpu
        count = batches * batch
        return f"{cpu / count * 1e6:6.0f} {elapsed / count * 1e6:7.0f} {store.syncs / batches:6.2f}"
    finally:
        shutil.rmtree(directory)


STORES: dict[str, type[Store]] = {
    "inline": Inline,
    "segment": Segment,
    "recycled": RecycledSegment,
    "file": FileEach,
}
KIB = 1024
# name of the table → rows of (store, body bytes, batch, page bytes)
TABLES: dict[str, list[tuple[str, int, int, int]]] = {
    "bodies": [
        (store, size * KIB, 5, 4096)
        for size in (2, 4, 8, 16, 32, 64, 100)
        for store in ("inline", "segment", "recycled")
    ],
    "batches": [
        (store, 4 * KIB, batch, 4096)
        for batch in (1, 5, 20, 50)
        for store in ("inline", "segment", "recycled", "file")
    ],
    "pages": [
        ("inline", size * KIB, batch, page)
        for size, batch in ((4, 5), (4, 20), (4, 50), (16, 5), (16, 20))
        for page in (4096, 8192, 16384, 32768)
    ],
    "recycling": [
        (store, 100_000, batch, 4096)
        for batch in (1, 5, 20)
        for store in ("segment", "recycled", "file", "inline")
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--seconds", type=float, default=1.5, help="measured time for each row")
    options = parser.parse_args()
    for name in options.table or TABLES:
        print(
            f"\n{name}\n{'store':10}{'bytes':>8}{'batch':>6}{'page':>7}"
            f"{'CPU µs':>8}{'wall µs':>8}{'syncs':>7}"
        )
        for store, size, batch, page in TABLES[name]:
            figures = measure(
                options.directory, lambda d, s=store, p=page: STORES[s](d, p), size, batch, options.seconds
            )
            print(f"{store:10}{size:8}{batch:6}{page:7}  {figures}", flush=True)


if __name__ == "__main__":
    main()
