"""Relays that leave and stay, in the test's own process: admin ports over real spools."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from tests.support.office import Office

from waystation_relay.admin.access import Access
from waystation_relay.handoff.claims import Claims
from waystation_relay.handoff.courier import Courier, Limits
from waystation_relay.handoff.handover import Handover
from waystation_relay.handoff.peers import Peers
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.spool.values import Query, Settlement, SpoolFailure

SOON = Limits(connect_s=1.0, stall_s=0.4, answer_s=0.4)
WITHIN_S = 10.0


class House(Office):
    """An admin port whose relay can be told to leave. ``give`` begins, the queue moves while a test waits."""

    limits = SOON

    async def open(self) -> None:
        await super().open()
        self.handover = Handover(
            spool=self.spool,
            claims=Claims(self.spool, self.dispatcher),
            courier=Courier(Access(self.token_file).token, self.limits),
            peers=Peers(self.spool.tag),
            clock=self.dispatcher._clock,
            metrics=self.metrics,
            log=self.log,
            pause_s=0.005,
        )
        self.work = asyncio.create_task(self.handover.run())

    async def close(self) -> None:
        self.work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.work
        await super().close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def give(self, *urls: str) -> None:
        self.handover.reset()
        self.handover.begin(urls)

    async def later(self, address: str) -> str:
        """Queues a message that was attempted once and is due in an hour."""
        queue_id = await self.put(address)
        message = await self.spool.get(queue_id)
        assert message is not None
        update = msgspec.structs.replace(
            message.pending[0],
            due=self.clock.now() + 3600,
            attempts=1,
            last_reply=Reply(451, "4.7.1", ("later",)),
            last_reason=Reason.GREYLISTED,
            last_remote=Remote("mx.corp.test", "192.0.2.25", 25),
            last_attempt=self.clock.now(),
        )
        done: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()
        self.spool.settle(Settlement(message.id, (update,)), done.set_result)
        assert await asyncio.wait_for(done, WITHIN_S) is None
        return queue_id

    async def messages(self) -> dict[str, Message]:
        return {message.queue_id: message for message in await self.spool.find(Query(), 10_000)}

    def said(self, what: str) -> object:
        return self.handover.describe()[what]

    def is_free(self) -> bool:
        """Nothing is claimed."""
        return not self.dispatcher.flights


class PatientHouse(House):
    """Waits for answers as long as in a pool: for tests in which all goes well, however slow the disk is."""

    limits = Limits()


async def until(look: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Real time, as sockets and disks take it; ``WITHIN_S`` at most."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            seen = look()
            if seen if isinstance(seen, bool) else await seen:
                return
            await asyncio.sleep(0.005)


async def for_a_while(houses: int = 1) -> None:
    """As long as some rounds of handing over take: for what is not to happen."""
    for _ in range(20 * houses):
        await asyncio.sleep(0.005)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    """Makes them."""
    numbers = itertools.count()
    async with contextlib.AsyncExitStack() as opened:

        async def make(kind: type[House] = House) -> House:
            folder = tmp_path / f"pool-{next(numbers)}"
            folder.mkdir()
            made = kind(folder)
            await made.open()
            opened.push_async_callback(made.close)
            return made

        yield make


@pytest.fixture
async def leaving(house: Callable[[], Awaitable[House]]) -> House:
    return await house()


@pytest.fixture
async def staying(house: Callable[[], Awaitable[House]]) -> House:
    return await house()
