"""The first words with a server: by which verb, whether it is ourselves, from which address, how long."""

import asyncio
import socket

import pytest
from tests.support.delivering import (
    IMPATIENT,
    PATIENT,
    SHORT_S,
    At,
    connection_to,
    failure_of,
    opened,
    send,
    told,
    transaction,
)
from tests.support.ports import free_port
from tests.support.scripted import Peer, Script, Scripted, closes_at_once, takes_mail

# EHLO, HELO, LHLO


@pytest.mark.parametrize("refusal", ["500 what?", "502 not implemented", "550 no"])
async def test_helo_where_ehlo_is_refused(refusal: str) -> None:
    """A server that knows no EHLO is greeted as of old, and offers nothing."""

    async def old(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say(refusal)
        await peer.expect("HELO relay.test")
        peer.say("250-mx.test", "250 PIPELINING")
        await peer.take()
        await peer.goodbye()

    async with Scripted(old) as server:
        connection = await connection_to(server.port)
        assert not connection.capabilities.pipelining
        assert told((await send(connection, transaction())).outcomes[0]) == "delivered 250 2.0.0"
        connection.quit()


async def test_helo_refused_too() -> None:
    """A server that refuses both is told about, and the mail waits."""

    async def sour(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say("550 5.7.1 no")
        await peer.expect("HELO relay.test")
        peer.say("550 5.7.1 no, I said")
        await peer.expect("QUIT")

    async with Scripted(sour) as server:
        failure = await failure_of(server.port)
    assert told(failure.outcome) == "deferred policy 451 4.7.1"
    assert "answered HELO with: 550 5.7.1 no, I said" in failure.outcome.reply.text


async def test_lmtp_begins_with_lhlo_and_knows_no_other() -> None:
    """An LMTP server is never greeted with EHLO or HELO (RFC 2033 §4.1)."""

    async def smtp(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("LHLO relay.test")
        peer.say("500 5.5.1 what?")
        await peer.expect("QUIT")

    async with Scripted(smtp) as server:
        failure = await failure_of(server.port, lmtp=True)
    assert told(failure.outcome) == "deferred protocol 451 4.5.1"
    assert "answered LHLO with: 500" in failure.outcome.reply.text


async def test_multi_line_greeting_byte_by_byte() -> None:
    """A greeting of many lines that takes its time is a greeting."""

    async def slow(peer: Peer) -> None:
        await peer.drip(b"220-mx.test\r\n220-welcome\r\n220 to you\r\n")
        await peer.expect("EHLO relay.test")
        await peer.drip(b"250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n")
        await peer.goodbye()

    async with Scripted(slow) as server:
        connection = await connection_to(server.port)
        assert connection.capabilities.size_bytes == 1000
        connection.quit()


# Ourselves


@pytest.mark.parametrize("where", ["greeting", "EHLO"])
async def test_mail_host_that_is_ourselves_is_a_loop(where: str) -> None:
    """An MX host that turns out to be this relay fails the mail, which else went round in circles."""

    async def mirror(peer: Peer) -> None:
        peer.say(f"220 {'Relay.TEST.' if where == 'greeting' else 'mx.test'} ready")
        await peer.expect("EHLO relay.test")
        peer.say(f"250 {'relay.test' if where == 'EHLO' else 'mx.test'} hello")
        await peer.expect("QUIT")

    async with Scripted(mirror) as server:
        failure = await failure_of(server.port, At("other-name.test"), At("worse.test"), mx=True)
        assert server.connections == 1, "a worse host was tried"
    assert told(failure.outcome) == "failed loop 554 5.4.6"
    assert "loops back" in failure.outcome.reply.text


async def test_better_mail_host_that_is_down_is_waited_for() -> None:
    """A backup server waits for the better one; it neither bounces the mail nor goes past itself."""

    async def ourselves(peer: Peer) -> None:
        await peer.hello(name="relay.test")
        await peer.expect("QUIT")

    async with Scripted(closes_at_once, ourselves, takes_mail) as server:
        failure = await failure_of(server.port, At("a.test"), At("us.test"), At("worse.test"), mx=True)
        assert server.connections == 2
    assert told(failure.outcome) == "deferred connect 451 4.4.2"
    assert failure.remote is not None
    assert failure.remote.host == "a.test"


async def test_smart_host_may_share_our_name() -> None:
    """A configured mailbox server may bear the name of the whole mail system, as this relay does."""

    async def namesake(peer: Peer) -> None:
        await peer.hello(name="relay.test")
        await peer.goodbye()

    async with Scripted(namesake) as server:
        (await connection_to(server.port)).quit()


# Source addresses


async def test_bind_address_is_the_source() -> None:
    """The server sees the configured source address; what its family cannot reach is passed over."""
    sources: list[str] = []

    async def looking(peer: Peer) -> None:
        sources.append(peer.source)
        await peer.hello()
        await peer.goodbye()

    async with Scripted(looking) as server:
        connection = await connection_to(
            server.port, At("a.test", ("::1", "127.0.0.1")), bind_address="127.0.0.7"
        )
        connection.quit()
    assert sources == ["127.0.0.7"]


async def test_no_address_of_the_right_family() -> None:
    """Mail for hosts that the source address cannot reach waits, and says why."""
    failure = await failure_of(free_port(), At("a.test", ("::1",)), bind_address="127.0.0.7")
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert failure.outcome.reply.text == "dest.test has no address that can be connected to from 127.0.0.7"


async def test_source_address_that_is_not_ours() -> None:
    """A source address this machine does not have is told, not crashed on."""
    failure = await failure_of(free_port(), bind_address="192.0.2.1")
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert "cannot connect to mx.test" in failure.outcome.reply.text


# Time


async def never_greets(peer: Peer) -> None:
    await peer.silence()


async def never_answers_hello(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.silence()


async def answers_hello_by_half(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    peer.write(b"250-mx.test\r\n250")
    await peer.silence()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param(never_greets, f"did not answer the connection within {SHORT_S} s", id="no greeting"),
        pytest.param(never_answers_hello, f"did not answer EHLO within {SHORT_S} s", id="no answer to EHLO"),
        pytest.param(
            answers_hello_by_half, f"did not answer EHLO within {SHORT_S} s", id="half an answer to EHLO"
        ),
    ],
)
async def test_silence_has_a_deadline(script: Script, text: str) -> None:
    """A server that says nothing is given up, and the next one is tried."""
    async with Scripted(script) as server:
        failure = await failure_of(server.port, timeouts=IMPATIENT)
    assert told(failure.outcome) == "deferred connect 451 4.4.2"
    assert text in failure.outcome.reply.text
    async with Scripted(script, takes_mail) as server:
        connection = await connection_to(server.port, At("a.test"), At("b.test"), timeouts=IMPATIENT)
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_trickle_does_not_extend_the_deadline() -> None:
    """A server that sends a byte now and then to keep us waiting does not keep us longer."""

    async def trickle(peer: Peer) -> None:
        gone = asyncio.create_task(peer.hang_up())
        while not gone.done():
            peer.write(b"2")
            await asyncio.wait([gone], timeout=0.03)
        await gone

    async with Scripted(trickle) as server:
        failure = await failure_of(server.port, timeouts=IMPATIENT)
    assert f"did not answer the connection within {SHORT_S} s" in failure.outcome.reply.text


async def test_connecting_has_a_deadline() -> None:
    """An address that answers nothing at all, not even a refusal, is given up."""
    # A full backlog swallows further connections, as a firewall would.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        failure = await failure_of(port, timeouts=IMPATIENT)
        for one in waiting:
            one.close()
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert f"no answer within {SHORT_S} s" in failure.outcome.reply.text


async def test_cancelled_opening_closes_its_connection() -> None:
    """A relay that is stopped while it connects leaves no socket behind."""
    arrived = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        arrived.set()
        assert await peer.hang_up() == b""

    async with Scripted(waiting) as server:
        opening = asyncio.create_task(opened(server.port, timeouts=PATIENT))
        async with asyncio.timeout(5):
            await arrived.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_server_that_closes_after_its_last_word() -> None:
    """A server that answers EHLO and is gone with it is told as lost, not kept as a connection."""

    async def gone(peer: Peer) -> None:
        await peer.hello()
        peer.close()

    async with Scripted(gone) as server:
        for _ in range(20):  # both orders of events
            found = await opened(server.port)
            if hasattr(found, "outcome"):
                assert told(found.outcome) == "deferred connect 451 4.4.2"
            else:
                result = await send(found, transaction())
                assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
                assert not result.reusable
