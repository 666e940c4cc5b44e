"""What waits for each route, counted when somebody asks and not more often than the queue can bear.

The queue's index does not know routes, so counting means reading: a survey
goes through the queue in small windows (``spool.survey``) and rests between
them, so that it never takes more than one part in ``REST`` + 1 of a
processor. Whoever asks sooner than ``INTERVAL_S`` after the last one gets
that; whoever asks while one is under way waits ``PATIENCE_S`` at most.

Invariants
    One survey at a time, and none while nobody asks.
    What is told is one whole survey, by the configuration in force when it
    began; before the first is over, what it has found so far (``as_of`` is None).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from waystation_relay.aio.clock import Clock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.survey import Responsible, Tally
from waystation_relay.spool.values import SpoolUnavailable

INTERVAL_S = 10.0
PATIENCE_S = 1.0
REST = 19
LONGEST_REST_S = 1.0  # a window that took long waited for others, mostly
NOBODY = ""  # no route takes it

Tallies = Mapping[str, Tally]


class Waiting:
    def __init__(self, spool: Spool, snapshot: Callable[[], Snapshot], clock: Clock, tasks: Tasks) -> None:
        self._spool, self._snapshot, self._clock, self._tasks = spool, snapshot, clock, tasks
        self._found: Tallies = MappingProxyType({})
        self.as_of: float | None = None
        self._began_at = -INTERVAL_S  # monotonic
        self._by: Snapshot | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def tallies(self) -> Tallies:
        """By route name, ``NOBODY`` for what no route takes; routes that nothing waits for are missing."""
        now = self._clock.monotonic()
        fresh = now < self._began_at + INTERVAL_S and self._by is self._snapshot()
        if self._under_way is None and not fresh:
            self._began_at, self._by = now, self._snapshot()
            self._under_way = self._tasks.start(self._survey(responsible_by(self._by)), "survey of the queue")
        if self._under_way is not None:
            await asyncio.wait((self._under_way,), timeout=PATIENCE_S)
        return self._found

    async def _survey(self, responsible: Responsible) -> None:
        try:
            with contextlib.suppress(SpoolUnavailable):  # the last one stands
                await self._look_at_all(responsible)
        finally:
            self._under_way = None

    async def _look_at_all(self, responsible: Responsible) -> None:
        found: dict[str, Tally] = {}
        if self.as_of is None:
            self._found = found
        began_at, after = self._clock.now(), 0
        while True:
            asked_at = self._clock.monotonic()
            part, last = await self._spool.survey(after, responsible)
            for name, tally in part.items():
                found.setdefault(name, Tally()).merge(tally)
            if last is None:
                break
            after = last
            await asyncio.sleep(min(LONGEST_REST_S, REST * (self._clock.monotonic() - asked_at)))
        self._found, self.as_of = found, began_at


def responsible_by(snapshot: Snapshot) -> Responsible:
    """The name of the route that would take a recipient now. Called in another thread: it only reads."""
    table, released = snapshot.table, snapshot.released

    def responsible(listener: str, sender: str, recipient: str, was_quarantined: bool) -> str:
        route = (released if was_quarantined else table).match(listener, sender, recipient)
        return route.name if route is not None else NOBODY

    return responsible
