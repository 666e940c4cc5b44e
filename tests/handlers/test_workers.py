"""Workers on the queue: one pool's trouble is not another's."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.handlers import workers as module
from waystation_operator.handlers.health import STUCK_S, Health, State
from waystation_operator.handlers.reconciler import Result, Verdict
from waystation_operator.handlers.workers import AGAIN_MOST, Workers
from waystation_operator.handlers.workqueue import WorkQueue

WITHIN_S = 5.0


def pool(name: str) -> Identity:
    return Identity("RelayPool", "mail", name)


class Shop:
    def __init__(self, reconcile: Callable[[Identity], Awaitable[Verdict]]) -> None:
        self.metrics = Metrics()
        self.queue: WorkQueue[Identity] = WorkQueue(lambda: 0.0, gap_s=0.0)
        self.beats = 0
        self.workers = Workers(self.queue, reconcile, self.metrics, time.monotonic, time.time, self.beat)

    def beat(self) -> None:
        self.beats += 1

    def add(self, name: str) -> None:
        self.queue.add(pool(name), time.monotonic())
        self.workers.wake()

    @asynccontextmanager
    async def open(self, number: int = 2) -> AsyncIterator[None]:
        task = asyncio.create_task(self.workers.run(number))
        yield
        self.workers.stop()
        await asyncio.wait_for(task, WITHIN_S)


async def test_a_pool_that_hangs_holds_up_no_other() -> None:
    """While one pool's pass waits for something slow, the other workers go on."""
    release, done = asyncio.Event(), asyncio.Event()

    async def reconcile(identity: Identity) -> Verdict:
        if identity.name == "slow":
            await release.wait()
        else:
            done.set()
        return Verdict(Result.OK)

    shop = Shop(reconcile)
    async with shop.open(2):
        shop.add("slow")
        shop.add("quick")
        await asyncio.wait_for(done.wait(), WITHIN_S)
        release.set()


async def test_a_pass_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass has a deadline, and counts as failed."""
    monkeypatch.setattr(module, "PASS_S", 0.05)
    shop = Shop(lambda _: asyncio.Event().wait())  # type: ignore[arg-type, return-value]
    async with shop.open(1):
        shop.add("a")
        async with asyncio.timeout(WITHIN_S):
            while not shop.beats:
                await asyncio.sleep(0.01)
    assert shop.metrics.value("reconciles_total", result="failed") == 1


async def test_a_pass_that_met_a_change_is_done_again_but_not_for_ever() -> None:
    """Somebody who keeps changing an object makes the pool wait like a failing one, not a busy loop."""
    count = itertools.count()

    async def reconcile(_: Identity) -> Verdict:
        next(count)
        return Verdict(Result.AGAIN, 0.0)

    shop = Shop(reconcile)
    async with shop.open(1):
        shop.add("a")
        async with asyncio.timeout(WITHIN_S):
            while shop.beats <= AGAIN_MOST:
                await asyncio.sleep(0.01)
        due = shop.queue.next_due()
    assert due is not None
    assert due > time.monotonic() + 0.5
    assert next(count) == AGAIN_MOST + 1


async def test_a_pool_that_is_gone_is_forgotten() -> None:
    """Nothing is owed to what does not exist."""

    async def reconcile(_: Identity) -> Verdict:
        return Verdict(Result.GONE)

    shop = Shop(reconcile)
    async with shop.open(1):
        shop.add("a")
        async with asyncio.timeout(WITHIN_S):
            while not shop.beats:
                await asyncio.sleep(0.01)
    assert shop.queue.next_due() is None


async def test_passes_under_way_are_finished_when_stopping() -> None:
    """A stop cuts no pass in half."""
    begun, release = asyncio.Event(), asyncio.Event()

    async def reconcile(_: Identity) -> Verdict:
        begun.set()
        await release.wait()
        return Verdict(Result.OK)

    shop = Shop(reconcile)
    task = asyncio.create_task(shop.workers.run(1))
    shop.add("a")
    await asyncio.wait_for(begun.wait(), WITHIN_S)
    shop.workers.stop()
    release.set()
    await asyncio.wait_for(task, WITHIN_S)
    assert shop.beats == 1


def test_alive_means_that_something_moves() -> None:
    """Three minutes in which nothing moved: the process hangs, and a restart helps."""
    now = [0.0]
    health = Health(Metrics(), lambda: now[0])
    now[0] = STUCK_S - 1
    assert health.is_alive
    now[0] = STUCK_S
    assert not health.is_alive
    health.beat()
    assert health.is_alive
    assert health.state is State.STARTING
