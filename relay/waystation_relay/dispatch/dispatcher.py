"""Keeps mail moving: from the spool's due messages to committed outcomes.

A message that was just accepted, or that the loader found due, becomes a
*flight*: its due recipients are assigned to backends as *jobs*, each job's
outcomes are settled in the spool, and the flight ends when its last job is
settled. Everything runs as callbacks on the loop.

Invariants
    A recipient is in at most one job at a time.
    A flight is forgotten only after its outcomes are durable.
    Memory is bounded by ``Limits``; what does not fit stays on disk, due.
"""

import dataclasses
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec

from waystation_contract.model import Discard, Quarantine, Reject, Retry
from waystation_relay.aio.clock import Clock
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.dispatch import judge
from waystation_relay.dispatch.assign import assign, target_of
from waystation_relay.dispatch.connector import Connector
from waystation_relay.dispatch.flight import Flight, Job
from waystation_relay.dispatch.judge import Decided
from waystation_relay.dispatch.lanes import Lanes
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.dispatch.record import record
from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.outcome import Deferred, Failed, Outcome, Reason
from waystation_relay.mail.reply import Reply
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import NewMessage, ReadFailure, Settlement, SpoolFailure


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """``flights``: messages in memory at once; ``warm_bytes``: bodies kept from acceptance to first attempt;
    ``lane_share``: of the flights, how much one destination may take before its mail is parked for
    ``park_s`` seconds when memory runs short; ``connections``: outbound, to all destinations together;
    ``idle_s``: how long an unused connection is kept."""

    flights: int = 10_000
    warm_bytes: int = 48 * 2**20
    lane_share: float = 0.5
    park_s: float = 30.0
    connections: int = 500
    idle_s: float = 5.0


class Dispatcher:
    """Built once by ``app``; ``start`` and ``stop`` frame its life."""

    def __init__(
        self,
        *,
        spool: Spool,
        snapshot: Callable[[], Snapshot],
        connector: Connector,
        notifier: Notifier,
        clock: Clock,
        metrics: DispatchMetrics,
        log: DispatchLog,
        limits: Limits = Limits(),
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._snapshot, self._notifier = spool, snapshot, notifier
        self._clock, self._metrics, self._log, self._roll = clock, metrics, log, roll
        self.limits = limits
        self.flights: dict[int, Flight] = {}
        self.landed: Callable[[int], None] = lambda _id: None  # told of each flight that ends
        self.spilled: Callable[[float], None] = lambda _due: None  # no room for accepted mail due from then
        self._warm_bytes = 0
        self.lanes = Lanes(
            crew=self,
            connector=connector,
            clock=clock,
            roll=roll,
            metrics=metrics,
            log=log,
            slots=limits.connections,
            idle_s=limits.idle_s,
            size=self._lane_size,
        )

    def start(self) -> None:
        self.lanes.start()

    async def stop(self, grace_s: float) -> None:
        await self.lanes.stop(grace_s)

    def apply(self) -> None:
        """The configuration was swapped: new limits at once; routes count from each next assignment."""
        self.lanes.resized()

    @property
    def room(self) -> int:
        return 0 if self.lanes.stopping else self.limits.flights - len(self.flights)

    # Mail comes in

    def accepted(self, messages: Sequence[Message]) -> None:
        """Just committed, bodies warm. What finds no room waits on disk for the loader."""
        for position, message in enumerate(messages):
            if self.room <= 0:
                self.spilled(min(p.due for spilt in messages[position:] for p in spilt.pending))
                return
            if message.content is not None and self._warm_bytes >= self.limits.warm_bytes:
                message = msgspec.structs.replace(message, content=None)  # noqa: PLW2901 -- the colder twin
            self.take(message)

    def take(self, message: Message) -> None:
        """Begins a flight for the message's due recipients; no-op when it has one."""
        if message.id in self.flights:
            return
        flight = Flight(message, {progress.number: progress for progress in message.pending}, message.content)
        if message.content is not None:
            self._warm_bytes += message.size_bytes
        self.flights[message.id] = flight
        self._fly(flight)

    def bounce(self, message: Message, verdict: Failed) -> None:
        """A person's word on all recipients still pending, at once or when their attempt is over."""
        flight = self.flights.get(message.id)
        if flight is not None:
            flight.override = verdict
            return
        flight = Flight(message, {progress.number: progress for progress in message.pending}, jobs=1)
        self.flights[message.id] = flight
        decided: list[Decided] = [(number, verdict) for number in flight.progress]
        self._settle(flight, decided, self._snapshot().document.retry, "")

    def _fly(self, flight: Flight) -> None:
        now = self._clock.now()
        due = [p.number for p in flight.progress.values() if p.status is Status.WAITING and p.due <= now]
        if not due:
            self._land(flight)
            return
        assignments, homeless = assign(flight.message, due, self._snapshot().table, self._roll)
        flight.jobs = len(assignments) + bool(homeless)
        if homeless:
            retry = self._snapshot().document.retry
            self._settle(flight, [(n, judge.NO_ROUTE) for n in homeless], retry, "")
        for assignment in assignments:
            job = Job(flight, assignment.numbers, assignment.route, assignment.choices, assignment.domain)
            if self._still_timely(job):
                self._launch(job)

    def _launch(self, job: Job) -> None:
        backend = job.choices[job.choice]
        target = target_of(backend, job.domain)
        if target is not None:
            if self._crowded(self.lanes.depth(target)):
                self._park(job)
            else:
                self.lanes.add(target, job)
            return
        flight, name = job.flight, job.route.name
        match backend:
            case Reject(code=code, enhanced=enhanced, message=text):
                said = Reply(code, enhanced, (text,))
                refusal: Outcome = (
                    Failed(said, Reason.POLICY) if said.is_permanent else Deferred(said, Reason.POLICY)
                )
                self._settle(flight, [(n, refusal) for n in job.numbers], job.route.retry, name)
            case Discard():
                self._settle(flight, [(n, judge.DISCARDED) for n in job.numbers], job.route.retry, name)
            case Quarantine():
                reason = f"quarantined by route {name}"
                self._log.emit("message.held", queue_id=flight.message.queue_id, reason=reason)
                self._commit(flight, [judge.held(flight.progress[n], reason) for n in job.numbers])

    def _crowded(self, depth: int) -> bool:
        """Memory is short and this destination is why."""
        return self.room < self.limits.flights // 4 and depth > self.limits.flights * self.limits.lane_share

    def _park(self, job: Job) -> None:
        due = self._clock.now() + self.limits.park_s * (1 + self._roll())
        self._commit(job.flight, [judge.postponed(job.flight.progress[n], due) for n in job.numbers])

    # What the lanes report (lanes.Crew)

    def can_settle(self) -> bool:
        """False while outcomes cannot be recorded: what was delivered now would be delivered twice."""
        return self._spool.can_settle()

    def still_wanted(self, job: Job) -> bool:
        """False when a person removed the message, or its time ran out, while it waited for a connection."""
        flight = job.flight
        if flight.removed or flight.override is not None:
            self._finish(job, [(n, flight.override) for n in job.numbers] if flight.override else [])
            return False
        progress = flight.progress
        job.numbers = tuple(
            [n for n in job.numbers if n in progress and progress[n].status is Status.WAITING]
        )
        return self._still_timely(job)

    def _still_timely(self, job: Job) -> bool:
        """Fails the recipients whose time in the queue is over; False when that leaves none."""
        flight = job.flight
        now = self._clock.now()
        late = judge.overdue(flight.message, flight.progress, job.numbers, job.route.retry, now)
        if late:
            gone = {number for number, _ in late}
            job.numbers = tuple([n for n in job.numbers if n not in gone])
            flight.jobs += 1
            self._finish(job, late)
        if not job.numbers:
            self._finish(job, [])
        return bool(job.numbers)

    def read(self, flight: Flight, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None:
        self._spool.read(flight.message, done)

    def attempted(self, job: Job, outcomes: Sequence[Outcome], again: Sequence[int]) -> None:
        """``again``: places in the job that only had no room in this transaction; they get the next one."""
        decided = list(zip(job.numbers, outcomes, strict=True))
        if again:
            rest = tuple([job.numbers[place] for place in again])
            decided = [(number, outcome) for number, outcome in decided if number not in rest]
            job.flight.jobs += 1
            self._launch(dataclasses.replace(job, numbers=rest))
        self._finish(job, decided)

    def unreachable(self, job: Job, outcome: Outcome) -> None:
        """No connection: the next backend takes over, or the attempt ends with this outcome."""
        if isinstance(outcome, Deferred) and job.choice + 1 < len(job.choices):
            job.choice += 1
            self._launch(job)
            return
        self._finish(job, [(number, outcome) for number in job.numbers])

    # Outcomes become durable

    def _finish(self, job: Job, decided: list[Decided]) -> None:
        self._settle(job.flight, decided, job.route.retry, job.route.name)

    def _settle(self, flight: Flight, decided: list[Decided], retry: Retry, route: str) -> None:
        if flight.override is not None:
            decided = [(n, flight.override if isinstance(o, Deferred) else o) for n, o in decided]
        decided = [(n, o) for n, o in decided if n in flight.progress]
        if not decided:
            self._settled(flight, (), ())
            return
        now = self._clock.now()
        judgement = judge.judge(flight.message, flight.progress, decided, retry, now, self._roll)
        record(self._log, self._metrics, flight.message, judgement, route, now)
        if not self._notifier.concerns(flight.message, judgement):
            self._commit(flight, judgement.updates, tuple(n for n, _ in judgement.final))
            return
        self._notifier.prepare(
            flight.message,
            flight.progress,
            flight.body,
            judgement,
            retry,
            self._snapshot(),
            lambda made: self._commit(flight, (*judgement.updates, *made.kept), made.removed, made.messages),
        )

    def _commit(
        self,
        flight: Flight,
        updates: Iterable[Progress],
        removed: tuple[int, ...] = (),
        new: tuple[NewMessage, ...] = (),
    ) -> None:
        updates = tuple(updates)
        self._spool.settle(
            Settlement(flight.message.id, updates, removed, new),
            lambda failure: self._settled(flight, updates, removed, failure),
        )

    def _settled(
        self,
        flight: Flight,
        updates: Iterable[Progress],
        removed: Iterable[int],
        failure: SpoolFailure | None = None,
    ) -> None:
        if failure is not None:  # the spool keeps it and tries again; until then this flight must not land
            return
        for number in removed:
            flight.progress.pop(number, None)
        for progress in updates:
            if progress.number in flight.progress:
                flight.progress[progress.number] = progress
        flight.jobs -= 1
        if not flight.jobs:
            self._land(flight)

    def _land(self, flight: Flight) -> None:
        """The last job is settled; recipients that became due meanwhile fly again."""
        now = self._clock.now()
        if (
            not flight.removed
            and not self.lanes.stopping
            and any(p.status is Status.WAITING and p.due <= now for p in flight.progress.values())
        ):
            self._fly(flight)
            return
        del self.flights[flight.message.id]
        if flight.message.content is not None:
            self._warm_bytes -= flight.message.size_bytes
        self.landed(flight.message.id)

    def _lane_size(self) -> tuple[int, int]:
        delivery = self._snapshot().document.delivery
        return delivery.connections_per_destination, delivery.messages_per_connection
