"""An open connection takes one transaction after the other, within the limits of its server."""

import asyncio

import pytest
from tests.support.delivering import (
    connection_to,
    send,
    told,
    transaction,
)
from tests.support.scripted import Peer, Scripted

from waystation_relay.delivery.transaction import Result

# Reuse


async def test_one_connection_takes_many_mails() -> None:
    """A server is greeted once for all the mail that is there for it."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        for _ in range(50):
            await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        for _ in range(50):
            assert (await send(connection, transaction())).reusable
        assert connection.used_count == 50
        connection.quit()


async def test_next_mail_may_be_sent_from_within_the_answer_to_the_last() -> None:
    """No turn of the event loop is lost between two mails."""

    async def server(peer: Peer) -> None:
        await peer.hello("PIPELINING")
        for _ in range(3):
            await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        over = asyncio.Event()
        results: list[Result] = []

        def done(result: Result) -> None:
            results.append(result)
            if len(results) < 3:
                connection.send(transaction(), done)
            else:
                over.set()

        connection.send(transaction(), done)
        async with asyncio.timeout(5):
            await over.wait()
        assert [told(result.outcomes[0]) for result in results] == ["delivered 250 2.0.0"] * 3
        connection.quit()


async def test_reset_follows_what_was_left_open() -> None:
    """After a transaction that ended early the next one begins with RSET, after a complete one not."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("MAIL FROM:<app@shop.test>")
        peer.say("250 ok")
        await peer.expect("RCPT TO:<ann@x.test>")
        peer.say("550 5.1.1 who?")
        await peer.expect("RSET")
        peer.say("250 ok")
        await peer.take()
        await peer.expect("MAIL FROM:<app@shop.test>")
        peer.say("451 not now")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        outcomes = [told((await send(connection, transaction())).outcomes[0]) for _ in range(3)]
        assert outcomes == ["failed bad-address 550 5.1.1", "delivered 250 2.0.0", "deferred other 451 4.3.0"]
        connection.quit()


@pytest.mark.parametrize("answer", ["500 what?", "250 ok", "451 hm"])
async def test_answer_to_reset_does_not_matter(answer: str) -> None:
    """Whatever a server says to RSET, its answer to MAIL tells whether it takes mail."""

    async def server(peer: Peer) -> None:
        await peer.hello("PIPELINING")
        await peer.expect("MAIL FROM:<app@shop.test>", "RCPT TO:<ann@x.test>", "DATA")
        peer.say("451 no", "503 no", "503 no")
        await peer.expect("RSET")
        peer.say(answer)
        await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        await send(connection, transaction())
        assert told((await send(connection, transaction())).outcomes[0]) == "delivered 250 2.0.0"
        connection.quit()


async def test_message_that_cannot_be_asked_for_leaves_the_connection_alone() -> None:
    """A message too large for the server is failed without a word to it; the next one goes out."""

    async def server(peer: Peer) -> None:
        await peer.hello("SIZE 100")
        await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction("ann@x.test", "bob@x.test", body=b"x" * 200))
        assert [told(outcome) for outcome in result.outcomes] == ["failed too-large 552 5.3.4"] * 2
        assert result.reusable
        assert (await send(connection, transaction())).reusable
        connection.quit()


# The server's limits (RFC 9422)


async def test_rcptmax_splits_the_recipients() -> None:
    """A server that takes two recipients at a time gets two at a time, none twice and none lost."""

    async def server(peer: Peer) -> None:
        await peer.hello("LIMITS RCPTMAX=2")
        for count in (2, 2, 1):
            await peer.take(count)
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        waiting = [f"r{n}@x.test" for n in range(5)]
        delivered: list[str] = []
        while waiting:
            result = await send(connection, transaction(*waiting))
            states = [told(outcome) for outcome in result.outcomes]
            assert [states[n] for n in result.again] == ["deferred throttled 452 4.5.3"] * len(result.again)
            delivered += [waiting[n] for n, state in enumerate(states) if state == "delivered 250 2.0.0"]
            waiting = [waiting[n] for n in result.again]
        assert delivered == [f"r{n}@x.test" for n in range(5)]
        connection.quit()


async def test_nobody_is_sent_again_at_once_when_nothing_was_settled() -> None:
    """A server that has no room for one and no time for the other is left in peace until the next retry."""

    async def server(peer: Peer) -> None:
        await peer.hello("LIMITS RCPTMAX=1")
        await peer.line()
        peer.say("250 ok")
        await peer.line()
        peer.say("450 4.3.2 busy")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction("ann@x.test", "bob@x.test"))
        assert result.again == ()
        states = [told(outcome) for outcome in result.outcomes]
        assert states == ["deferred other 450 4.3.2", "deferred throttled 452 4.5.3"]
        connection.quit()


async def test_mailmax_ends_the_connection() -> None:
    """A server that takes two mails a connection is left after two."""

    async def server(peer: Peer) -> None:
        await peer.hello("LIMITS MAILMAX=2")
        await peer.take()
        await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        assert (await send(connection, transaction())).reusable
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == "delivered 250 2.0.0"
        assert not result.reusable
        assert not result.connection_lost
        assert connection.closing


@pytest.mark.parametrize("keywords", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")], ids=" ".join)
async def test_many_recipients(keywords: tuple[str, ...]) -> None:
    """A thousand recipients share one transaction, and each gets its own answer."""
    people = [f"r{n}@x.test" for n in range(1000)]

    async def server(peer: Peer) -> None:
        await peer.hello(*keywords)
        await peer.line()
        peer.say("250 ok")
        for n in range(1000):
            await peer.expect(f"RCPT TO:<r{n}@x.test>")
            peer.say("250 ok" if n % 3 else "550 5.1.1 who?")
        if "CHUNKING" in keywords:
            _, size, _ = (await peer.line()).split()
            await peer.read(int(size))
        else:
            await peer.expect("DATA")
            peer.say("354 go on")
            await peer.content()
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction(*people))
        states = [told(outcome) for outcome in result.outcomes]
        assert states == [
            "delivered 250 2.0.0" if n % 3 else "failed bad-address 550 5.1.1" for n in range(1000)
        ]
        connection.quit()
