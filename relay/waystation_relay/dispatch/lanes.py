"""All lanes of this relay: which exist, the connections they may have, and what happens on them.

Owns the connection slots, the tasks that open connections, and the sweep that
closes idle ones and forgets empty lanes. Reports each job's outcomes, or that
its destination cannot be had now.

Invariants
    ``slots_busy`` is the sum of the lanes' opening and open connections, and
    never exceeds ``slots``.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from waystation_relay.aio.clock import Clock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.delivery.connect import ConnectFailure
from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.target import Target
from waystation_relay.delivery.transaction import Result, Transaction
from waystation_relay.dispatch.connector import Connector
from waystation_relay.dispatch.flight import Flight, Job
from waystation_relay.dispatch.lane import Lane
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.mail.outcome import Deferred, Outcome, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import Verdict, Window
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.values import ReadFailure

SWEEP_S = 1.0
UNREADABLE = Deferred(reply(451, "4.3.0", "the message cannot be read from our own disk"), Reason.STORAGE)


class Crew(Protocol):
    """Who hands in jobs and hears what became of them (the dispatcher)."""

    def attempted(self, job: Job, outcomes: Sequence[Outcome], again: Sequence[int]) -> None: ...
    def unreachable(self, job: Job, outcome: Outcome) -> None: ...
    def can_settle(self) -> bool: ...
    def still_wanted(self, job: Job) -> bool: ...
    def read(self, flight: Flight, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None: ...


class Lanes:
    def __init__(
        self,
        *,
        crew: Crew,
        connector: Connector,
        clock: Clock,
        roll: Callable[[], float],
        metrics: DispatchMetrics,
        log: DispatchLog,
        slots: int,
        idle_s: float,
        size: Callable[[], tuple[int, int]],
    ) -> None:
        """``size``: connections a destination and messages a connection, as configured now."""
        self._crew, self._connector, self._clock, self._roll = crew, connector, clock, roll
        self._metrics, self._log, self._idle_s, self._size = metrics, log, idle_s, size
        self.slots = slots
        self.slots_busy = 0
        self.stopping = False
        self._quiet = asyncio.Event()
        self.by_target: dict[Target, Lane] = {}
        self._starved: dict[Lane, None] = {}
        self._idle_since: dict[Connection, float] = {}
        self._tasks = Tasks(lambda error: log.emit("internal.error", where="connect", error=repr(error)))

    # What the dispatcher does

    def add(self, target: Target, job: Job) -> None:
        lane = self.by_target.get(target)
        if lane is None:
            window = Window(self._size()[0])
            lane = Lane(target, window, self, monotonic=self._clock.monotonic, roll=self._roll)
            self.by_target[target] = lane
        lane.add(job)

    def depth(self, target: Target) -> int:
        lane = self.by_target.get(target)
        return len(lane.jobs) if lane else 0

    def resized(self) -> None:
        """The configured limits changed."""
        for lane in self.by_target.values():
            lane.window.set_limit(self._size()[0])

    def reopen(self) -> None:
        """Somebody asked for attempts now: closed windows open."""
        for lane in tuple(self.by_target.values()):
            lane.window.reopen()
            lane.pump()

    def start(self) -> None:
        self._tasks.start(self._sweep(), "lane sweep")

    async def stop(self, grace_s: float) -> None:
        """No new transactions; those under way get ``grace_s`` seconds. What waits stays in the spool."""
        self.stopping = True
        self._note_quiet()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace_s)
        for lane in self.by_target.values():
            for connection in tuple(lane.connections):
                connection.quit()
        await self._tasks.close()

    # What a lane asks for (lane.Desk)

    def has_slot(self, lane: Lane) -> bool:
        if self.stopping:
            return False
        if self.slots_busy < self.slots:
            return True
        self._starved[lane] = None
        return False

    def open(self, lane: Lane) -> None:
        self.slots_busy += 1
        self._tasks.start(self._open(lane), "connect")

    def begin(self, lane: Lane, job: Job, connection: Connection) -> None:
        self._idle_since.pop(connection, None)
        body = job.flight.body
        if body is not None:
            self._send(lane, job, connection, body)
            return
        self._crew.read(job.flight, lambda found: self._send(lane, job, connection, found))

    def may_begin(self) -> bool:
        return not self.stopping and self._crew.can_settle()

    def wants(self, job: Job) -> bool:
        return not self.stopping and self._crew.still_wanted(job)

    def turned_away(self, job: Job, outcome: Outcome) -> None:
        if not self.stopping:
            self._crew.unreachable(job, outcome)

    # A connection's life

    async def _open(self, lane: Lane) -> None:
        try:
            connection = await self._connector.open(lane.target)
        except Exception as error:  # noqa: BLE001 -- an unknown failure is temporary; the lane must hear of it
            self._log.emit("internal.error", where="connect", error=repr(error))
            connection = ConnectFailure(
                Deferred(reply(451, "4.3.0", "internal error while connecting"), Reason.CONNECT)
            )
        if isinstance(connection, ConnectFailure):
            self._metrics.connection_failed()
            self._log.emit("connection.failed", target=str(lane.target), reply=str(connection.outcome.reply))
            self._free_slot()
            lane.refused(connection.outcome)
            return
        self._metrics.connection_opened()
        opened = connection
        opened.on_closed = lambda closed: self._closed(lane, closed)
        self._idle_since[opened] = self._clock.monotonic()
        lane.opened(opened)

    def _send(
        self, lane: Lane, job: Job, connection: Connection, body: bytes | BodyFile | ReadFailure
    ) -> None:
        if isinstance(body, ReadFailure):
            self._crew.attempted(job, [UNREADABLE] * len(job.numbers), ())
            lane.finished(connection, Verdict.GOOD, reusable=True)
            return
        connection.send(
            Transaction.of(job.flight.message.envelope, job.numbers, body),
            lambda result: self._sent(lane, job, connection, result),
        )

    def _sent(self, lane: Lane, job: Job, connection: Connection, result: Result) -> None:
        self._crew.attempted(job, result.outcomes, result.again)
        reusable = result.reusable and connection.used_count < self._size()[1] and not self.stopping
        self._idle_since[connection] = self._clock.monotonic()
        verdict = verdict_of(result)
        trouble = next((o for o in result.outcomes if isinstance(o, Deferred)), None)
        lane.finished(
            connection, verdict, reusable=reusable, trouble=None if verdict is Verdict.GOOD else trouble
        )
        if not reusable:
            connection.quit()
        if self.stopping:
            self._note_quiet()

    def _note_quiet(self) -> None:
        if not any(lane.busy for lane in self.by_target.values()):
            self._quiet.set()

    def _closed(self, lane: Lane, connection: Connection) -> None:
        self._idle_since.pop(connection, None)
        lane.lost(connection)
        self._free_slot()

    def _free_slot(self) -> None:
        self.slots_busy -= 1
        if self._starved:
            lane = next(iter(self._starved))
            del self._starved[lane]
            lane.pump()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """Closes what idles too long, lets re-opened windows try, forgets lanes with nothing to remember."""
        now = self._clock.monotonic()
        for target, lane in tuple(self.by_target.items()):
            for connection in tuple(lane.idle):
                if now - self._idle_since.get(connection, now) >= self._idle_s:
                    connection.quit()
                    lane.lost(connection)
            lane.pump()
            if lane.is_empty and lane.window.is_forgettable(now):
                del self.by_target[target]


def verdict_of(result: Result) -> Verdict:
    """What a transaction says about the destination's health, not about the message."""
    if result.connection_lost:
        return Verdict.BROKEN
    if any(isinstance(o, Deferred) and o.reason is Reason.THROTTLED for o in result.outcomes):
        return Verdict.BUSY
    return Verdict.GOOD
