"""The queue that benchmarks make on disk is one that a relay would have left."""

import asyncio
from pathlib import Path

from bench.fill import Plan, content_of, fill

from waystation_relay.aio.clock import SystemClock
from waystation_relay.mail.message import Message
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Cursor, SpoolLimits


def test_every_message_is_deferred_and_due_in_the_interval(tmp_path: Path) -> None:
    """None is due before its time, all by its end, and each says why it waits."""
    fill(tmp_path, Plan(1500, 600, due_in_s=(100.0, 200.0)))

    async def look() -> tuple[int, list[Message], list[Message]]:
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        spool = Spool.open(tmp_path, clock=clock, limits=SpoolLimits(), loop=loop)
        spool.start()

        async def due(at: float) -> list[Message]:
            answer: asyncio.Future[list[Message]] = loop.create_future()
            spool.load_due(Cursor(), at, 2000, lambda messages, _: answer.set_result(messages))
            return await answer

        try:
            now = clock.now()
            return spool.stats().messages, await due(now + 50), await due(now + 201)
        finally:
            await spool.close()

    count, early, late = asyncio.run(look())
    assert (count, len(early), len(late)) == (1500, 0, 1500)
    assert {message.size_bytes for message in late} == {600}
    assert {(p.attempts, p.last_reply.code if p.last_reply else 0) for m in late for p in m.pending} == {
        (3, 451)
    }


def test_content_has_the_size_asked_for() -> None:
    """Lines end in CR LF to the last."""
    content = content_of(4096)
    assert len(content) == 4096
    assert content.endswith(b"\r\n")
    assert content.count(b"\n") == content.count(b"\r\n")
