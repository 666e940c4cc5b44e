"""What waits for the writer, and how much of it makes one batch.

The inbox is the only thing that the loop's thread and the writer share. A
batch is everything that waits, up to ``batch_operations`` and about
``batch_bytes``: load makes batches larger, and nothing waits on a timer.
"""

import queue
from collections.abc import Sequence

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


class Inbox:
    """``put`` from any thread; ``take`` on the writer's alone."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._queue: queue.SimpleQueue[Operation] = queue.SimpleQueue()
        self.put = self._queue.put

    def take(self, patience_s: float | None) -> list[Operation]:
        """What waits, at least one operation unless ``patience_s`` runs out first."""
        waiting = self._queue
        try:
            if patience_s is not None and patience_s <= 0:
                taken = [waiting.get_nowait()]
            else:
                taken = [waiting.get(timeout=patience_s)]
        except queue.Empty:
            return []
        size_bytes = _size(taken[0])
        for _ in range(min(waiting.qsize(), self._tuning.batch_operations - 1)):
            if size_bytes > self._tuning.batch_bytes:
                break
            operation = waiting.get_nowait()  # nobody else takes
            size_bytes += _size(operation)
            taken.append(operation)
        return taken


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
