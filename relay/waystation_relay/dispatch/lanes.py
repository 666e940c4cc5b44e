"""All lanes of this relay: which exist, the connections they may have, and what happens on them.

Owns the connection slots, the tasks that open connections, and the sweep that
closes idle ones and forgets empty lanes. Reports each job's outcomes, or that
its destination cannot be had now.

Invariants
    ``slots_busy`` is the sum of the lanes' opening and open connections, and
    never exceeds ``slots``.
    A connection carries no mail under another identity (name, address, login)
    than the configuration gives when its transaction begins.
Known limits
    Many destinations that swallow connections hold their slots until these
    time out; new destinations wait meanwhile, proven ones do not (``turns``).
"""

import asyncio
import contextlib
import dataclasses
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
from waystation_relay.dispatch.health import is_stale, trouble_of, verdict_of
from waystation_relay.dispatch.lane import Lane
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.dispatch.turns import Turns
from waystation_relay.mail.outcome import Deferred, Outcome, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import Verdict, Window
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.values import ReadFailure

SWEEP_S = 1.0
LONGEST_USE_S = 300.0  # of a connection, so that a destination's new addresses are found under load too
LONGEST_WAIT_S = 900.0  # of a job for a connection
SLAMMED = Deferred(
    reply(451, "4.4.2", "the server closed the connection before any mail was sent"), Reason.CONNECT
)
UNREADABLE = Deferred(reply(451, "4.3.0", "the message cannot be read from our own disk"), Reason.STORAGE)


class Crew(Protocol):
    """Who hands in jobs and hears what became of them (the dispatcher)."""

    def attempted(self, job: Job, outcomes: Sequence[Outcome], again: Sequence[int]) -> None: ...
    def unreachable(self, job: Job, outcome: Outcome) -> None: ...
    def waited(self, job: Job) -> None: ...
    def can_settle(self) -> bool: ...
    def still_wanted(self, job: Job) -> bool: ...
    def read(self, flight: Flight, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None: ...


@dataclasses.dataclass(slots=True)
class Use:
    """Of a connection. ``generation``: of the identity it was opened under; ``dismissed``: by us; times are
    monotonic seconds."""

    generation: int
    opened_at: float
    idle_since: float
    dismissed: bool = False


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
        self._per_destination, self._per_connection = size()
        self.slots = slots
        self.slots_busy = 0
        self.stopping = False
        self._quiet = asyncio.Event()
        self.by_target: dict[Target, Lane] = {}
        self._turns = Turns(slots)
        self._making_room = False
        self._generation = 0
        self._identity = connector.identity()
        self._uses: dict[Connection, Use] = {}
        self._idle: dict[Connection, None] = {}  # those without a transaction, longest first
        self._tasks = Tasks(lambda error: log.emit("internal.error", where="connect", error=repr(error)))

    # What the dispatcher does

    def add(self, target: Target, job: Job) -> None:
        lane = self.by_target.get(target)
        if lane is None:
            window = Window(self._per_destination)
            lane = Lane(target, window, self, monotonic=self._clock.monotonic, roll=self._roll)
            self.by_target[target] = lane
            self._turns.begins(lane)
        lane.add(job)

    def depth(self, target: Target) -> int:
        lane = self.by_target.get(target)
        return len(lane.jobs) if lane else 0

    def apply(self) -> None:
        """The configuration was swapped: new limits at once, no mail under an identity that has changed."""
        self._per_destination, self._per_connection = self._size()
        for lane in self.by_target.values():
            lane.window.set_limit(self._per_destination)
        if (identity := self._connector.identity()) == self._identity:
            return
        self._identity = identity
        self._generation += 1
        for connection in tuple(self._idle):
            self._dismiss(connection)
        self.reopen()  # who turned us away may take us now: a login was corrected, perhaps

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
                self._dismiss(connection)
        await self._tasks.close()

    # What a lane asks for (lane.Desk)

    def has_slot(self, lane: Lane) -> bool:
        if self.stopping:
            return False
        if self._turns.may_open(lane, self.slots - self.slots_busy):
            return True
        self._turns.wait(lane)
        self._give_way()
        return False

    def open(self, lane: Lane) -> None:
        self.slots_busy += 1
        self._turns.taken(lane)
        self._tasks.start(self._open(lane), "connect")

    def begin(self, lane: Lane, job: Job, connection: Connection) -> None:
        self._idle.pop(connection, None)
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
        generation = self._generation
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
        else:
            self._metrics.connection_opened()
        if generation != self._generation:  # how the server takes who we were is of no interest any more
            if not isinstance(connection, ConnectFailure):
                connection.quit()
            lane.unwanted()
            self._free_slot(lane)
            return
        if isinstance(connection, ConnectFailure):
            if isinstance(connection.outcome, Deferred):
                self._turns.prove(lane, answers=False)
            lane.refused(connection.outcome)
            self._free_slot(lane)
            return
        opened, now = connection, self._clock.monotonic()
        opened.on_closed = lambda closed: self._closed(lane, closed)
        self._uses[opened] = Use(generation, now, now)
        self._idle[opened] = None
        lane.opened(opened)
        self._give_way()

    def _send(
        self, lane: Lane, job: Job, connection: Connection, body: bytes | BodyFile | ReadFailure
    ) -> None:
        if self.stopping or connection.closing:  # while the body was read
            _close(body)
            lane.put_back(job)
            self._dismiss(connection)
            self._note_quiet()
            return
        if isinstance(body, ReadFailure):
            self._crew.attempted(job, [UNREADABLE] * len(job.numbers), ())
            self._rest(lane, connection)
            return
        connection.send(
            Transaction.of(job.flight.message.envelope, job.numbers, body),
            lambda result: self._sent(lane, job, connection, body, result),
        )

    def _sent(
        self, lane: Lane, job: Job, connection: Connection, body: bytes | BodyFile, result: Result
    ) -> None:
        _close(body)
        self._crew.attempted(job, result.outcomes, result.again)
        now, use = self._clock.monotonic(), self._uses.get(connection)
        reusable = (
            result.reusable
            and use is not None
            and use.generation == self._generation
            and now < use.opened_at + LONGEST_USE_S
            and connection.used_count < self._per_connection
            and not self.stopping
        )
        if use is not None:
            use.idle_since = now
            self._idle[connection] = None
        if is_stale(result):
            lane.lost(connection)
            stays = False
        else:
            verdict = verdict_of(result)
            self._turns.prove(lane, answers=verdict is not Verdict.BROKEN)
            stays = lane.finished(connection, verdict, reusable=reusable, trouble=trouble_of(result, verdict))
        if not stays:
            self._dismiss(connection)
        self._give_way()
        if self.stopping:
            self._note_quiet()

    def _rest(self, lane: Lane, connection: Connection) -> None:
        """Nothing was sent."""
        use = self._uses.get(connection)
        if use is not None:
            use.idle_since = self._clock.monotonic()
            self._idle[connection] = None
            lane.idled(connection)
            self._give_way()

    def _note_quiet(self) -> None:
        if not any(lane.busy for lane in self.by_target.values()):
            self._quiet.set()

    def _closed(self, lane: Lane, connection: Connection) -> None:
        use = self._uses.pop(connection)
        self._idle.pop(connection, None)
        if connection.used_count or use.dismissed:
            lane.lost(connection)
        else:  # or we would knock at that door again and again
            self._turns.prove(lane, answers=False)
            lane.slammed(connection, SLAMMED)
        self._free_slot(lane)

    def _dismiss(self, connection: Connection) -> None:
        use = self._uses.get(connection)
        if use is not None:
            use.dismissed = True
        connection.quit()

    def _free_slot(self, lane: Lane) -> None:
        """Whoever found no slot has its turn; who needs none any more costs nobody else a turn."""
        self.slots_busy -= 1
        self._turns.given_back(lane)
        while not self.stopping and (waiting := self._turns.next(self.slots - self.slots_busy)) is not None:
            waiting.pump()

    def _give_way(self) -> None:
        """Connections without work give their slots to lanes that have work."""
        if self._turns and self._idle and not self._making_room:
            self._making_room = True
            asyncio.get_running_loop().call_soon(self._make_room)

    def _make_room(self) -> None:
        self._making_room = False
        unused = [connection for connection in self._idle if not connection.used_count]
        if count := self._turns.to_give_way(len(self._idle), len(unused)):
            used = [connection for connection in self._idle if connection.used_count]
            for connection in (*unused, *used)[:count]:
                self._dismiss(connection)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 -- without the sweep everything would stop in time
                self._log.emit("internal.error", where="sweep", error=repr(error))

    def sweep(self) -> None:
        """Closes what idles too long, lets re-opened windows try, ends waits that are too long, forgets lanes
        with nothing to remember."""
        now = self._clock.monotonic()
        for connection in tuple(self._idle):
            if now - self._uses[connection].idle_since < self._idle_s:
                break  # the others began to idle later
            self._dismiss(connection)
        for target, lane in tuple(self.by_target.items()):
            lane.pump()
            if self.may_begin():
                for job in lane.impatient(now - LONGEST_WAIT_S):
                    self._crew.waited(job)
            if lane.is_empty and lane.window.is_forgettable(now):
                del self.by_target[target]
                self._turns.ends(lane)


def _close(body: bytes | BodyFile | ReadFailure) -> None:
    """Its file: each attempt opens its own."""
    if isinstance(body, BodyFile):
        body.close()
