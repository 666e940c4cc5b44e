"""Large content, read from disk piece by piece and sent no faster than it is taken."""

import asyncio
import dataclasses
import ssl
import threading
from collections.abc import Callable

import pytest
from tests.support.delivering import (
    IMPATIENT,
    SHORT_S,
    closed,
    connection_to,
    send,
    told,
    transaction,
)
from tests.support.scripted import Peer, Scripted

from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.pump import BLOCK_BYTES
from waystation_relay.delivery.target import Security
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.transaction import Result
from waystation_relay.wire.client import EAGER_BYTES

# Dots at line starts, and lines that no block ends with.
LINE = b".the quick brown fox jumps over the lazy dog, 0123456789\r\n"


class Source:
    """A body that keeps account of its reading."""

    def __init__(self, content: bytes, *, lacks: int = 0, breaks_at: int | None = None) -> None:
        self.size_bytes = len(content) + lacks
        self.reads: list[tuple[int, int]] = []
        self.threads: set[int] = set()
        self._content, self._breaks_at = content, breaks_at

    def read(self, offset: int, size: int, /) -> bytes:
        self.reads.append((offset, size))
        self.threads.add(threading.get_ident())
        if self._breaks_at is not None and offset >= self._breaks_at:
            raise OSError(5, "Input/output error")
        return self._content[offset : offset + size]

    async def at_rest(self) -> int:
        """How often it was read, once nobody reads any more."""
        seen = -1
        while seen != len(self.reads):
            seen = len(self.reads)
            await asyncio.sleep(0.1)
        return seen


def content_of(size: int) -> bytes:
    return (LINE * (size // len(LINE) + 1))[: size - 2] + b"\r\n"


LARGE = content_of(16 * 2**20)  # more than the kernel buffers on the way


async def envelope(peer: Peer, *keywords: str) -> None:
    await peer.hello(*keywords)
    await peer.line()
    peer.say("250 ok")
    await peer.line()
    peer.say("250 ok")


@pytest.mark.parametrize(
    "size",
    [0, 1, EAGER_BYTES, EAGER_BYTES + 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 17],
    ids=lambda size: f"{size} bytes",
)
@pytest.mark.parametrize("keywords", [(), ("CHUNKING",), ("PIPELINING", "CHUNKING")], ids=" ".join)
@pytest.mark.parametrize("streamed", [True, False], ids=["from disk", "from memory"])
async def test_content_arrives_as_it_is(size: int, keywords: tuple[str, ...], streamed: bool) -> None:
    """Whatever its size and whichever way it goes, the content arrives octet by octet."""
    content = content_of(size) if size > 1 else b"x" * size
    arrived: list[bytes] = []

    async def server(peer: Peer) -> None:
        await envelope(peer, *keywords)
        if keywords:
            verb, count, last = (await peer.line()).split()
            assert (verb, last) == ("BDAT", "LAST")
            arrived.append(await peer.read(int(count)))
        else:
            await peer.expect("DATA")
            peer.say("354 go on")
            arrived.append(await peer.content())
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction(body=Source(content) if streamed else content))
        assert told(result.outcomes[0]) == "delivered 250 2.0.0"
        assert result.reusable
        connection.quit()
    as_it_is = not content or content.endswith(b"\r\n") or (streamed and keywords)
    assert arrived == [content if as_it_is else content + b"\r\n"]


@pytest.mark.parametrize("streamed", [True, False], ids=["from disk", "from memory"])
async def test_large_content_over_tls(streamed: bool, serving: Callable[..., ssl.SSLContext]) -> None:
    """Encryption changes nothing about content that is larger than any buffer on the way."""
    context = serving("mx.test")

    async def server(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        await peer.upgrade(context)
        await peer.expect("EHLO relay.test")
        peer.offer("PIPELINING", "CHUNKING")
        for _ in range(2):
            await peer.expect("MAIL FROM:<app@shop.test>", "RCPT TO:<ann@x.test>")
            peer.say("250 ok", "250 ok")
            await peer.expect(f"BDAT {len(LARGE)} LAST")
            assert await peer.read(len(LARGE)) == LARGE
            peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port, security=Security.OPPORTUNISTIC)
        for _ in range(2):
            result = await send(connection, transaction(body=Source(LARGE) if streamed else LARGE))
            assert told(result.outcomes[0]) == "delivered 250 2.0.0"
            assert result.reusable
        connection.quit()


async def test_reading_is_no_faster_than_the_server() -> None:
    """A slow server makes the relay read slowly, in a thread that is not the event loop's."""
    content = content_of(64 * BLOCK_BYTES)
    source = Source(content)
    go_on = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await envelope(peer, "CHUNKING")
        await peer.expect(f"BDAT {len(content)} LAST")
        await go_on.wait()
        assert await peer.read(len(content)) == content
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    async with Scripted(slow) as scripted:
        connection = await connection_to(scripted.port)
        results: list[object] = []
        connection.send(transaction(body=source), results.append)
        assert 0 < await source.at_rest() < 40, (
            "what is read and not taken must fit the buffers of the kernel and a block or two"
        )
        go_on.set()
        async with asyncio.timeout(10):
            while not results:
                await asyncio.sleep(0.01)
        assert source.reads == [(n * BLOCK_BYTES, BLOCK_BYTES) for n in range(64)]
        assert threading.get_ident() not in source.threads
        connection.quit()


@pytest.mark.parametrize("keywords", [(), ("CHUNKING",)], ids=["DATA", "BDAT"])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        pytest.param(
            Source(content_of(4 * BLOCK_BYTES), breaks_at=2 * BLOCK_BYTES),
            "Input/output error",
            id="I/O error",
        ),
        pytest.param(
            Source(content_of(BLOCK_BYTES), lacks=10), f"it ends at {BLOCK_BYTES} bytes", id="too short"
        ),
    ],
)
async def test_unreadable_content_is_never_taken_for_whole(
    source: Source, why: str, keywords: tuple[str, ...]
) -> None:
    """When our own disk fails in the middle of a mail, the server gets no end of it, and the mail waits."""

    async def server(peer: Peer) -> None:
        await envelope(peer, *keywords)
        if not keywords:
            await peer.expect("DATA")
            peer.say("354 go on")
            assert not (await peer.hang_up()).endswith(b"\r\n.\r\n")
        else:
            await peer.expect(f"BDAT {source.size_bytes} LAST")
            assert len(await peer.hang_up()) < source.size_bytes

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction(body=source))
        assert told(result.outcomes[0]) == "deferred storage 451 4.3.0"
        assert why in result.outcomes[0].reply.text
        assert not result.reusable


@pytest.mark.parametrize("streamed", [True, False], ids=["from disk", "from memory"])
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        pytest.param("552 5.3.4 too large", "failed too-large 552 5.3.4", id="refusal"),
        pytest.param("452 4.3.1 disk full", "deferred other 452 4.3.1", id="temporary refusal"),
        pytest.param("421 4.3.2 shutting down", "deferred throttled 421 4.3.2", id="421"),
        pytest.param("250 2.0.0 thank you", "deferred protocol 451 4.5.0", id="success too soon"),
        pytest.param("hm", "deferred protocol 451 4.5.0", id="nonsense"),
    ],
)
@pytest.mark.parametrize("keywords", [(), ("CHUNKING",)], ids=["DATA", "BDAT"])
async def test_answer_in_the_middle_of_the_content(
    answer: str, outcome: str, streamed: bool, keywords: tuple[str, ...]
) -> None:
    """A server may refuse what it has begun to read; it cannot accept it. Either way the line is cut."""

    async def server(peer: Peer) -> None:
        await envelope(peer, *keywords)
        await peer.line()
        if not keywords:
            peer.say("354 go on")
        await peer.read(100_000)
        peer.say(answer)
        await peer.hang_up()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction(body=Source(LARGE) if streamed else LARGE))
        assert told(result.outcomes[0]) == outcome
        assert not result.reusable
        await closed(connection)


@pytest.mark.parametrize("streamed", [True, False], ids=["from disk", "from memory"])
async def test_dropped_in_the_middle_of_the_content(streamed: bool) -> None:
    """A connection lost while a mail is on its way defers it; reading stops."""
    source = Source(LARGE)

    async def server(peer: Peer) -> None:
        await envelope(peer)
        await peer.line()
        peer.say("354 go on")
        await peer.read(100_000)
        peer.drop()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction(body=source if streamed else LARGE))
        assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
        assert result.connection_lost
        await closed(connection)
        assert await source.at_rest() < 64


async def test_server_that_stops_reading_has_a_deadline() -> None:
    """A server that takes nothing any more is given up, and told so as the moment it was."""

    async def server(peer: Peer) -> None:
        await envelope(peer)
        await peer.line()
        peer.say("354 go on")
        await gone.wait()

    gone = asyncio.Event()
    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port, timeouts=IMPATIENT)
        result = await send(connection, transaction(body=Source(content_of(32 * 2**20))))
        gone.set()
    assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
    assert f"did nothing for {SHORT_S} s while taking the message" in result.outcomes[0].reply.text


async def test_slow_but_steady_reading_is_not_cut() -> None:
    """The time allowed while content is sent is for each block, not for all of it."""
    content = content_of(24 * 2**20)
    taken = 0

    async def server(peer: Peer) -> None:
        nonlocal taken
        await envelope(peer, "CHUNKING")
        await peer.line()
        part = 4 * 2**20
        while taken < len(content):
            await peer.read(part)
            taken += part
            await asyncio.sleep(SHORT_S)
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    patience = dataclasses.replace(Timeouts(), block_s=3 * SHORT_S)
    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port, timeouts=patience)
        result = await send(connection, transaction(body=Source(content)))
        assert told(result.outcomes[0]) == "delivered 250 2.0.0"
        connection.quit()


async def test_stopping_the_relay_stops_the_reading() -> None:
    """A body under way is let go of when the connection is cut."""
    source = Source(content_of(64 * BLOCK_BYTES))
    arrived = asyncio.Event()

    async def server(peer: Peer) -> None:
        await envelope(peer)
        await peer.line()
        peer.say("354 go on")
        await peer.read(1000)
        arrived.set()
        await peer.hang_up()

    async with Scripted(server) as scripted:
        connection: Connection = await connection_to(scripted.port)
        results: list[object] = []
        connection.send(transaction(body=source), results.append)
        async with asyncio.timeout(5):
            await arrived.wait()
        connection.quit()
        await closed(connection)
        assert await source.at_rest() < 64
        assert len(results) == 1


# Content whose header must be looked at before it can be offered


async def test_header_on_disk_is_read_beside_the_loop() -> None:
    """Whether a large SMTPUTF8 mail needs SMTPUTF8 is looked up in its header, in another thread."""
    source = Source(b"Subject: plain\r\n\r\n" + LARGE)

    async def server(peer: Peer) -> None:
        await peer.hello("CHUNKING")
        await peer.expect("MAIL FROM:<app@shop.test>")
        peer.say("250 ok")
        await peer.expect("RCPT TO:<ann@xn--bcher-kva.test>")
        peer.say("250 ok")
        await peer.expect(f"BDAT {source.size_bytes} LAST")
        await peer.read(source.size_bytes)
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        what = transaction("ann@bücher.test", body=source, smtputf8=True)
        assert told((await send(connection, what)).outcomes[0]) == "delivered 250 2.0.0"
        assert threading.get_ident() not in source.threads
        connection.quit()


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        pytest.param(
            Source("Subject: grüß\r\n\r\nhello\r\n".encode()),
            "failed content 553 5.6.9",
            id="internationalized",
        ),
        pytest.param(Source(LARGE, breaks_at=0), "deferred storage 451 4.3.0", id="unreadable"),
    ],
)
async def test_header_on_disk_that_stops_the_mail(source: Source, outcome: str) -> None:
    """When the header says no, or cannot be read, nothing is sent and the connection serves on."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction("ann@x.test", "bob@x.test", body=source, smtputf8=True))
        assert [told(found) for found in result.outcomes] == [outcome] * 2
        assert result.reusable
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_connection_lost_while_the_header_is_read() -> None:
    """A server that leaves meanwhile costs no time: the mail goes to another connection."""
    leave = asyncio.Event()

    class Slow(Source):
        def read(self, offset: int, size: int, /) -> bytes:
            loop.call_soon_threadsafe(leave.set)
            assert left.wait(5)
            return super().read(offset, size)

    async def server(peer: Peer) -> None:
        await peer.hello()
        await leave.wait()
        peer.close()

    left = threading.Event()
    loop = asyncio.get_running_loop()
    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        results: list[Result] = []
        connection.send(transaction(body=Slow(LARGE), smtputf8=True), results.append)
        async with asyncio.timeout(5):
            while not connection.closing:
                await asyncio.sleep(0.01)
            left.set()
            while not results:
                await asyncio.sleep(0.01)
        assert told(results[0].outcomes[0]) == "deferred connect 451 4.4.2"
        assert results[0].again == (0,)
