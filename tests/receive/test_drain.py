"""Taking no more, and ending: what a client meets when a relay is cordoned or stops."""

import asyncio
from collections.abc import Callable

import pytest
from tests.receive.reception import Client, Reception, eventually, listener
from tests.support.certificates import Certificate

GOODBYE = b"421 4.3.2 Service is shutting down, try again later\r\n"
GRACE_S = 60.0


def stop(reception: Reception) -> "asyncio.Task[None]":
    return asyncio.ensure_future(reception.receiver.stop(GRACE_S))


async def ended(stopping: "asyncio.Task[None]") -> None:
    await asyncio.wait_for(stopping, 5)


async def refused(reception: Reception) -> bool:
    """Nobody listens any more."""
    try:
        await Client.connect(reception.port)
    except ConnectionRefusedError:
        return True
    return False


# Cordon


async def test_a_cordoned_relay_takes_no_new_sessions(reception: Reception) -> None:
    """Those inside go on; after the cordon is lifted everybody may come again."""
    inside = await reception.greeted()
    reception.receiver.cordon()
    late = await reception.connect()
    assert await late.rest() == GOODBYE
    assert reception.log.of("session.refused") == [
        {"listener": "smtp", "client": "127.0.0.1", "reason": "draining"}
    ]
    assert reception.count("sessions_refused_total", reason="draining") == 1
    assert (await inside.send()).startswith("250")
    reception.receiver.uncordon()
    assert (await (await reception.greeted()).send()).startswith("250")


# Stop


async def test_without_sessions_it_stops_at_once(reception: Reception) -> None:
    """And its port is free."""
    await ended(stop(reception))
    assert await refused(reception)
    assert [line["port"] for line in reception.log.of("listener.closed")] == [reception.port]


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param((), id="before EHLO"),
        pytest.param(("EHLO client.test",), id="between messages"),
        pytest.param(("EHLO client.test", "MAIL FROM:<a@shop.test>"), id="after MAIL"),
        pytest.param(
            ("EHLO client.test", "MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>"), id="after RCPT"
        ),
    ],
)
async def test_a_session_without_a_message_under_way_hears_421_at_once(
    reception: Reception, commands: tuple[str, ...]
) -> None:
    """It costs the client nothing: nothing was promised yet."""
    client = await reception.connect()
    await client.reply()
    await client.script(*commands)
    stopping = stop(reception)
    assert await client.rest() == GOODBYE
    await ended(stopping)


async def test_an_open_message_is_finished(reception: Reception) -> None:
    """A client in the middle of its data gets its 250, then the 421."""
    client = await reception.greeted()
    await client.begin()
    client.write(b"half of a ")
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    reception.clock.advance(GRACE_S - 1)
    client.write(b"message\r\n.\r\n")
    said = (await client.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.3.2"]
    await ended(stopping)
    assert len(reception.accepted) == 1


async def test_the_next_message_of_the_same_packet_is_not_begun(reception: Reception) -> None:
    """What was pipelined behind the message under way is answered by the goodbye."""
    client = await reception.greeted()
    await client.begin()
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    client.write(b"x\r\n.\r\nMAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\nDATA\r\ny\r\n.\r\n")
    said = (await client.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.3.2"]
    await ended(stopping)
    assert len(reception.accepted) == 1


async def test_chunks_are_finished(reception: Reception) -> None:
    """Between two chunks a message is under way as well."""
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write(b"BDAT 1\r\nx")
    assert (await client.reply()).startswith("250")
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    client.write(b"BDAT 1\r\ny")
    assert (await client.reply()).startswith("250")
    client.write(b"BDAT 2 LAST\r\n\r\n")
    said = (await client.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.3.2"]
    await ended(stopping)


async def test_chunks_that_are_given_up_end_the_session(reception: Reception) -> None:
    """RSET between chunks: nothing is under way any more."""
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write(b"BDAT 1\r\nx")
    await client.reply()
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    client.write(b"RSET\r\n")
    assert await client.rest() == b"250 2.0.0 Ok\r\n" + GOODBYE
    await ended(stopping)


async def test_a_message_at_the_disk_gets_its_reply(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is hung up on between a message's end and its 250."""
    held: list[tuple[object, ...]] = []
    accept = reception.spool.accept
    monkeypatch.setattr(reception.spool, "accept", lambda *call: held.append(call))
    client = await reception.greeted()
    await client.begin()
    client.write(b"x\r\n.\r\n")
    await eventually(lambda: held, "the message to reach the spool")
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    accept(*held[0])  # type: ignore[arg-type] # what it was called with
    said = (await client.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.3.2"]
    await ended(stopping)


async def test_the_grace_ends(reception: Reception) -> None:
    """A client that does not come to an end is cut off, and nothing of its message stays."""
    client = await reception.greeted()
    await client.begin()
    client.write((b"x" * 98 + b"\r\n") * 20_000)
    await eventually(reception.files, "its file")
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    reception.clock.advance(GRACE_S - 1)
    await asyncio.sleep(0.05)
    assert not stopping.done()
    reception.clock.advance(1)
    await ended(stopping)
    assert await client.rest() == b""
    await eventually(lambda: not reception.files(), "its file to go")
    assert reception.accepted == []


async def test_newcomers_hear_421_while_others_finish(reception: Reception) -> None:
    """The port stays open, so that a client is told rather than refused."""
    client = await reception.greeted()
    await client.begin()
    stopping = stop(reception)
    await eventually(lambda: _farewell(reception), "the session to know")
    assert await (await reception.connect()).rest() == GOODBYE
    client.write(b"x\r\n.\r\n")
    await client.rest()
    await ended(stopping)
    assert await refused(reception)


async def test_handshakes_do_not_hold_it_up(
    new_reception: Callable[..., Reception], certificate: Certificate
) -> None:
    """A connection that has not come to TLS yet is dropped."""
    reception = new_reception()
    reception.certificate("relay", certificate)
    await reception.start(listener(reception.port, tls="Implicit", certificate="relay"))
    client = await reception.connect()
    await eventually(lambda: reception.sessions == 1, "its place")
    await ended(stop(reception))
    assert await client.rest() == b""


async def test_a_starttls_under_way_does_not_hold_it_up(
    new_reception: Callable[..., Reception], certificate: Certificate
) -> None:
    """Nor one that stands before its handshake."""
    reception = new_reception()
    reception.certificate("relay", certificate)
    await reception.start(listener(reception.port, tls="Opportunistic", certificate="relay"))
    client = await reception.greeted()
    assert (await client.say("STARTTLS")).startswith("220")
    stopping = stop(reception)
    await asyncio.sleep(0.05)
    reception.clock.advance(GRACE_S)
    await ended(stopping)
    assert await client.rest() == b""


def _farewell(reception: Reception) -> bool:
    doors = reception.receiver._doors.values()
    return any(session._farewell is not None for door in doors for session in door.sessions)
