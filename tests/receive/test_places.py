"""Who is let in, how many at once, and that every way of leaving leaves a place behind."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
from tests.receive.reception import Client, Reception, eventually, limits, listener
from tests.support.certificates import Certificate
from tests.support.tables import table

from waystation_relay.receive.deadlines import Deadlines
from waystation_relay.wire import replies


async def greeting(client: Client) -> str:
    return await client.reply()


async def test_sessions_in_all_are_limited(new_reception: Callable[..., Reception]) -> None:
    """The first that is too many hears 421 and is hung up on; when one leaves there is a place again."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_sessions=3)))
    inside = [await reception.greeted() for _ in range(3)]
    late = await reception.connect()
    assert await late.rest() == b"421 4.3.2 Too many connections, try again later\r\n"
    assert reception.log.of("session.refused") == [
        {"listener": "smtp", "client": "127.0.0.1", "reason": "too-many"}
    ]
    assert reception.count("sessions_refused_total", reason="too-many") == 1
    await inside[0].say("QUIT")
    await eventually(lambda: reception.sessions == 2, "the one that said QUIT to be gone")
    assert (await greeting(await reception.connect())).startswith("220")
    assert reception.count("sessions_total") == 4


async def test_sessions_of_one_client_are_limited(new_reception: Callable[..., Reception]) -> None:
    """One address cannot take all the places."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_sessions=10, max_sessions_per_client=2)))
    for _ in range(2):
        await reception.greeted()
    late = await reception.connect()
    assert await late.rest() == b"421 4.7.0 Too many connections from your address, try again later\r\n"
    assert reception.count("sessions_refused_total", reason="too-many-of-client") == 1
    for _ in range(2):
        await reception.greeted(local_addr=("127.0.0.2", 0))
    late = await reception.connect(local_addr=("127.0.0.2", 0))
    assert (await late.rest()).startswith(b"421 4.7.0")


async def test_sessions_and_their_limit_are_shown(new_reception: Callable[..., Reception]) -> None:
    """By listener, for metrics and drains."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_sessions=7)))
    assert reception.receiver.sessions == {("smtp",): 0.0}
    await reception.greeted()
    assert reception.receiver.sessions == {("smtp",): 1.0}
    assert reception.receiver.session_limits == {("smtp",): 7.0}


LEAVING: dict[str, Callable[[Client], Awaitable[object]]] = {}


def leaving(name: str) -> Callable[[Callable[[Client], Awaitable[object]]], object]:
    def add(leave: Callable[[Client], Awaitable[object]]) -> object:
        LEAVING[name] = leave
        return leave

    return add


@leaving("says QUIT")
async def _(client: Client) -> None:
    await client.say("EHLO client.test")
    await client.say("QUIT")


@leaving("closes without a word")
async def _(client: Client) -> None:
    client.close()


@leaving("resets")
async def _(client: Client) -> None:
    client.reset()


@leaving("closes its side only")
async def _(client: Client) -> None:
    client.writer.write_eof()


@leaving("speaks HTTP")
async def _(client: Client) -> None:
    assert (await client.say("GET / HTTP/1.0")).startswith("421")


@leaving("ends a line in LF")
async def _(client: Client) -> None:
    client.write(b"EHLO client.test\n")
    assert (await client.rest()).startswith(b"500 5.5.2")


@leaving("talks behind its EHLO")
async def _(client: Client) -> None:
    client.write(b"EHLO client.test\r\nNOOP\r\n")
    assert (await client.rest()).startswith(b"554 5.5.1")


@leaving("makes twenty mistakes")
async def _(client: Client) -> None:
    client.write(b"FROB\r\n" * 20)
    assert (await client.rest()).endswith(b"421 4.7.0 Too many errors, closing connection\r\n")


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_every_way_of_leaving_frees_the_place(
    new_reception: Callable[..., Reception], leave: Callable[[Client], Awaitable[object]]
) -> None:
    """Ten in a row through a listener with a single place."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_sessions=1, max_sessions_per_client=1)))
    for _ in range(10):
        client = await reception.connect()
        assert (await greeting(client)).startswith("220")
        await leave(client)
        await reception.empty()
    assert reception.receiver._doors.popitem()[1]._by_client == {}


async def test_those_turned_away_free_their_place_too(new_reception: Callable[..., Reception]) -> None:
    """Refused connections do not add up."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_sessions=1)))
    inside = await reception.greeted()
    for _ in range(20):
        assert (await (await reception.connect()).rest()).startswith(b"421")
    await eventually(lambda: reception.sessions == 1, "the refused to be gone")
    assert await inside.say("NOOP") == "250 2.0.0 Ok"


# Talking before the greeting


async def test_a_client_that_talks_first_is_hung_up_on(reception: Reception) -> None:
    """Nothing may come before the greeting (RFC 5321 §4.3.1): programs that blindly stream spam do."""
    with socket.create_connection(("127.0.0.1", reception.port)) as client:
        client.sendall(b"EHLO spam.test\r\nMAIL FROM:<a@spam.test>\r\n")
        client.setblocking(False)
        said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1000), 5)
        assert said == b"554 5.5.1 Protocol error: client talks before it may\r\n"
    assert reception.log.of("session.refused") == [
        {"listener": "smtp", "client": "127.0.0.1", "reason": "early-talker"}
    ]
    assert reception.count("sessions_refused_total", reason="early-talker") == 1
    assert reception.count("sessions_total") == 0
    await reception.empty()


async def test_a_probe_that_connects_and_closes_is_no_early_talker(reception: Reception) -> None:
    """Health checks open a connection and close it: nobody is refused, nothing is logged."""
    for _ in range(5):
        socket.create_connection(("127.0.0.1", reception.port)).close()
    await eventually(lambda: reception.count("sessions_total") == 5, "five sessions")
    await reception.empty()
    assert reception.log.of("session.refused") == []


# TLS from the first byte


@pytest.fixture
async def implicit(new_reception: Callable[..., Reception], certificate: Certificate) -> Reception:
    reception = new_reception(deadlines=Deadlines(handshake_s=0.3))
    reception.certificate("relay", certificate)
    return await reception.start(
        listener(
            reception.port,
            tls="Implicit",
            certificate="relay",
            limits=limits(max_sessions=3, max_sessions_per_client=2),
        )
    )


async def test_a_handshake_has_a_place(implicit: Reception, trusting: ssl.SSLContext) -> None:
    """Connections that never come to their handshake count, and are hung up on in time."""
    idle = [await implicit.connect() for _ in range(2)]
    await eventually(lambda: implicit.sessions == 2, "two places taken")
    late = await implicit.connect()
    assert await late.rest() == b""
    assert implicit.count("sessions_refused_total", reason="too-many-of-client") == 1
    for client in idle:
        assert await client.rest() == b""
    await implicit.empty()
    assert [line["client"] for line in implicit.log.of("session.failed")] == ["127.0.0.1"] * 2
    client = await implicit.greeted(tls=trusting, server_hostname="relay.test")
    assert implicit.sessions == 1
    await client.say("QUIT")
    await implicit.empty()


@pytest.mark.parametrize("data", [b"EHLO client.test\r\n", b"\x16\x03\x01", b"\0" * 100], ids=repr)
async def test_a_handshake_that_fails_is_logged_and_frees_its_place(implicit: Reception, data: bytes) -> None:
    """Plain SMTP and rubbish on a TLS port: one line each, and nobody left inside."""
    for _ in range(2):
        client = await implicit.connect()
        client.write(data)
        await client.rest()
        await implicit.empty()
    assert len(implicit.log.of("session.failed")) == 2
    assert all(line["error"] for line in implicit.log.of("session.failed"))
    assert implicit.count("sessions_total") == 0


@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["closes", "resets"])
async def test_a_client_that_vanishes_in_its_handshake(
    implicit: Reception, leave: Callable[[Client], None]
) -> None:
    """Its place is free at once."""
    for _ in range(4):
        client = await implicit.connect()
        client.write(b"\x16\x03\x01\x02\x00\x01")
        await client.flush()
        leave(client)
        await implicit.empty()


def test_the_documented_reasons_are_those_counted() -> None:
    """docs/receiving.md names each reason a connection is turned away for, with its reply."""
    rows = table("receiving.md", "reply", "counted as", "when")
    said = {
        "draining": replies.SHUTTING_DOWN,
        "too-many": replies.TOO_MANY_SESSIONS,
        "too-many-of-client": replies.TOO_MANY_OF_CLIENT,
        "early-talker": replies.TOO_EARLY,
    }
    assert {row["counted as"]: row["reply"] for row in rows} == {
        reason: reply[:9].decode() for reason, reply in said.items()
    }
