"""Keeps mail moving: from the spool's due messages to committed outcomes.

A message that was just accepted, or that the loader found due, becomes a
*flight*: its due recipients are assigned to backends as *jobs*, each job's
outcomes are settled in the spool, and the flight ends when its last job is
settled. Everything runs as callbacks on the loop.

A message's time in the queue ends with an attempt: the last one is due when
the time is over, and fails for good if it does not succeed. Held mail does
not expire; parked mail that was attempted before does. Setting the machine's
clock ages no mail (``timeline``).

Invariants
    A recipient is in at most one job at a time.
    A flight is forgotten only after its outcomes are durable.
    Memory is bounded by ``Limits``; what does not fit stays on disk, due.
Known limits
    A temporary refusal of the mail itself (not of the connection) does not
    move on to the next backend; the next attempt draws the backends anew.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence

import msgspec

from waystation_contract.model import Discard, Quarantine, Reject, Unavailable
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.dispatch import judge
from waystation_relay.dispatch.assign import assign, target_of
from waystation_relay.dispatch.connector import Connector
from waystation_relay.dispatch.flight import Flight, Job
from waystation_relay.dispatch.judge import Decided
from waystation_relay.dispatch.lanes import Lanes
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.dispatch.settle import Settler
from waystation_relay.dispatch.timeline import Timeline, shifted
from waystation_relay.mail.message import Message, Status
from waystation_relay.mail.outcome import Deferred, Failed, Outcome, Reason
from waystation_relay.mail.reply import Reply
from waystation_relay.schedule import backoff
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import ReadFailure


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
        clock: Timeline,
        metrics: DispatchMetrics,
        log: DispatchLog,
        limits: Limits = Limits(),
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._snapshot = spool, snapshot
        self._clock, self._log, self._roll = clock, log, roll
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
        self._settler = Settler(
            spool=spool,
            snapshot=snapshot,
            notifier=notifier,
            clock=clock,
            metrics=metrics,
            log=log,
            roll=roll,
            settled=self.settled,
        )
        clock.follow(lambda: spool.last_id, self._clock_set)

    def start(self) -> None:
        self.lanes.start()

    async def stop(self, grace_s: float) -> None:
        await self.lanes.stop(grace_s)

    def apply(self) -> None:
        """The configuration was swapped: new limits at once; routes count from each next assignment."""
        self.lanes.apply()

    def longest_wait_s(self) -> float:
        """No recipient is put off for longer by any route in force."""
        document = self._snapshot().document
        return backoff.longest_wait_s([document.retry, *(route.retry for route in document.routes)])

    @property
    def room(self) -> int:
        return 0 if self.lanes.stopping else self.limits.flights - len(self.flights)

    # Mail comes in

    def accepted(self, messages: Sequence[Message]) -> None:
        """Just committed, bodies warm. What finds no room waits on disk for the loader."""
        now = self._clock.now()
        for position, message in enumerate(messages):
            if message.arrival > now:  # the clock was set back while it came in
                message = due_at(message, now)  # noqa: PLW2901 -- the same, due when it was meant to be
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
        message = self._clock.aligned(message)
        flight = Flight(message, {progress.number: progress for progress in message.pending}, message.content)
        if message.content is not None:
            self._warm_bytes += message.size_bytes
        self.flights[message.id] = flight
        try:
            self._fly(flight)
        except Exception as error:  # noqa: BLE001 -- one message's mistake must not cost the others their turn
            self._log.emit("internal.error", where="dispatch", queue_id=message.queue_id, error=repr(error))

    def claim(self, message: Message) -> Flight | None:
        """A flight without an attempt, so that none begins while a person decides; ends with ``settled``.

        None when the message is in flight already.
        """
        if message.id in self.flights:
            return None
        message = self._clock.aligned(message)
        flight = Flight(message, {progress.number: progress for progress in message.pending}, jobs=1)
        self.flights[message.id] = flight
        return flight

    def _clock_set(self, step_s: float) -> None:
        """What is in memory is from before."""
        self._log.emit("clock.set", step_s=round(step_s, 3))
        for flight in self.flights.values():
            flight.message = shifted(flight.message, step_s)

    # The way is chosen

    def _fly(self, flight: Flight) -> None:
        now = self._clock.now()
        due: list[int] = []
        passed: list[int] = []  # the quarantine
        for progress in flight.progress.values():
            if progress.status is Status.WAITING and progress.due <= now:
                (passed if progress.quarantined else due).append(progress.number)
        snapshot = self._snapshot()
        assignments, homeless = assign(flight.message, due, snapshot.table, self._roll)
        if passed:
            more, unplaced = assign(flight.message, passed, snapshot.released, self._roll)
            assignments += more
            homeless += unplaced
        flight.jobs = len(assignments) + bool(homeless)
        if not flight.jobs:
            self._land(flight)
            return
        if homeless:
            decided = [(number, judge.NO_ROUTE) for number in homeless]
            self._settler.settle(flight, decided, snapshot.document.retry, "")
        for found in assignments:
            self._launch(Job(flight, found.numbers, found.route, found.choices, found.domain))

    def _launch(self, job: Job) -> None:
        backend = job.choices[job.choice]
        target = target_of(backend, job.domain)
        if target is not None:
            if self._crowded(self.lanes.depth(target)):
                self._park(job)
            else:
                self.lanes.add(target, job)
            return
        flight = job.flight
        match backend:
            case Reject(code=code, enhanced=enhanced, message=text):
                said = Reply(code, enhanced, (text,))
                refusal: Outcome = (
                    Failed(said, Reason.POLICY) if said.is_permanent else Deferred(said, Reason.POLICY)
                )
                self._finish(job, [(n, refusal) for n in job.numbers])
            case Discard():
                self._finish(job, [(n, judge.DISCARDED) for n in job.numbers])
            case Quarantine():
                reason = f"quarantined by route {job.route.name}"
                self._log.emit("message.held", queue_id=flight.message.queue_id, reason=reason)
                self._settler.commit(
                    flight, [judge.quarantined(flight.progress[n], reason) for n in job.numbers]
                )
            case Unavailable():
                self.unreachable(job, judge.NOT_READY)

    def _crowded(self, depth: int) -> bool:
        """Memory is short and this destination is why."""
        return self.room < self.limits.flights // 4 and depth > self.limits.flights * self.limits.lane_share

    def _park(self, job: Job) -> None:
        """Back to the disk for a while. Who was attempted before and is out of time now fails instead: mail
        that finds no room again and again ends some time."""
        flight, now = job.flight, self._clock.now()
        if self._keep(job, judge.overdue(flight.message, flight.progress, job.numbers, job.route.retry, now)):
            due = now + self.limits.park_s * (1 + self._roll())
            self._settler.commit(flight, [judge.postponed(flight.progress[n], due) for n in job.numbers])

    # What the lanes report (lanes.Crew)

    def can_settle(self) -> bool:
        """False while outcomes cannot be recorded: what was delivered now would be delivered twice."""
        return self._spool.can_settle()

    def still_wanted(self, job: Job) -> bool:
        """False when people left nothing to do of the job while it waited for a connection."""
        flight = job.flight
        if not flight.touched:
            return True
        progress, verdicts = flight.progress, flight.verdicts or {}
        job.numbers = tuple(
            [n for n in job.numbers if n in progress and progress[n].status is Status.WAITING]
        )
        return self._keep(job, [(n, verdicts[n]) for n in job.numbers if n in verdicts])

    def read(self, flight: Flight, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None:
        self._spool.read(flight.message, done)

    def attempted(self, job: Job, outcomes: Sequence[Outcome], again: Sequence[int]) -> None:
        """``again``: places in the job that only had no room in this transaction; they get the next one."""
        decided = list(zip(job.numbers, outcomes, strict=True))
        if again:
            rest = dict.fromkeys([job.numbers[place] for place in again])
            decided = [(number, outcome) for number, outcome in decided if number not in rest]
            job.flight.jobs += 1
            self._launch(dataclasses.replace(job, numbers=tuple(rest)))
        self._finish(job, decided)

    def unreachable(self, job: Job, outcome: Outcome) -> None:
        """No connection: the next backend takes over, or the attempt ends with this outcome. What is
        permanent for one backend (the domain takes no mail) is so for the mail."""
        if isinstance(outcome, Deferred) and job.choice + 1 < len(job.choices):
            job.choice += 1
            self._launch(job)
            return
        self._finish(job, [(number, outcome) for number in job.numbers])

    def waited(self, job: Job) -> None:
        """No connection became free for long. Counts as an attempt, so that the sender hears of the delay;
        but the last one must be a real one."""
        if self._clock.now() >= backoff.expires_at(job.route.retry, job.flight.message.arrival):
            self._park(job)
        else:
            self.unreachable(job, judge.NO_TURN)

    # A flight ends

    def _finish(self, job: Job, decided: list[Decided]) -> None:
        self._settler.settle(job.flight, decided, job.route.retry, job.route.name)

    def _keep(self, job: Job, decided: list[Decided]) -> bool:
        """Settles these recipients by themselves; whether any are left to the job. If not, it is over."""
        if decided:
            gone = {number for number, _ in decided}
            job.numbers = tuple([n for n in job.numbers if n not in gone])
            if job.numbers:
                job.flight.jobs += 1
        if decided or not job.numbers:
            self._finish(job, decided)
        return bool(job.numbers)

    def settled(self, flight: Flight) -> None:
        """One of the flight's jobs is settled."""
        flight.jobs -= 1
        if not flight.jobs:
            self._land(flight)

    def _land(self, flight: Flight) -> None:
        """The last job is settled; recipients that became due meanwhile fly again."""
        if flight.verdicts:
            left = [(n, verdict) for n, verdict in flight.verdicts.items() if n in flight.progress]
            flight.verdicts = None
            if left:
                flight.jobs = 1
                self._settler.settle(flight, left, self._snapshot().document.retry, "")
                return
        if flight.on_settled is not None:
            heard, flight.on_settled = flight.on_settled, None
            heard()
        now = self._clock.now()
        if not self.lanes.stopping and any(
            p.status is Status.WAITING and p.due <= now for p in flight.progress.values()
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


def due_at(message: Message, now: float, after: float | None = None) -> Message:
    """The message with recipients that are due later than ``after`` (than ``now``) due now."""
    latest = now if after is None else after
    pending = [msgspec.structs.replace(p, due=now) if p.due > latest else p for p in message.pending]
    return msgspec.structs.replace(message, pending=tuple(pending))
