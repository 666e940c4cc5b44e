"""Many clients that do anything in any order, and vanish when they like: everything adds up afterwards."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest
from tests.receive.reception import Client, Reception, eventually, limits, listener

from waystation_relay.spool.values import Tuning

LINE = b"x" * 62 + b"\r\n"
WORDS = [
    b"EHLO client.test\r\n", b"RSET\r\n", b"NOOP\r\n", b"FROB\r\n", b"MAIL FROM:<a@shop.test>\r\n",
    b"MAIL FROM:<a@shop.test> SIZE=99999999\r\n", b"RCPT TO:<b@next.test>\r\n", b"RCPT TO:<b>\r\n",
    b"BDAT 3\r\na\r\n", b"BDAT 64\r\n" + LINE, b"BDAT 5000 LAST\r\n" + b"y" * 4998 + b"\r\n", b"STARTTLS\r\n",
    b"DATA\r\n" + LINE * 3 + b".\r\n", b"DATA\r\na\nb\r\n.\r\n", b"x" * 3000 + b"\r\n", b"\0\r\n",
]  # fmt: skip
MESSAGE = b"MAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\nDATA\r\n%s.\r\n"


async def converse(reception: Reception, dice: random.Random) -> int:
    """One session; how many messages it was told are kept."""
    client = await reception.connect()
    heard = bytearray()

    async def listen() -> None:
        with contextlib.suppress(OSError):
            while data := await client.reader.read(65536):
                heard.extend(data)

    listening = asyncio.ensure_future(listen())
    await eventually(lambda: heard or listening.done(), "a greeting")
    with contextlib.suppress(OSError):
        client.write(b"EHLO client.test\r\n")
        await eventually(lambda: heard.count(b"\n") > 3 or listening.done(), "a reply")
        for _ in range(dice.randrange(12)):
            if dice.random() < 0.4:
                stream = MESSAGE % (LINE * dice.choice((1, 10, 1000)))
            else:
                stream = dice.choice(WORDS)
            for at in range(0, len(stream), size := dice.choice((7, 100, 100_000))):
                client.write(stream[at : at + size])
                if dice.random() < 0.02:
                    await asyncio.sleep(0)
            await client.flush()
        match dice.randrange(4):
            case 0:
                client.write(b"\r\n.\r\nQUIT\r\n")
                client.writer.write_eof()
            case 1:
                client.close()
            case 2:
                client.reset()
            case _:
                client.write(b"DATA\r\nhalf of a mess")
                await client.flush()
                client.close()
    async with asyncio.timeout(10):
        await listening
    return heard.count(b"queued as")


@pytest.mark.parametrize("seed", [5321, 1870, 3030])
async def test_everything_adds_up(new_reception: Callable[..., Reception], seed: int) -> None:
    """Every 250 has its message, every message its line, and no session, place or file is left over."""
    reception = new_reception(tuning=Tuning(memory_bytes=20_000, stream_chunk_bytes=2_000, inline_bytes=1000))
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=100_000)))
    dice = random.Random(seed)
    told = 0
    for _ in range(4):
        told += sum(
            await asyncio.gather(
                *(converse(reception, random.Random(dice.random())) for _ in range(25)),
            )
        )
        await reception.empty()
    kept = len(reception.accepted)
    assert 0 < told <= kept
    assert len(reception.log.of("message.accepted")) == kept == reception.count("messages_accepted_total")
    assert reception.spool.stats().messages == kept
    assert reception.count("sessions_total") == 100
    (door,) = reception.receiver._doors.values()
    assert (door.places, door.sessions, door._by_client) == (0, set(), {})
    live = {message.place.segment for message in reception.accepted if message.place}
    await eventually(lambda: len(reception.files()) <= len(live), "files that nothing refers to, to go")
    for message in reception.accepted:
        content = await reception.content(message)
        assert content.endswith(b"\r\n")
        assert b"MAIL FROM" not in content


async def test_rubbish_is_survived(reception: Reception) -> None:
    """Bytes of no meaning, from forty clients: each is answered or hung up on, and the next is served."""
    dice = random.Random(2821)

    async def rubbish() -> None:
        client = await Client.connect(reception.port)
        with contextlib.suppress(OSError):
            for _ in range(5):
                client.write(dice.randbytes(dice.randrange(3000)))
                await client.flush()
        client.close()

    await asyncio.gather(*(rubbish() for _ in range(40)))
    await reception.empty()
    assert reception.accepted == []
    assert (await (await reception.greeted()).send()).startswith("250")
