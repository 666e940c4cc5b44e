"""The event log: one JSON object a line, on standard output.

Lines are gathered while the loop does its work and written together, once a
loop iteration at most. The log never delays or breaks the mail: a file
descriptor that takes no more is asked again later, what waits is bounded, and
what does not fit is counted and dropped.

Invariants
    ``emit`` never raises and never blocks.
    A line is written whole or not at all, in order; lines of other processes
    on the same pipe do not cut into it as long as it is at most 4096 bytes.
    Dropped lines are made known by one ``log.dropped`` line once there is room.
Known limits
    A regular file is written at once: a disk that hangs, hangs the loop.
"""

import asyncio
import datetime
import os
import select
from collections import deque
from collections.abc import Callable

import msgspec

from waystation_relay.aio.clock import Clock

CHUNK_BYTES = 4096  # PIPE_BUF: a pipe that polls writable takes this much without blocking
PENDING_BYTES = 4 * 2**20
RETRY_S = 0.05

_encode = msgspec.json.Encoder(enc_hook=str).encode


class EventLog:
    """Until ``attach`` each line is written at once, as far as the descriptor takes it."""

    def __init__(
        self,
        fd: int,
        clock: Clock,
        *,
        pod: str = "",
        pending_bytes: int = PENDING_BYTES,
    ) -> None:
        self._fd, self._clock = fd, clock
        self._pod = {"pod": pod} if pod else {}
        self._pending: deque[bytes] = deque()
        self._pending_bytes, self._most_bytes = 0, pending_bytes
        self._scheduled = False
        self._soon: Callable[[Callable[[], None]], object] = lambda flush: flush()
        self._later: Callable[[Callable[[], None]], object] = lambda _flush: None
        self._second, self._second_text = -1, ""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._rest = b""  # of a line of which the descriptor took a part
        self._untold = 0
        self.dropped = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on lines are gathered and written by this loop."""
        self._soon = loop.call_soon
        self._later = lambda flush: loop.call_later(RETRY_S, flush)

    def emit(self, event: str, /, **fields: object) -> None:
        try:
            line = _encode({"ts": self._now(), "event": event, **self._pod, **fields})
        except Exception as error:  # noqa: BLE001 -- a log line must never break the mail
            line = _encode(
                {"ts": self._now(), "event": "log.unwritable", "of": repr(event), "error": repr(error)}
            )
        if self._pending_bytes + len(line) >= self._most_bytes:
            self.dropped += 1
            self._untold += 1
            return
        self._pending.append(line)
        self._pending_bytes += len(line) + 1
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.flush)

    def flush(self) -> None:
        """Writes what the descriptor takes now; the rest is tried again later."""
        self._scheduled = False
        while self._pending or self._rest or self._untold:
            chunk = self._rest or self._chunk()
            try:
                if not self._poll.poll(0):
                    self._rest = chunk
                    self._scheduled = True
                    self._later(self.flush)
                    return
                written = os.write(self._fd, chunk[:CHUNK_BYTES])
            except BlockingIOError:
                written = 0
            except OSError:  # nobody reads any more: there is no one to complain to
                self.dropped += chunk.count(b"\n") + len(self._pending)
                self._pending.clear()
                self._pending_bytes, self._rest, self._untold = 0, b"", 0
                return
            self._rest = chunk[written:]
            if not written:
                self._scheduled = True
                self._later(self.flush)
                return

    def close(self, within_s: float = 1.0) -> None:
        """Writes what is left, waiting for a slow reader no longer than this."""
        self._soon = lambda flush: flush()
        self._later = lambda _flush: None
        deadline = self._clock.monotonic() + within_s
        self.flush()
        while (self._pending or self._rest) and (left := deadline - self._clock.monotonic()) > 0:
            self._poll.poll(left * 1000)
            self.flush()

    def _chunk(self) -> bytes:
        """Whole lines that fit one write; a longer line by itself, for several writes."""
        if self._untold and (not self._pending or self._pending_bytes < self._most_bytes // 2):
            told, self._untold = self._untold, 0
            return _encode({"ts": self._now(), "event": "log.dropped", **self._pod, "lines": told}) + b"\n"
        lines: list[bytes] = []
        size = 0
        while self._pending and (not lines or size + len(self._pending[0]) + 1 <= CHUNK_BYTES):
            lines.append(self._pending.popleft())
            size += len(lines[-1]) + 1
        self._pending_bytes -= size
        lines.append(b"")
        return b"\n".join(lines)

    def _now(self) -> str:
        now = self._clock.now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = datetime.datetime.fromtimestamp(second, datetime.UTC).strftime(
                "%Y-%m-%dT%H:%M:%S"
            )
        return f"{self._second_text}.{int((now - second) * 1000):03d}Z"
