"""A spool driven from a test: each call's callback awaited, with a deadline.

``TINY`` shrinks every size so that a few small messages fill segments, stream
to files and are compacted; ``ROOMY`` limits never refuse.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waystation_relay.aio.clock import Clock, ManualClock
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Message
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import (
    Cursor,
    NewMessage,
    ReadFailure,
    Settlement,
    SpoolFailure,
    SpoolLimits,
    Tuning,
)

TINY = Tuning(
    inline_bytes=100,
    memory_bytes=2_000,
    warm_bytes=500,
    segment_bytes=4_000,
    compact_step_bytes=1_000,
    stream_chunk_bytes=300,
    stream_sync_bytes=1_000,
    batch_operations=50,
    batch_bytes=10_000,
    gather_s=0.0,
    patient_s=0.0,
    checkpoint_pages=20,
    probe_interval_s=0.01,
)
ROOMY = SpoolLimits(max_bytes=2**30, full_at_percent=100)
Answer = asyncio.Future[SpoolFailure | None]
WITHIN_S = 10.0
ORIGIN = Origin("smtp", "ESMTP", "192.0.2.1", "client.test", "ann")


def envelope(*recipients: str, sender: str = "ann@shop.test", **fields: Any) -> Envelope:
    people = recipients or ("bob@next.test",)
    return Envelope(sender, tuple([Recipient(address) for address in people]), **fields)


def text(size_bytes: int, seed: int = 0) -> bytes:
    """Content of exactly this size, different for each seed."""
    line = f"{seed:08d} the quick brown fox\r\n".encode()
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


class SpoolUser:
    """What a session and the dispatcher do, in one place. Remembers what it was told, in order."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock | None = None,
        tuning: Tuning = TINY,
        limits: SpoolLimits = ROOMY,
    ) -> None:
        self.clock = clock or ManualClock()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.told: list[tuple[str, object]] = []  # ("accepted", message) and ("done", queue id)
        self.broken: list[SpoolFailure] = []
        self.spool = Spool.open(
            directory,
            clock=self.clock,
            limits=limits,
            loop=asyncio.get_running_loop(),
            report=lambda name, fields: self.events.append((name, fields)),
            tuning=tuning,
        )
        self.spool.on_accepted = self._accepted
        self.spool.on_broken = self.broken.append
        self.spool.start()

    def _accepted(self, messages: Sequence[Message]) -> None:
        self.told += [("accepted", message) for message in messages]

    async def close(self) -> None:
        await asyncio.wait_for(self.spool.close(), WITHIN_S)

    def named(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.events if name == event]

    # Intake

    async def take(
        self, content: bytes, *recipients: str, hold: str = "", sender: str = "ann@shop.test", chunk: int = 0
    ) -> Draft:
        """Accept content, whole or in chunks, waiting when asked to; fails unless it was committed."""
        draft = await self.draft(content, chunk)
        failure = await self.accept(draft, envelope(*recipients, sender=sender), hold=hold)
        assert failure is None, failure
        return draft

    async def draft(self, content: bytes, chunk: int = 0) -> Draft:
        draft = self.spool.draft()
        step = chunk or len(content) or 1
        for start in range(0, len(content), step):
            await self.append(draft, content[start : start + step])
        return draft

    async def append(self, draft: Draft, data: bytes) -> None:
        drained = asyncio.Event()
        draft.on_drain = drained.set
        if not draft.append(data):
            await asyncio.wait_for(drained.wait(), WITHIN_S)

    async def accept(self, draft: Draft, to: Envelope, *, hold: str = "") -> SpoolFailure | None:
        answer = self.accepting(draft, to, hold=hold)
        return await asyncio.wait_for(answer, WITHIN_S)

    def accepting(
        self, draft: Draft, to: Envelope, *, hold: str = ""
    ) -> "asyncio.Future[SpoolFailure | None]":
        answer: Answer = asyncio.get_running_loop().create_future()

        def done(failure: SpoolFailure | None) -> None:
            self.told.append(("done", draft.queue_id))
            answer.set_result(failure)

        self.spool.accept(draft, to, ORIGIN, done, hold=hold)
        return answer

    # Outcomes

    def settling(self, change: Settlement) -> Answer:
        answer: Answer = asyncio.get_running_loop().create_future()
        self.spool.settle(change, answer.set_result)
        return answer

    async def settle(self, message_id: int, **fields: Any) -> SpoolFailure | None:
        return await asyncio.wait_for(self.settling(Settlement(message_id, **fields)), WITHIN_S)

    async def remove(self, message: Message | Draft, *numbers: int) -> None:
        assert await self.settle(message.id, removed=numbers or (0,)) is None

    # Looking

    async def due(self, now: float = 1e12, page: int = 100, after: Cursor | None = None) -> list[Message]:
        """All pages."""
        found: list[Message] = []
        cursor = after or Cursor()
        while True:
            messages, at = await self.load(cursor, now, page)
            if at == cursor:
                return found
            found += messages
            cursor = at

    async def load(self, after: Cursor, now: float, limit: int) -> tuple[list[Message], Cursor]:
        answer: asyncio.Future[tuple[list[Message], Cursor]] = asyncio.get_running_loop().create_future()
        self.spool.load_due(after, now, limit, lambda messages, cursor: answer.set_result((messages, cursor)))
        return await asyncio.wait_for(answer, WITHIN_S)

    async def next_due(self, after: float) -> float | None:
        answer: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self.spool.next_due(after, answer.set_result)
        return await asyncio.wait_for(answer, WITHIN_S)

    async def read(self, message: Message) -> bytes | BodyFile | ReadFailure:
        answer: asyncio.Future[bytes | BodyFile | ReadFailure] = asyncio.get_running_loop().create_future()
        self.spool.read(message, answer.set_result)
        return await asyncio.wait_for(answer, WITHIN_S)

    async def content(self, message: Message) -> bytes:
        """The whole body, wherever it is; AssertionError when it cannot be read."""
        found = await self.read(message)
        assert not isinstance(found, ReadFailure), found
        if isinstance(found, bytes):
            return found
        try:
            pieces = [found.read(at, 700) for at in range(0, found.size_bytes, 700)]
            assert found.read(found.size_bytes, 1) == b""
            return b"".join(pieces)
        finally:
            found.close()

    async def get(self, message: Message | Draft) -> Message:
        found = await self.spool.get(message.queue_id)
        assert found is not None, f"{message.queue_id} is not in the queue"
        return found


def report(content: bytes, *recipients: str, hold: str = "") -> NewMessage:
    """A message of our own making."""
    return NewMessage(envelope(*recipients, sender=""), Origin(), content, hold)
