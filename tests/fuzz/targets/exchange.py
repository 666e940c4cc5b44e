"""Mail transactions on a connection whose server answers anything at any moment.

Invariant tested: every transaction is told its result once, with an outcome for
each recipient; nobody counts as delivered before all of the content had been
written and a positive reply came after it; a connection tells once that it is
closed, after the result, and nothing is written once it is.

The first bytes choose what the server offers and what is sent; the rest is what it says.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.fuzz.target import Feed, pieces

from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.transaction import Result, Transaction
from waystation_relay.delivery.verdicts import Hop
from waystation_relay.mail.envelope import Recipient
from waystation_relay.mail.outcome import Delivered, Remote
from waystation_relay.wire.capabilities import Capabilities
from waystation_relay.wire.client import EAGER_BYTES

TOKENS = (
    b"250 ok\r\n", b"250 2.1.0 ok\r\n", b"354 go on\r\n", b"550 5.1.1 who?\r\n", b"452 4.5.3 too many\r\n",
    b"421 4.3.2 bye\r\n", b"503 bad sequence\r\n", b"250-a\r\n", b"250 ok\r\n250 ok\r\n354 go on\r\n",
    b"220 hello\r\n", b"334 \r\n", b"999 x\r\n", b"\r\n", b"garbage\r\n", b"25",
)  # fmt: skip

SMALL = b"Subject: x\r\n\r\n.dot\r\n"
LARGE = SMALL + b"0123456789abcdef\r\n" * (EAGER_BYTES // 16)


class Loop:
    """Enough of an event loop for a connection: callbacks in order, time that a test would have to turn."""

    def __init__(self) -> None:
        self._ready: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return 0.0

    def call_soon(self, call: Callable[..., None], *arguments: object) -> None:
        self._ready.append((call, arguments))

    def call_later(self, _delay: float, _call: Callable[..., None], *_: object) -> "Timer":
        return Timer()

    def turn(self) -> None:
        while self._ready:
            call, arguments = self._ready.pop(0)
            call(*arguments)


class Timer:
    def cancel(self) -> None:
        pass


class Wire:
    """The transport: takes everything at once, unless ``stuck``."""

    def __init__(self, loop: Loop) -> None:
        self.written = bytearray()
        self.closed = False
        self.protocol: Connection | None = None
        self._loop = loop

    def write(self, data: bytes) -> None:
        assert not self.closed, f"written to a closed connection: {data!r}"
        self.written += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.write(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            assert self.protocol is not None
            self._loop.call_soon(self.protocol.connection_lost, None)


class Story:
    """Transactions one after another, as long as the connection lets itself be reused."""

    def __init__(self, feed: Feed) -> None:
        self.loop = Loop()
        asyncio._set_running_loop(self.loop)  # type: ignore[arg-type] # all of one that a connection uses
        try:
            self._run(feed)
        finally:
            asyncio._set_running_loop(None)

    def _run(self, feed: Feed) -> None:
        offered = Capabilities(
            pipelining=feed.flag(),
            chunking=feed.flag(),
            dsn=feed.flag(),
            mail_max=feed.below(3) or None,
            rcpt_max=feed.below(3) or None,
        )
        hop = Hop(Remote("mx.test", "192.0.2.1", 25), lmtp=feed.flag(), dsn=offered.dsn, excused=feed.flag())
        self.content = (SMALL, LARGE)[feed.below(2)]
        self.recipients = 1 + feed.below(4)
        self.wire = Wire(self.loop)
        self.calls: list[str] = []
        self.heard = 0  # of what was written, how much before what the server said last
        self.connection = Connection(self.wire, hop, offered, Timeouts())  # type: ignore[arg-type] # see Loop
        self.wire.protocol = self.connection
        self.connection.on_closed = lambda _: self.calls.append("closed")
        self.left = feed.below(3)
        self._send()
        for piece in pieces(feed.rest()):
            if self.wire.closed:
                break
            self.heard = len(self.wire.written)
            self.connection.data_received(piece)
            self.loop.turn()
        if not self.wire.closed:
            self.wire.close()
        self.loop.turn()
        assert self.calls.count("closed") == 1
        assert self.calls[-1] == "closed", self.calls
        assert self.calls.count("sent") == self.calls.count("done")

    def _send(self) -> None:
        self.calls.append("sent")
        self.begins = len(self.wire.written)
        people = tuple([Recipient(f"r{n}@next.test") for n in range(self.recipients)])
        self.connection.send(Transaction("ann@shop.test", people, self.content), self._done)

    def _done(self, result: Result) -> None:
        self.calls.append("done")
        assert self.calls.count("done") <= self.calls.count("sent")
        assert len(result.outcomes) == self.recipients
        assert set(result.again) <= set(range(self.recipients))
        delivered = [n for n, outcome in enumerate(result.outcomes) if isinstance(outcome, Delivered)]
        assert not set(delivered) & set(result.again), "delivered, and to be sent again"
        if delivered:
            heard = bytes(self.wire.written[self.begins : self.heard])
            last = self.content.splitlines(keepends=True)[-1]
            assert heard.endswith((last, last + b".\r\n")), "delivered before it was sent"
        assert result.reusable is not self.connection.closing or not result.reusable
        if result.reusable and self.left:
            self.left -= 1
            self._send()


def run(data: bytes) -> None:
    Story(Feed(data))
