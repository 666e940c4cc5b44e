"""One destination's jobs and connections.

A lane gives waiting jobs to idle connections, opens more while its window
allows, and says when neither will do. It owns no tasks and no clock: ``lanes``
calls in with what happened and the lane calls back what to do.

Invariants
    Every job handed in comes out once: begun on a connection or turned away.
    ``opening + len(connections)`` is the number of window slots held.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.target import Target
from waystation_relay.dispatch.flight import Job
from waystation_relay.mail.outcome import Failed, Outcome
from waystation_relay.schedule.window import Verdict, Window


class Desk(Protocol):
    """What a lane needs of ``lanes``."""

    def open(self, lane: "Lane") -> None: ...
    def begin(self, lane: "Lane", job: Job, connection: Connection) -> None: ...
    def turned_away(self, job: Job, outcome: Outcome) -> None: ...
    def has_slot(self, lane: "Lane") -> bool: ...
    def wants(self, job: Job) -> bool: ...
    def may_begin(self) -> bool: ...


class Lane:
    def __init__(
        self,
        target: Target,
        window: Window,
        desk: Desk,
        *,
        monotonic: Callable[[], float],
        roll: Callable[[], float],
    ) -> None:
        self.target = target
        self.window = window
        self.jobs: deque[Job] = deque()
        self.connections: set[Connection] = set()
        self.idle: list[Connection] = []
        self.opening = 0
        self.proven = False  # with ``slots`` it is ``turns`` that keeps them: it answered when last sent mail
        self.slots = 0  # until a connection that was dismissed is really closed
        self.trouble: Outcome | None = None  # why the last connection could not be had
        self._desk = desk
        self._monotonic = monotonic
        self._roll = roll

    @property
    def is_empty(self) -> bool:
        return not (self.jobs or self.connections or self.opening)

    @property
    def busy(self) -> int:
        return len(self.connections) - len(self.idle)

    def add(self, job: Job) -> None:
        job.since = self._monotonic()
        self.jobs.append(job)
        self.pump()

    def put_back(self, job: Job) -> None:
        """It was begun on a connection that is gone: the next one is for it."""
        self.jobs.appendleft(job)
        self.pump()

    def impatient(self, since: float) -> list[Job]:
        """Takes out the jobs that joined before ``since``: they waited long enough for a connection."""
        jobs, gone = self.jobs, []
        while jobs and jobs[0].since < since:
            gone.append(jobs.popleft())
        return gone

    def pump(self) -> None:
        """Does all that can be done now for the waiting jobs."""
        if not self._desk.may_begin():
            return
        while self.jobs and self.idle:
            job = self.jobs.popleft()
            if self._desk.wants(job):
                self._desk.begin(self, job, self.idle.pop())
        if not self.jobs:
            return
        now = self._monotonic()
        while len(self.jobs) > self.opening and self.window.may_start(now) and self._desk.has_slot(self):
            self.window.acquire(now)
            self.opening += 1
            self._desk.open(self)
        served = self.opening or self.connections
        if self.trouble is not None and not served and self.window.opens_at(now) is not None:
            self._turn_all_away(self.trouble)

    def opened(self, connection: Connection) -> None:
        self.opening -= 1
        self.connections.add(connection)
        self.idle.append(connection)
        self.pump()

    def refused(self, outcome: Outcome) -> None:
        """No connection could be had. Jobs stay only while other connections may still take them."""
        self.opening -= 1
        self.trouble = outcome
        # A domain that takes no mail is not in trouble; and an answer that is final must not be kept for
        # mail to come, as that of a closed window would be: each look-up is DNS's to answer, and to cache.
        verdict = Verdict.GOOD if isinstance(outcome, Failed) else Verdict.BROKEN
        self.window.release(verdict, self._monotonic(), self._roll())
        if not self.connections and not self.opening:
            self._turn_all_away(outcome)

    def unwanted(self) -> None:
        """A connection came about, or did not, that is of no use any more."""
        self.opening -= 1
        self.window.release(Verdict.GOOD, self._monotonic(), self._roll())
        self.pump()

    def finished(
        self, connection: Connection, verdict: Verdict, *, reusable: bool, trouble: Outcome | None = None
    ) -> bool:
        """A transaction ended; whether the connection stays. If so it takes the next job or waits for one."""
        self.trouble = trouble
        if verdict is Verdict.GOOD:
            self.window.succeeded()
        if not reusable or connection not in self.connections:
            self.lost(connection, verdict)
            return False
        if verdict is Verdict.BUSY:
            self.window.throttled(self._monotonic(), self._roll())
        if self.window.is_overfull:
            self.lost(connection)
            return False
        self.idled(connection)
        return True

    def idled(self, connection: Connection) -> None:
        """The connection has nothing to do (any more)."""
        self.idle.append(connection)
        self.pump()

    def slammed(self, connection: Connection, outcome: Outcome) -> None:
        """The other side closed it before its first transaction."""
        self.trouble = outcome
        self.lost(connection, Verdict.BROKEN)

    def lost(self, connection: Connection, verdict: Verdict = Verdict.GOOD) -> None:
        """The connection is gone or is to go."""
        if connection not in self.connections:
            return
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self.window.release(verdict, self._monotonic(), self._roll())
        self.pump()

    def _turn_all_away(self, outcome: Outcome) -> None:
        jobs, self.jobs = self.jobs, deque()
        for job in jobs:
            self._desk.turned_away(job, outcome)
