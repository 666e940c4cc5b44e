"""Where should a queued body live, and how much may share a commit?

Runs the same steady load through every candidate store: each batch accepts N
messages and retires the N of the batch before, durably (fdatasync of body
files before a SQLite WAL commit with synchronous=FULL). It prints CPU (user +
system, whole process) and elapsed microseconds a message, and syncs a batch:
the median of ``--repeat`` runs, taken in turns so that a busy moment of the
machine hits all of them alike. Tables, statements and settings are those of
``waystation_relay.spool``; the candidates differ only in where bodies go:

inline    a row of the index
segment   a record of an append-only file shared by all messages
recycled  the same, but overwriting a file that an earlier segment left behind
file      a file for each message, its directory synced once a batch
log       bodies and outcomes in one append-only file, no index: what the disk alone would cost

The table ``built`` is the spool itself, threads and callbacks included.

    python -m bench.spool_alternatives [--directory DIR] [--table NAME] [--repeat 5]

``docs/design/spool.md`` holds the figures the design rests on.
"""

import argparse
import asyncio
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvloop

from waystation_relay.aio.clock import SystemClock
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Message, Status
from waystation_relay.spool import index, rows, schema
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Settlement, SpoolLimits

SEGMENT_BYTES = 64 * 2**20
CHECKPOINT_BYTES = 4000 * 4096
ENVELOPE = Envelope("sender@shop.example", (Recipient("somebody@next.example"),))
ORIGIN = Origin("smtp", "ESMTP", "192.0.2.1", "client.example")
NO_LIMITS = SpoolLimits(max_bytes=2**50, full_at_percent=100)
FINISHED = (
    "DELETE FROM messages WHERE id = ? "
    "AND NOT EXISTS (SELECT 1 FROM recipients WHERE message_id = messages.id)"
)
HEADER = f"{'store':10}{'bytes':>8}{'batch':>6}{'page':>7}{'CPU µs':>8}{'wall µs':>8}{'syncs':>7}"
Place = tuple[int, int, int]  # segment, offset, crc32


class Store:
    """The index, and the syncs it and its body files cost."""

    def __init__(self, directory: Path, page_bytes: int) -> None:
        self.directory = directory
        self.syncs = 0
        self.ids = iter(range(1_800_000_000_000_000, 2_000_000_000_000_000))
        self.open_index(page_bytes)

    def open_index(self, page_bytes: int) -> None:
        self.db = sqlite3.connect(self.directory / "index", isolation_level=None)
        for pragma in (f"page_size={page_bytes}", *schema.WRITER[1:]):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_BYTES // page_bytes}")
        for statement in schema.TABLES:
            self.db.execute(statement)

    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place]:
        """Make bodies durable."""
        raise NotImplementedError

    def within(self, bodies: Sequence[tuple[int, bytes]]) -> None:
        """What must happen inside the transaction."""

    def forget(self, ids: Sequence[int]) -> None:
        """Drop bodies of retired messages."""

    def batch(self, bodies: Sequence[bytes], retired: Sequence[int]) -> list[int]:
        named = [(next(self.ids), body) for body in bodies]
        places = self.put(named)
        now = time.time()
        db = self.db
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            index.ADD_MESSAGE,
            [
                (i, now, len(b), "sender@shop.example", "shop.example", *p, rows.seal(i, ENVELOPE, ORIGIN))
                for (i, b), p in zip(named, places, strict=True)
            ],
        )
        for number, _ in named:
            new = rows.recipient_rows(number, ENVELOPE, Status.WAITING, now, "")
            db.executemany(index.ADD_RECIPIENT, new)
        self.within(named)
        if retired:
            db.executemany(index.DROP_WAITING, [(i, 0) for i in retired])
            db.executemany(FINISHED, [(i,) for i in retired])
            self.forget(retired)
        db.execute("COMMIT")
        self.syncs += 1
        return [number for number, _ in named]


class Inline(Store):
    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place]:
        return [(0, 0, zlib.crc32(body)) for _, body in bodies]

    def within(self, bodies: Sequence[tuple[int, bytes]]) -> None:
        self.db.executemany(index.ADD_BODY, bodies)

    def forget(self, ids: Sequence[int]) -> None:
        self.db.executemany("DELETE FROM bodies WHERE message_id=?", [(i,) for i in ids])


class Segment(Store):
    recycles = False

    def __init__(self, directory: Path, page_bytes: int) -> None:
        super().__init__(directory, page_bytes)
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
        if self.spare is not None and self.recycles:
            self.spare.rename(self.path)
        elif self.spare is not None:
            self.spare.unlink()
        self.spare = old
        self.fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        self.offset = 0
        sync_directory(self.directory)
        self.syncs += 1

    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place]:
        places: list[Place] = []
        parts, offset = [], self.offset
        for number, body in bodies:
            places.append((self.number, offset + 32, zlib.crc32(body)))
            parts += [b"%032d" % number, body]
            offset += 32 + len(body)
        os.pwritev(self.fd, parts, self.offset)
        os.fdatasync(self.fd)
        self.syncs += 1
        self.offset = offset
        if offset > SEGMENT_BYTES:
            self.roll()
        return places


class RecycledSegment(Segment):
    recycles = True


class FileEach(Store):
    def put(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place]:
        for number, body in bodies:
            fd = os.open(self.directory / str(number), os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(fd, body)
            os.fdatasync(fd)
            os.close(fd)
        sync_directory(self.directory)
        self.syncs += len(bodies) + 1
        return [(1, 0, zlib.crc32(body)) for _, body in bodies]

    def forget(self, ids: Sequence[int]) -> None:
        for number in ids:
            (self.directory / str(number)).unlink()


class Log(Segment):
    """Answers no question (what is due, what is held); recovery would have to read all of it."""

    def open_index(self, page_bytes: int) -> None:
        pass

    def batch(self, bodies: Sequence[bytes], retired: Sequence[int]) -> list[int]:
        named = [(next(self.ids), body) for body in bodies]
        outcomes = [(number, b"gone") for number in retired]
        self.put([(i, rows.seal(i, ENVELOPE, ORIGIN) + body) for i, body in named] + outcomes)
        return [number for number, _ in named]


class Built:
    """The spool as the relay uses it: a batch is what its sessions have waiting at once."""

    def __init__(self, directory: Path, _page_bytes: int) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.syncs = 0
        self.accepted: list[Message] = []
        self.runner.run(self.open(directory / "spool"))

    async def open(self, directory: Path) -> None:
        loop = asyncio.get_running_loop()
        self.spool = Spool.open(directory, clock=SystemClock(), limits=NO_LIMITS, loop=loop)
        self.spool.on_accepted = self.accepted.extend
        self.spool.start()

    def batch(self, bodies: Sequence[bytes], retired: Sequence[int]) -> list[int]:
        return self.runner.run(self.work(bodies, retired))

    async def work(self, bodies: Sequence[bytes], retired: Sequence[int]) -> list[int]:
        before = self.spool.stats().commits
        left = len(bodies) + len(retired)
        all_done = asyncio.get_running_loop().create_future()

        def done(failure: object) -> None:
            nonlocal left
            assert failure is None
            left -= 1
            if not left:
                all_done.set_result(None)

        for number in retired:
            self.spool.settle(Settlement(number, removed=(0,)), done)
        for body in bodies:
            draft = self.spool.draft()
            draft.append(body)
            self.spool.accept(draft, ENVELOPE, ORIGIN, done)
        await all_done
        self.syncs += self.spool.stats().commits - before
        ids = [message.id for message in self.accepted]
        self.accepted.clear()
        return ids

    def close(self) -> None:
        self.runner.run(self.spool.close())
        self.runner.close()


def sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


STORES: dict[str, type[Store] | type[Built]] = {
    "inline": Inline,
    "segment": Segment,
    "recycled": RecycledSegment,
    "file": FileEach,
    "log": Log,
    "built": Built,
}
KIB = 1024
Row = tuple[str, int, int, int]  # store, bytes of a body, messages of a batch, bytes of a page
TABLES: dict[str, list[Row]] = {
    "bodies": [
        (store, size * KIB, 5, 4096)
        for size in (2, 4, 8, 16, 32, 64, 100)
        for store in ("inline", "segment", "recycled")
    ],
    "batches": [
        (store, 4 * KIB, batch, 4096)
        for batch in (1, 5, 20, 50)
        for store in ("inline", "segment", "recycled", "file", "log")
    ],
    "pages": [
        ("inline", size * KIB, batch, page)
        for size, batch in ((4, 5), (4, 20), (16, 5), (16, 20))
        for page in (4096, 8192, 16384)
    ],
    "large": [
        (store, 100_000, batch, 4096)
        for batch in (1, 5, 20)
        for store in ("inline", "segment", "recycled", "file", "log")
    ],
    "built": [("built", size, batch, 4096) for size in (4 * KIB, 100_000) for batch in (1, 5, 20, 50)],
}


def measure(base: Path, row: Row, seconds: float) -> tuple[float, float, float]:
    """CPU µs and elapsed µs a message, syncs (of ``built``: commits) a batch."""
    name, size, count, page_bytes = row
    directory = Path(tempfile.mkdtemp(dir=base))
    store = STORES[name](directory, page_bytes)
    try:
        bodies = [os.urandom(size) for _ in range(count)]
        retired: list[int] = []
        # Recycling pays once the first files have been filled: reach that state before counting.
        warm_bytes = 2.2 * SEGMENT_BYTES if name in ("recycled", "built") and size > 16 * KIB else 0
        warmed, stop = 0, time.perf_counter() + 0.3
        while time.perf_counter() < stop or warmed < warm_bytes:
            retired = store.batch(bodies, retired)
            warmed += size * count
        store.syncs = batches = 0
        cpu, start = time.process_time(), time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            retired = store.batch(bodies, retired)
            batches += 1
        cpu = time.process_time() - cpu
        messages = batches * count
        return cpu / messages * 1e6, elapsed / messages * 1e6, store.syncs / batches
    finally:
        if isinstance(store, Built):
            store.close()
        shutil.rmtree(directory)


def rounds(rows_: list[Row], repeat: int, run: Callable[[Row], tuple[float, float, float]]) -> Iterator[str]:
    """Each row's medians, once all rounds are over."""
    found: dict[Row, list[tuple[float, float, float]]] = {row: [] for row in rows_}
    for _ in range(repeat):
        for row in rows_:
            found[row].append(run(row))
    for (name, size, count, page), figures in found.items():
        cpu, wall, syncs = (statistics.median(column) for column in zip(*figures, strict=True))
        yield f"{name:10}{size:8}{count:6}{page:7}{cpu:8.0f}{wall:8.0f}{syncs:7.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--table", choices=TABLES, action="append")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured time of each run")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each row; medians are printed")
    options = parser.parse_args()
    for name in options.table or TABLES:
        print(f"\n{name}\n{HEADER}")
        for line in rounds(
            TABLES[name], options.repeat, lambda row: measure(options.directory, row, options.seconds)
        ):
            print(line, flush=True)


if __name__ == "__main__":
    main()
