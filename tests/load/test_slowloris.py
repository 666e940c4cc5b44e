"""Clients that send a byte now and then, to keep others out: they are cut off, and the others come in."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import uvloop
from tests.receive.reception import Client, Reception, eventually, limits, listener

from waystation_relay.receive.deadlines import Deadlines
from waystation_relay.receive.session import Session

PLACES = 200
DEADLINES = Deadlines()
BEFORE_CONTENT = [b"MAIL FROM:<a@shop.test>\r\n", b"RCPT TO:<b@next.test>\r\n", b"DATA\r\n"]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def reception(tmp_path: Path) -> AsyncIterator[Reception]:
    made = Reception(tmp_path)
    allowed = limits(max_sessions=PLACES, max_sessions_per_client=PLACES)
    await made.start(listener(made.port, limits=allowed))
    yield made
    await made.close()


def sweep(reception: Reception) -> None:
    for door in reception.receiver._doors.values():
        door.sweep()


async def besieged(reception: Reception, *commands: bytes) -> list[Client]:
    """Every place is taken by a client that got this far."""

    async def enter() -> Client:
        client = await reception.greeted()
        for command in commands:
            client.write(command)
            assert (await client.reply())[:1] in "23"
        return client

    found: list[Client] = []
    for _ in range(PLACES // 50):
        found += await asyncio.gather(*(enter() for _ in range(50)))
    late = await reception.connect()
    assert (await late.reply()).startswith("421 4.3.2 Too many connections")
    return found


@pytest.mark.parametrize(
    ("commands", "drop", "within_s"),
    [
        pytest.param((), b"N", DEADLINES.command_s, id="a letter of a command"),
        pytest.param(BEFORE_CONTENT[:2], b"D", DEADLINES.command_s, id="in the envelope"),
        pytest.param(BEFORE_CONTENT, b"x", DEADLINES.patience_s, id="a letter of content"),
        pytest.param(BEFORE_CONTENT, b"\r\n", DEADLINES.patience_s, id="a line of content"),
    ],
)
async def test_drip_by_drip_ends(
    reception: Reception, commands: list[bytes], drop: bytes, within_s: float
) -> None:
    """200 clients hold every place, with a drop a minute each; when their time is over others are served."""
    crowd = await besieged(reception, *commands)
    (door,) = reception.receiver._doors.values()
    for _ in range(int(within_s // 60)):
        reception.clock.advance(59)
        for client in crowd:
            client.write(drop)
        await eventually(lambda: not any(c.writer.transport.get_write_buffer_size() for c in crowd), "drops")
        await asyncio.sleep(0.01)
        sweep(reception)
        assert door.places == PLACES
    reception.clock.advance(60)
    sweep(reception)
    await reception.empty()
    assert all([(await client.rest()).startswith(b"421 4.4.2 ") for client in crowd])
    assert (await (await reception.greeted()).send()).startswith("250")
    assert len(reception.accepted) == 1


async def test_bytes_fast_enough_are_no_attack(reception: Reception) -> None:
    """A client on a slow line that brings more than 256 bytes a second is heard to the end."""
    client = await reception.greeted()
    await client.begin()
    line = b"0123456789abcde\r\n"
    (door,) = reception.receiver._doors.values()
    (session,) = door.sessions
    sent = 0
    for _ in range(20):
        client.write(line * 1200)
        sent += len(line) * 1200
        heard = partial(came, session, sent - 4)  # four bytes may be the beginning of the end
        await eventually(heard, "the bytes")
        reception.clock.advance(60)
        sweep(reception)
    client.write(b".\r\n")
    assert (await client.reply()).startswith("250 2.0.0")


def came(session: Session, size_bytes: int) -> bool:
    return session._conversation.content_bytes >= size_bytes
