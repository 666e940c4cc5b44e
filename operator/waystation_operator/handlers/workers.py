"""Several workers on one queue of pools."""

import asyncio
from collections.abc import Awaitable, Callable

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.handlers.reconciler import Result, Verdict
from waystation_operator.handlers.workqueue import WorkQueue

WORKERS = 4
PASS_S = 60.0
AGAIN_MOST = 5  # passes in a row that met a changed object, before it counts as a failure


class Workers:
    """``wake`` is to be called after every addition to the queue; ``beat`` is called after every pass."""

    def __init__(
        self,
        queue: WorkQueue[Identity],
        reconcile: Callable[[Identity], Awaitable[Verdict]],
        metrics: Metrics,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._reconcile, self._metrics = queue, reconcile, metrics
        self._monotonic, self._now, self._beat = monotonic, now, beat
        self._woken = asyncio.Event()
        self._stopping = False
        self._again: dict[Identity, int] = {}

    def wake(self) -> None:
        self._woken.set()

    async def run(self, number: int = WORKERS) -> None:
        """Until ``stop``; raises what a worker raises."""
        async with asyncio.TaskGroup() as group:
            for n in range(number):
                group.create_task(self._work(), name=f"worker {n}")

    def stop(self) -> None:
        """No more passes; those under way are finished."""
        self._stopping = True
        self._woken.set()

    async def _work(self) -> None:
        while not self._stopping:
            pool = self._queue.take(self._monotonic())
            if pool is None:
                await self._wait()
                continue
            began = self._monotonic()
            try:
                async with asyncio.timeout(PASS_S):
                    verdict = await self._reconcile(pool)
            except TimeoutError:
                verdict = Verdict(Result.FAILED)
            ended = self._monotonic()
            self._settle(pool, verdict, ended)
            self._metrics.reconciled(verdict.result.value, ended - began, self._now())
            self._beat()
            self._woken.set()  # a sleeping worker may have to wait for another time now

    def _settle(self, pool: Identity, verdict: Verdict, now: float) -> None:
        result = verdict.result
        if result is Result.AGAIN:
            self._again[pool] = self._again.get(pool, 0) + 1
            if self._again[pool] > AGAIN_MOST:
                result = Result.FAILED
        else:
            self._again.pop(pool, None)
        match result:
            case Result.FAILED:
                self._queue.failed(pool, now)
            case Result.GONE:
                self._queue.done(pool, now)
                self._queue.forget_idle(pool)
            case Result.AGAIN:
                self._queue.done(pool, now, 0.0)
            case Result.OK:
                self._queue.done(pool, now, verdict.again_after_s)

    async def _wait(self) -> None:
        """Until something is added, or due."""
        self._woken.clear()
        due = self._queue.next_due()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - self._monotonic())):
                await self._woken.wait()
        except TimeoutError:
            pass
