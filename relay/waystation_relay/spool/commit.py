"""One commit: bodies to disk, then one transaction for everything that waits.

Runs on the writer thread; knows nothing of threads, callbacks or retries.
The order is the promise: body files are written and synced, new names in
their directory are synced, and only then does the index's transaction, which
refers to them, commit (WAL, synchronous=FULL). What ``docs/spool-states.md``
calls a step is a ``reach`` here.

Figures and segment accounts change only after COMMIT has returned.
"""

import zlib
from collections.abc import Sequence
from typing import Any

from waystation_relay.mail.message import Message, Place, Progress, Status
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.header import PAGE_BYTES
from waystation_relay.spool.index import Change, Delta, Index, NewRow
from waystation_relay.spool.operations import Entry, Job
from waystation_relay.spool.schema import INLINE
from waystation_relay.spool.segments import Segments, Stream
from waystation_relay.spool.trouble import failure_of
from waystation_relay.spool.values import SpoolStats, Tuning


class Committer:
    def __init__(self, index: Index, segments: Segments, tuning: Tuning, stats: SpoolStats) -> None:
        self.index = index
        self.segments = segments
        self.stats = stats
        self.wal_pages = 0  # an estimate of what was written since the last checkpoint
        self._tuning = tuning
        oldest = index.oldest()
        self._oldest_id = oldest[0] if oldest else None

    def commit(
        self, entries: Sequence[Entry], changes: Sequence[Change], jobs: Sequence[Job]
    ) -> tuple[list[Message], list[Any]]:
        """The messages now in the queue, and each job's result. Raises with nothing committed."""
        reach("batch.begun")
        index, segments = self.index, self.segments
        made: list[Stream] = []
        try:
            added = self._place(entries, made)
            index.begin()
            reach("transaction.begun")
            index.add(added)
            reach("index.added")
            index.settle(changes)
            results = [job.apply(index) for job in jobs]
            reach("index.settled")
            if entries:
                index.reserve(max(entry.id for entry in entries))
            oldest = self._oldest(index.delta, entries)
            delta = index.commit()
            reach("index.committed")
        except Exception as error:
            # After a failed fsync the transaction may be on disk all the same, referring to these files.
            forget = segments.abandon if failure_of(error).permanent else segments.drop
            for stream in made:
                forget(stream)
            index.rollback()
            raise
        self._account(delta, oldest)
        self.wal_pages += 6 + len(entries) // 4 + len(changes) // 4 + 4 * len(jobs)
        self.wal_pages += sum(3 * len(change.updated) for change in changes)
        warm = self._tuning.warm_bytes
        return [_message(entry, new, warm) for entry, new in zip(entries, added, strict=True)], results

    def checkpoint(self) -> None:
        """Move the WAL's pages into the index file, as far as no reader is in the way."""
        reach("checkpoint.begun")
        _, log, moved = self.index.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.wal_pages = max(0, log - moved)
        reach("checkpoint.done")
        if self.index.free_bytes() >= self._tuning.shrink_free_bytes:
            self._shrink()

    def make_room(self) -> None:
        """Room on the volume is short: give back what the index holds without needing it."""
        if self.index.free_bytes() <= self.index.live_bytes():
            return
        self.index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._shrink()
        self.index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _shrink(self) -> None:
        """SQLite keeps the pages of what has left; rewriting the little that stays gives them back."""
        live_bytes = self.index.live_bytes()
        if live_bytes <= self._tuning.shrink_live_bytes:
            reach("shrink.begun")
            self.index.db.execute("VACUUM")
            self.wal_pages += live_bytes // PAGE_BYTES
            reach("shrink.done")

    def _place(self, entries: Sequence[Entry], made: list[Stream]) -> list[NewRow]:
        """Bring every body to where it will stay, durably; inline ones go with the transaction."""
        if not entries:
            return []
        segments, tuning = self.segments, self._tuning
        added: list[NewRow] = []
        shared: list[tuple[int, bytes]] = []
        waiting: list[NewRow] = []
        for entry in entries:
            content: bytes | None = None
            place: Place | None = None
            if entry.flow is not None:
                stream = entry.flow.stream
                assert stream is not None, "a flow that has been written to has a stream"
                made.append(stream)
                place = segments.finish(stream, entry.id)
            else:
                content = b"".join(entry.chunks)
                if entry.size_bytes <= tuning.inline_bytes:
                    place = Place(INLINE, 0, entry.size_bytes, zlib.crc32(content))
                    self.wal_pages += 1 + entry.size_bytes // PAGE_BYTES
                elif entry.size_bytes > tuning.memory_bytes:
                    stream = segments.open_stream()
                    made.append(stream)
                    segments.extend(stream, [content])
                    place = segments.finish(stream, entry.id)
            new = NewRow(
                entry.id,
                entry.arrival,
                entry.envelope,
                entry.sealed,
                entry.hold,
                entry.size_bytes,
                place or NOWHERE,
                content,
                entry.adoption,
            )
            added.append(new)
            if place is None and content is not None:
                shared.append((entry.id, content))
                waiting.append(new)
        if shared:
            for new, place in zip(waiting, segments.append(shared), strict=True):
                new.place = place
            reach("bodies.written")
            segments.flush()
        elif made:
            segments.sync_names()
        return added

    def _oldest(self, delta: Delta, entries: Sequence[Entry]) -> tuple[int, float] | None:
        """The oldest message after this transaction; looked up only when it may have changed."""
        oldest = self._oldest_id
        if (
            oldest is None
            or delta.first_removed == oldest
            or (entries and min(entry.id for entry in entries) < oldest)  # it took long to arrive
        ):
            return self.index.oldest()
        return oldest, self.stats.oldest_arrival or 0.0

    def _account(self, delta: Delta, oldest: tuple[int, float] | None) -> None:
        old, segments = self.stats, self.segments
        segments.adopt(delta.stored)
        segments.forget(delta.freed)
        self._oldest_id = oldest[0] if oldest else None
        self.stats = SpoolStats(
            old.messages + delta.messages,
            old.waiting + delta.waiting,
            old.held + delta.held,
            old.size_bytes + delta.size_bytes,
            oldest[1] if oldest else None,
            len(segments.known),
            segments.disk_bytes,
            segments.live_bytes,
            old.commits + 1,
        )


NOWHERE = Place(INLINE, 0, 0, 0)


def _message(entry: Entry, new: NewRow, warm_bytes: int) -> Message:
    status = Status.HELD if entry.hold else Status.WAITING
    pending = (
        entry.adoption.pending
        if entry.adoption is not None
        else tuple(
            [
                Progress(number, status, entry.arrival, hold_reason=entry.hold)
                for number in range(len(entry.envelope.recipients))
            ]
        )
    )
    return Message(
        entry.id,
        entry.queue_id,
        entry.envelope,
        entry.origin,
        entry.arrival,
        entry.size_bytes,
        pending,
        new.place,
        new.content if entry.size_bytes <= warm_bytes else None,
    )
