"""What waits for the writer, and how much of it makes one batch.

The inbox is the only thing that the loop's thread and the writer share. A
batch is everything that waits, up to ``batch_operations`` and about
``batch_bytes``. A sync costs the same for one message as for many, so two
things wait a little for company:

- a message, while others are arriving and each further ``gather_s`` brings
  one, ``gather_rounds`` times at most; a lone client never waits;
- the outcome of an attempt, which nobody waits for, until the next message
  comes, ``patient_s`` at most.
"""

import collections
import queue
from collections.abc import Callable, Sequence

from waystation_relay.spool.operations import (
    Accept,
    Break,
    Condemn,
    Drop,
    Job,
    Mend,
    Operation,
    Settle,
    Stop,
    Wake,
    Write,
)
from waystation_relay.spool.values import SpoolFailure, Tuning

CALL = Wake()  # of those who put something beside the queue


class Inbox:
    """The ``put…`` on the loop's thread (``put`` on any), ``take`` on the writer's alone.

    ``arriving``: how many messages are on their way in.

    Invariants
        A streaming draft's pieces and its acceptance are taken in their order (both by ``put``).
        ``Stop`` is taken last.
    """

    def __init__(self, tuning: Tuning, arriving: Callable[[], int]) -> None:
        self._tuning = tuning
        self._arriving = arriving
        self._queue: queue.SimpleQueue[Operation] = queue.SimpleQueue()
        self._accepts: collections.deque[Accept] = collections.deque()
        self._settles: collections.deque[Settle] = collections.deque()
        self._called = False  # the writer has not heard the last call yet
        self._gathers = False  # it waits for messages that are arriving: only the last of them calls
        self.put = self._queue.put

    def put_accept(self, accept: Accept) -> None:
        self._accepts.append(accept)
        if not self._arriving() if self._gathers else not self._called:
            self._call()

    def put_settle(self, settle: Settle) -> None:
        self._settles.append(settle)
        if not (self._gathers or self._called):
            self._call()

    def take(self, patience_s: float | None) -> list[Operation]:
        """What waits, at least one operation unless ``patience_s`` runs out first."""
        first = self._get(patience_s)
        self._called = False
        if first is None:
            return []
        taken = [first]
        if first is CALL and not self._accepts and (more := self._get(self._tuning.patient_s)) is not None:
            taken.append(more)
        if self._accepts:
            self._gathers = True
            self._gather(taken)
            self._gathers = False
        self._fill(taken)
        return taken

    def _call(self) -> None:
        self._called = True
        self.put(CALL)

    def _get(self, within_s: float | None) -> Operation | None:
        try:
            if within_s is not None and within_s <= 0:
                return self._queue.get_nowait()
            return self._queue.get(timeout=within_s)
        except queue.Empty:
            return None

    def _gather(self, taken: list[Operation]) -> None:
        """Waits while messages are arriving and keep coming."""
        for _ in range(self._tuning.gather_rounds):
            before = len(self._accepts)
            if not self._arriving():
                return
            if (operation := self._get(self._tuning.gather_s)) is not None:
                taken.append(operation)
            if len(self._accepts) == before:
                return

    def _fill(self, taken: list[Operation]) -> None:
        most, most_bytes = self._tuning.batch_operations, self._tuning.batch_bytes
        size_bytes = sum(map(_size, taken))
        for _ in range(self._queue.qsize()):
            if len(taken) >= most or size_bytes > most_bytes:
                break
            operation = self._queue.get_nowait()  # nobody else takes
            if operation is not CALL:
                size_bytes += _size(operation)
                taken.append(operation)
        self._called = False  # calls were among them; what comes too late for this batch calls again
        for waiting in (self._accepts, self._settles):
            while waiting and len(taken) < most and size_bytes <= most_bytes:
                size_bytes += _size(waiting[0])
                taken.append(waiting.popleft())
        if self._accepts or self._settles:  # the next batch's
            self._call()
            for stop in [operation for operation in taken if isinstance(operation, Stop)]:
                taken.remove(stop)
                self.put(stop)


class Batch:
    """Operations by kind, each kind in its order. Whoever has answered operations clears their list."""

    __slots__ = ("accepts", "broken", "damage", "flows", "is_idle", "is_last", "jobs", "settles")

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.accepts: list[Accept] = []
        self.settles: list[Settle] = []
        self.jobs: list[Job] = []
        self.damage: list[Condemn | Mend] = []
        self.flows: list[Write | Drop] = []
        self.broken: SpoolFailure | None = None
        self.is_idle = not operations
        self.is_last = False
        for operation in operations:
            match operation:
                case Accept():
                    self.accepts.append(operation)
                case Settle():
                    self.settles.append(operation)
                case Write() | Drop():
                    self.flows.append(operation)
                case Job():
                    self.jobs.append(operation)
                case Condemn() | Mend():
                    self.damage.append(operation)
                case Break(failure=failure):
                    self.broken = failure
                case Wake():
                    pass
                case Stop():
                    self.is_last = True

    def __bool__(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.accepts or self.settles or self.jobs)


def _size(operation: Operation) -> int:
    match operation:
        case Accept(entry=entry):
            return entry.size_bytes if entry.flow is None else 0
        case Settle(entries=entries):
            return sum(entry.size_bytes for entry in entries)
        case Write(chunks=chunks):
            return sum(map(len, chunks))
        case _:
            return 0
