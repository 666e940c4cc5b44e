"""Bodies outside the index: files of records, appended to and never changed while anything refers to them.

A *shared* segment takes the bodies of many messages one after another; a
*private* one holds a single large body, streamed in while it arrives. The
index is the authority on what is where: nothing here is ever found by
scanning a file, so what lies after or between the records the index names
(a torn write, an old generation) means nothing.

A shared segment without a live record becomes a *spare*: the next segment is
made by renaming it, and its blocks are overwritten in place. That costs a
third of growing a new file, because neither blocks nor size change and fdatasync need
not wait for the journal.

Only a shared segment of this run is ever recycled: a file of an earlier run may
be a private one, and whoever reads a large body keeps its file open.

Owned by the writer thread. ``forget`` and ``adopt`` keep account of live
bytes and are called only with what has been committed.

Record: magic, CRC-32 of the body, message id, body length; then the body. A
``Place`` points at the body, behind this header.
"""

import contextlib
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from waystation_relay.mail.message import Place
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.layout import Layout, sync, sync_directory, write_all
from waystation_relay.spool.values import Tuning

HEADER = struct.Struct("<4sIQQ")
MAGIC = b"WSR1"


def header(message_id: int, crc32: int, length: int) -> bytes:
    return HEADER.pack(MAGIC, crc32, message_id, length)


def is_header(found: bytes, message_id: int, place: Place) -> bool:
    """Whether these bytes introduce this message's body, as the index knows it."""
    return len(found) == HEADER.size and HEADER.unpack(found) == (
        MAGIC,
        place.crc32,
        message_id,
        place.length,
    )


class Segment:
    """What is known of one file; ``size_bytes`` is what it takes on disk."""

    __slots__ = ("live_bytes", "live_records", "number", "path", "private", "sealed", "size_bytes")

    def __init__(self, number: int, path: Path, *, private: bool) -> None:
        self.number = number
        self.path = path
        self.private = private
        self.sealed = private
        self.size_bytes = 0
        self.live_bytes = 0
        self.live_records = 0


class Stream:
    """A private segment being written. Made by the writer at the first chunk, finished at accept."""

    __slots__ = ("crc32", "fd", "length", "segment", "unsynced")

    def __init__(self, segment: Segment, fd: int) -> None:
        self.segment = segment
        self.fd = fd
        self.length = 0
        self.crc32 = 0
        self.unsynced = 0


class Segments:
    def __init__(self, layout: Layout, tuning: Tuning, first_number: int) -> None:
        self._layout = layout
        self._tuning = tuning
        self._next = first_number
        self._current: Segment | None = None
        self._fd = -1
        self._spares: list[Path] = []
        self._entries_changed = False  # a file was made since the directory was last synced
        self.known: dict[int, Segment] = {}
        self.sparse: set[int] = set()  # sealed, mostly dead: for compaction
        self.disk_bytes = 0
        self.live_bytes = 0

    # Writing

    def append(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place]:
        """Write (message id, body) records to the shared segment; durable after ``flush``."""
        segment = self._open_current()
        places, parts, offset = [], [], segment.size_bytes
        for message_id, body in bodies:
            crc32, length = zlib.crc32(body), len(body)
            parts += [header(message_id, crc32, length), body]
            places.append(Place(segment.number, offset + HEADER.size, length, crc32))
            offset += HEADER.size + length
        start = segment.size_bytes
        # Advanced before the attempt: what a failed batch has written is never written over by the next,
        # so that a commit which failed after all but reaching the disk refers to nothing but its own.
        segment.size_bytes = offset
        self.disk_bytes += offset - start
        write_all(self._fd, parts, start)
        return places

    def flush(self) -> None:
        """Make everything appended durable, and the files' names."""
        if self._current is not None:
            sync(self._fd, self._current.path)
        reach("bodies.synced")
        self.sync_names()

    def sync_names(self) -> None:
        if self._entries_changed:
            sync_directory(self._layout.segments)
            self._entries_changed = False
            reach("names.synced")

    def open_stream(self) -> Stream:
        segment = self._new(private=True)
        fd = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._entries_changed = True
        reach("stream.created")
        return Stream(segment, fd)

    def extend(self, stream: Stream, chunks: list[bytes]) -> None:
        offset = HEADER.size + stream.length
        for chunk in chunks:
            stream.crc32 = zlib.crc32(chunk, stream.crc32)
            stream.length += len(chunk)
            stream.unsynced += len(chunk)
        write_all(stream.fd, chunks, offset)
        reach("stream.extended")
        if stream.unsynced >= self._tuning.stream_sync_bytes:
            sync(stream.fd, stream.segment.path)
            stream.unsynced = 0

    def finish(self, stream: Stream, message_id: int) -> Place:
        """The whole body is durable, but for the file's name (``sync_names``)."""
        write_all(stream.fd, [header(message_id, stream.crc32, stream.length)], 0)
        reach("stream.headed")
        sync(stream.fd, stream.segment.path)
        os.close(stream.fd)
        stream.fd = -1
        segment = stream.segment
        segment.size_bytes = HEADER.size + stream.length
        self.known[segment.number] = segment
        self.disk_bytes += segment.size_bytes
        return Place(segment.number, HEADER.size, stream.length, stream.crc32)

    def abandon(self, stream: Stream) -> None:
        """A stream that may have been accepted after all: its file stays, for recovery to judge."""
        if stream.fd >= 0:
            with contextlib.suppress(OSError):  # of an earlier write; nobody counts on it
                os.close(stream.fd)
            stream.fd = -1

    def drop(self, stream: Stream) -> None:
        """A stream that will not be accepted: its file goes."""
        self.abandon(stream)
        if self.known.pop(stream.segment.number, None) is not None:
            self.disk_bytes -= stream.segment.size_bytes
        with contextlib.suppress(OSError):  # recovery removes what nothing refers to
            stream.segment.path.unlink(missing_ok=True)

    # Keeping account, with what has been committed

    def adopt(self, stored: Sequence[tuple[int, int]]) -> None:
        for number, size_bytes in stored:
            segment = self.known[number]
            segment.live_records += 1
            segment.live_bytes += size_bytes
            self.live_bytes += size_bytes

    def forget(self, freed: Sequence[tuple[int, int]]) -> None:
        """Records no longer referred to; files without a live record are retired."""
        for number, size_bytes in freed:
            segment = self.known.get(number)
            if segment is None:  # its file was missing when the spool was opened
                continue
            segment.live_records -= 1
            segment.live_bytes -= size_bytes
            self.live_bytes -= size_bytes
            if segment.sealed:
                self._judge(segment)

    def recover(self, number: int, size_bytes: int, live_records: int, live_bytes: int) -> None:
        """A file of an earlier run; never appended to, never recycled."""
        segment = Segment(number, self._layout.segment(number), private=True)
        segment.size_bytes, segment.live_records, segment.live_bytes = size_bytes, live_records, live_bytes
        self.known[number] = segment
        self.disk_bytes += size_bytes
        self.live_bytes += live_bytes
        self._judge(segment)

    def close(self) -> None:
        """Leave only files that something refers to."""
        if self._current is not None:
            self._seal(self._current)
        self._drop_spares()

    def give_back(self) -> bool:
        """Room is short: no dead file is kept, none that is mostly dead is left open. Whether any was."""
        current = self._current
        dead = current is not None and self._is_sparse(current)
        if current is not None and dead:
            self._seal(current)
        found = dead or bool(self._spares)
        with contextlib.suppress(OSError):  # nothing refers to them: recovery removes them
            self._drop_spares()
        return found

    def _seal(self, current: Segment) -> None:
        os.close(self._fd)
        self._fd = -1
        self._current = None
        current.sealed = True
        self._judge(current)

    def _drop_spares(self) -> None:
        while self._spares:
            self._spares[-1].unlink(missing_ok=True)
            self._spares.pop()

    def _is_sparse(self, segment: Segment) -> bool:
        return segment.live_bytes * 100 < segment.size_bytes * self._tuning.compact_below_percent

    def _judge(self, segment: Segment) -> None:
        if not segment.live_records:
            self._retire(segment)
        elif self._is_sparse(segment):
            self.sparse.add(segment.number)

    def _retire(self, segment: Segment) -> None:
        del self.known[segment.number]
        self.disk_bytes -= segment.size_bytes
        self.sparse.discard(segment.number)
        if self._worth_keeping(segment):
            self._spares.append(segment.path)
            return
        reach("segment.retiring")
        with contextlib.suppress(OSError):  # nothing refers to it: recovery removes it
            segment.path.unlink(missing_ok=True)
        reach("segment.unlinked")

    def _worth_keeping(self, segment: Segment) -> bool:
        least = self._tuning.segment_bytes
        return (
            not segment.private
            and len(self._spares) < self._tuning.spare_segments
            and least <= segment.size_bytes <= 2 * least
        )

    def _open_current(self) -> Segment:
        current = self._current
        if current is not None and current.size_bytes < self._tuning.segment_bytes:
            return current
        if current is not None:
            self._seal(current)
        segment = self._new(private=False)
        if self._spares:
            self._spares[-1].rename(segment.path)
            self._spares.pop()
            reach("segment.recycled")
        self._fd = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._entries_changed = True
        reach("segment.created")
        self._current = self.known[segment.number] = segment
        return segment

    def _new(self, *, private: bool) -> Segment:
        number = self._next
        self._next += 1
        return Segment(number, self._layout.segment(number), private=private)
