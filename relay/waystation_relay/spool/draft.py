"""A message while it arrives.

A draft belongs to the event loop's thread. Small ones are a list of chunks in
memory; above ``memory_bytes`` the chunks go to the writer as they come, and
``append`` answers ``False`` while the writer has not caught up: at most
``memory_bytes`` plus one chunk of any draft is in memory.

Invariants
    After ``discard``, or a failed accept, no file of it stays behind.
    A failed write is kept until ``accept``, which then reports it.
"""

from collections.abc import Callable
from typing import Protocol

from waystation_relay.spool.segments import Stream
from waystation_relay.spool.values import SpoolFailure

# A client may send a byte at a time, and an object costs fifty: pieces smaller than this are joined.
SMALL_BYTES = 512


class Flow:
    """A streaming draft, as the writer sees it."""

    __slots__ = ("draft", "failure", "stream")

    def __init__(self, draft: "Draft") -> None:
        self.draft = draft
        self.stream: Stream | None = None
        self.failure: SpoolFailure | None = None


class Streamer(Protocol):
    """What a draft asks of the spool."""

    memory_bytes: int
    chunk_bytes: int
    arriving: int  # drafts that are neither finished nor discarded

    def send(self, flow: Flow, chunks: list[bytes]) -> None: ...

    def drop(self, flow: Flow) -> None: ...


class Draft:
    __slots__ = (
        "_flow",
        "_gathered",
        "_memory_bytes",
        "_paused",
        "_streamer",
        "_unwritten",
        "arrival",
        "chunks",
        "closed",
        "id",
        "on_drain",
        "queue_id",
        "size_bytes",
    )

    def __init__(self, number: int, queue_id: str, arrival: float, streamer: Streamer) -> None:
        self.id = number
        self.queue_id = queue_id
        self.arrival = arrival
        self.size_bytes = 0
        self.on_drain: Callable[[], None] | None = None
        self.chunks: list[bytes] = []
        self.closed = False
        self._streamer = streamer
        self._memory_bytes = streamer.memory_bytes
        self._flow: Flow | None = None
        self._gathered = 0
        self._unwritten = 0
        self._paused = False
        streamer.arriving += 1

    def append(self, data: bytes) -> bool:
        """Take bytes; ``False``: pause until ``on_drain`` is called."""
        assert not self.closed, "append after accept or discard"
        self.size_bytes += len(data)
        chunks = self.chunks
        if len(data) < SMALL_BYTES and chunks and len(chunks[-1]) < SMALL_BYTES:
            chunks[-1] += data
        else:
            chunks.append(data)
        if self.size_bytes <= self._memory_bytes:
            return True
        return self._stream(len(data))

    def discard(self) -> None:
        """Forget it all; harmless after accept."""
        if self.closed:
            return
        self.closed = True
        self._streamer.arriving -= 1
        self.chunks = []
        self.on_drain = None
        if self._flow is not None:
            self._streamer.drop(self._flow)

    def finish(self) -> Flow | None:
        """No more appends. The flow, if the body went to a file; else it is all in ``chunks``."""
        assert not self.closed, "a draft is accepted or discarded once"
        self.closed = True
        self._streamer.arriving -= 1
        self.on_drain = None
        if self._flow is not None and self.chunks:
            self._send(self._flow)
        return self._flow

    def written(self, size_bytes: int) -> None:
        """The writer has taken that much off our hands."""
        self._unwritten -= size_bytes
        if self._paused and self._unwritten <= self._memory_bytes // 2:
            self._paused = False
            if self.on_drain is not None:
                self.on_drain()

    def _stream(self, size_bytes: int) -> bool:
        flow = self._flow
        if flow is None:
            flow = self._flow = Flow(self)
            self._gathered = self.size_bytes
        else:
            self._gathered += size_bytes
        if self._gathered >= self._streamer.chunk_bytes:
            self._send(flow)
        self._paused = self._paused or self._unwritten >= self._memory_bytes
        return not self._paused

    def _send(self, flow: Flow) -> None:
        self._unwritten += self._gathered
        self._streamer.send(flow, self.chunks)
        self.chunks = []
        self._gathered = 0
