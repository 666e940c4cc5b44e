"""All the ways a conversation ends early, and who hears of it."""

import asyncio
import dataclasses
import gc

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
from tests.support.scripted import Peer, Script, Scripted

from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.transaction import Result

# Lost, stalled, out of step: at each command


def until_command(count: int, then: Script) -> Script:
    """Takes so many commands of a transaction as it should, then does otherwise."""

    async def script(peer: Peer) -> None:
        await peer.hello()
        for answer in ("250 ok", "250 ok", "354 go on")[:count]:
            await peer.line()
            peer.say(answer)
        if count == 3:
            await peer.content()
        else:
            await peer.line()
        await then(peer)

    return script


async def drops(peer: Peer) -> None:
    peer.drop()


async def closes(peer: Peer) -> None:
    peer.close()


async def stalls(peer: Peer) -> None:
    await peer.silence()


async def stalls_after_half_a_reply(peer: Peer) -> None:
    peer.write(b"250-and")
    await peer.silence()


async def garbage(peer: Peer) -> None:
    peer.write(b"\x00\xff garbage\r\n")
    await peer.silence()


async def floods(peer: Peer) -> None:
    await peer.flood(b"250-" + b"x" * 60_000 + b"\r\n")


STAGES = [
    pytest.param(0, "after MAIL", id="at MAIL"),
    pytest.param(1, "after RCPT", id="at RCPT"),
    pytest.param(2, "after DATA", id="at DATA"),
    pytest.param(3, "after the end of data", id="at the end of data"),
]


@pytest.mark.parametrize(("count", "moment"), STAGES)
@pytest.mark.parametrize(
    ("then", "outcome", "text"),
    [
        pytest.param(drops, "deferred connect 451 4.4.2", "", id="drops"),
        pytest.param(closes, "deferred connect 451 4.4.2", "closed the connection", id="closes"),
        pytest.param(stalls, "deferred connect 451 4.4.2", f"did nothing for {SHORT_S} s", id="stalls"),
        pytest.param(
            stalls_after_half_a_reply,
            "deferred connect 451 4.4.2",
            f"did nothing for {SHORT_S} s",
            id="stalls halfway",
        ),
        pytest.param(garbage, "deferred protocol 451 4.5.0", "?\ufffd garbage", id="garbage"),
        pytest.param(floods, "deferred protocol 451 4.5.0", "makes no sense", id="floods"),
    ],
)
async def test_conversation_ends_early(
    count: int, moment: str, then: Script, outcome: str, text: str
) -> None:
    """However a server stops answering, whenever it does: the mail waits, and the reply says when and how."""
    async with Scripted(until_command(count, then)) as scripted:
        connection = await connection_to(scripted.port, timeouts=IMPATIENT)
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == outcome
        assert text in result.outcomes[0].reply.text
        if "connect" in outcome:
            assert result.outcomes[0].reply.text.endswith(moment)
        assert result.connection_lost
        assert not result.reusable
        assert result.again == ()
        await closed(connection)


async def test_trickling_reply_does_not_extend_the_deadline() -> None:
    """A server that sends a byte of its answer now and then gets no more time than a silent one."""

    async def trickles(peer: Peer) -> None:
        gone = asyncio.create_task(peer.hang_up())
        while not gone.done():
            peer.write(b"2")
            await asyncio.wait([gone], timeout=0.03)
        await gone

    async with Scripted(until_command(3, trickles)) as scripted:
        connection = await connection_to(scripted.port, timeouts=IMPATIENT)
        result = await send(connection, transaction())
        assert f"did nothing for {SHORT_S} s after the end of data" in result.outcomes[0].reply.text


async def test_slow_but_steady_server_is_not_cut() -> None:
    """The time allowed is for each reply, not for the whole transaction."""

    async def slow(peer: Peer) -> None:
        await peer.hello()
        for answer in ("250 ok", "250 ok", "250 ok", "250 ok"):
            await peer.line()
            await asyncio.sleep(SHORT_S)
            peer.say(answer)
        await peer.line()
        peer.say("354 go on")
        await peer.content()
        peer.say("250 2.0.0 thank you")
        await peer.goodbye()

    patience = Timeouts(*[3 * SHORT_S] * len(dataclasses.fields(Timeouts)))
    async with Scripted(slow) as scripted:
        connection = await connection_to(scripted.port, timeouts=patience)
        result = await send(connection, transaction("a@x.test", "b@x.test", "c@x.test"))
        assert [told(outcome) for outcome in result.outcomes] == ["delivered 250 2.0.0"] * 3
        connection.quit()


async def test_delivered_stays_delivered_when_the_server_says_too_much() -> None:
    """An answer more than asked for ends the connection, not the success before it."""

    async def chatty(peer: Peer) -> None:
        await peer.hello()
        for answer in ("250 ok", "250 ok", "354 go on"):
            await peer.line()
            peer.say(answer)
        await peer.content()
        peer.say("250 2.0.0 thank you", "250 2.0.0 thank you again")
        await peer.hang_up()

    async with Scripted(chatty) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == "delivered 250 2.0.0"
        assert (result.reusable, result.connection_lost) == (False, True)
        await closed(connection)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param("354 go on\r\n250 2.0.0 thank you\r\n", id="thanks before the content"),
        pytest.param("354 go on\r\n25", id="half of it"),
        pytest.param("354 go on\r\n\r\n", id="nonsense"),
    ],
)
async def test_answer_that_came_before_its_question(answers: str) -> None:
    """A server cannot have taken what had not been sent when it answered: the mail is kept."""

    async def early(peer: Peer) -> None:
        await peer.hello("PIPELINING")
        await peer.expect("MAIL FROM:<app@shop.test>", "RCPT TO:<ann@x.test>", "DATA")
        peer.write(b"250 ok\r\n250 ok\r\n" + answers.encode())
        assert await peer.hang_up() == b""

    async with Scripted(early) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == "deferred protocol 451 4.5.0"
        assert result.connection_lost


async def test_421_behind_another_answer() -> None:
    """A server may close at any moment, also together with its answer to something."""

    async def closing(peer: Peer) -> None:
        await peer.hello()
        await peer.line()
        peer.say("250 ok", "421 4.3.2 shutting down")
        assert await peer.hang_up() == b""

    async with Scripted(closing) as scripted:
        connection = await connection_to(scripted.port)
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == "deferred throttled 421 4.3.2"
        assert not result.connection_lost, "it asked to slow down, it did not break"


# Unasked, and between transactions


@pytest.mark.parametrize(
    "unasked",
    [b"421 4.4.2 idle too long\r\n", b"250 ok\r\n", b"4", b"\r\n"],
    ids=["421", "250", "a byte", "an empty line"],
)
async def test_unasked_word_ends_an_idle_connection(unasked: bytes) -> None:
    """A connection on which something arrives that was not asked for is not used again."""
    speak = asyncio.Event()

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        await speak.wait()
        peer.write(unasked)
        await peer.hang_up()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        assert (await send(connection, transaction())).reusable
        speak.set()
        await closed(connection)
        assert not connection.idle


async def test_server_that_leaves_an_idle_connection_is_noticed() -> None:
    """A connection that the server closes is not offered mail."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        peer.close()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        await send(connection, transaction())
        await closed(connection)
        assert not connection.idle


@pytest.mark.parametrize("says", [(), ("421 4.4.2 idle too long",)], ids=["just closed", "421"])
async def test_stale_connection_is_no_reason_to_wait(says: tuple[str, ...]) -> None:
    """Mail that meets the end of a connection that had idled is sent again at once, over another."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        await peer.line()  # the next MAIL was under way already
        peer.say(*says)
        peer.close()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        await send(connection, transaction())
        result = await send(connection, transaction("ann@x.test", "bob@x.test"))
        assert result.again == (0, 1)
        assert not result.reusable


async def test_first_mail_of_a_connection_is_not_sent_again_at_once() -> None:
    """A server that hangs up on every connection is not called in a circle."""
    async with Scripted(until_command(0, closes)) as scripted:
        connection = await connection_to(scripted.port)
        assert (await send(connection, transaction())).again == ()


async def test_connection_that_breaks_after_an_answer_was_not_stale() -> None:
    """Once the server has answered to this mail, a lost connection is its trouble, and the mail waits."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        await peer.line()
        peer.say("250 ok")
        await peer.line()
        peer.close()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        await send(connection, transaction())
        result = await send(connection, transaction())
        assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
        assert result.again == ()


async def test_send_on_a_closed_connection() -> None:
    """Mail handed to a connection that closed meanwhile goes to another at once."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        peer.close()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        await closed(connection)
        result = await send(connection, transaction("ann@x.test", "bob@x.test"))
        assert [told(outcome) for outcome in result.outcomes] == ["deferred connect 451 4.4.2"] * 2
        assert result == Result(result.outcomes, reusable=False, connection_lost=True, again=(0, 1))


async def test_quit_waits_for_no_answer_for_long() -> None:
    """A server that does not answer QUIT is left all the same."""

    async def deaf(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("QUIT")
        assert await peer.hang_up() == b""

    async with Scripted(deaf) as scripted:
        connection = await connection_to(scripted.port, timeouts=IMPATIENT)
        connection.quit()
        connection.quit()  # once said is enough


async def test_quit_cuts_a_transaction_short() -> None:
    """A relay that must stop defers what is under way; the server never gets half a mail as a whole."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.line()
        assert await peer.hang_up() == b""

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        results: list[Result] = []
        connection.send(transaction(), results.append)
        await asyncio.sleep(0)
        connection.quit()
        await closed(connection)
        async with asyncio.timeout(5):
            while not results:
                await asyncio.sleep(0.005)
        assert told(results[0].outcomes[0]) == "deferred connect 451 4.4.2"


# Who hears what, how often


def heard_by(connection: Connection) -> list[str]:
    """The calls to ``done`` and ``on_closed`` in their order."""
    calls: list[str] = []
    connection.on_closed = lambda _: calls.append("closed")
    return calls


@pytest.mark.parametrize("count", [0, 3], ids=["at MAIL", "at the end of data"])
@pytest.mark.parametrize("then", [drops, closes, garbage], ids=["drops", "closes", "garbage"])
async def test_done_is_heard_before_closed_and_each_once(count: int, then: Script) -> None:
    """Whoever keeps count of connections can rely on one word each, in order."""
    async with Scripted(until_command(count, then)) as scripted:
        connection = await connection_to(scripted.port)
        calls = heard_by(connection)
        over = asyncio.Event()

        def done(_: Result) -> None:
            calls.append("done")
            over.set()

        connection.send(transaction(), done)
        async with asyncio.timeout(5):
            await over.wait()
            while "closed" not in calls:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert calls == ["done", "closed"]


async def test_closed_is_heard_when_lost_before_an_unsent_failure() -> None:
    """A connection lost while a message that cannot be sent is being failed is reported as closed too."""

    async def server(peer: Peer) -> None:
        await peer.hello("SIZE 10")
        await peer.silence()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port)
        calls = heard_by(connection)
        connection._transport.abort()  # as by the event loop: the connection hears of it on the next turn
        connection.send(transaction(), lambda _: calls.append("done"))
        async with asyncio.timeout(5):
            while "closed" not in calls:
                await asyncio.sleep(0.005)
        assert calls == ["done", "closed"]


async def test_no_timer_outlives_its_connection() -> None:
    """A closed connection is forgotten: nothing in the event loop keeps it."""

    async def server(peer: Peer) -> None:
        await peer.hello()
        await peer.take()
        await peer.goodbye()

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port, timeouts=IMPATIENT)
        await send(connection, transaction())
        connection.quit()
        await asyncio.sleep(2 * SHORT_S)
        del connection
        gc.collect()
        assert not [o for o in gc.get_objects() if isinstance(o, Connection)]
