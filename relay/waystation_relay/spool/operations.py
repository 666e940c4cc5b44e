"""What the event loop asks of the writer thread, and what it hears back.

Made on the loop's thread complete and encoded, so that a value which cannot
be stored raises in its author's face and never inside a batch of others.
"""

from collections.abc import Callable
from typing import Any

from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Message, Status
from waystation_relay.spool import rows
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.draft import Draft, Flow
from waystation_relay.spool.index import Change, Index
from waystation_relay.spool.values import Settlement, SpoolFailure

Done = Callable[[SpoolFailure | None], None]


class Entry:
    """A message to add. Its body is in ``chunks``, or already in the file of ``flow``; ``adoption`` is what
    it has behind it when it comes from another relay."""

    __slots__ = (
        "adoption",
        "arrival",
        "chunks",
        "envelope",
        "flow",
        "hold",
        "id",
        "origin",
        "queue_id",
        "sealed",
        "size_bytes",
    )

    def __init__(
        self,
        number: int,
        queue_id: str,
        arrival: float,
        envelope: Envelope,
        origin: Origin,
        hold: str,
        size_bytes: int,
        chunks: list[bytes],
        flow: Flow | None,
        adoption: Adoption | None = None,
    ) -> None:
        assert envelope.recipients, "a message has a recipient"
        self.id = number
        self.queue_id = queue_id
        self.arrival = arrival
        self.envelope = envelope
        self.origin = origin
        self.sealed = rows.seal(number, envelope, origin, queue_id if adoption is not None else "")
        self.hold = hold
        self.size_bytes = size_bytes
        self.chunks = chunks
        self.flow = flow
        self.adoption = adoption


class Accept:
    __slots__ = ("done", "entry")

    def __init__(self, entry: Entry, done: Done) -> None:
        self.entry = entry
        self.done = done


class Settle:
    __slots__ = ("change", "done", "entries")

    def __init__(self, change: Change, entries: list[Entry], done: Done | None) -> None:
        self.change = change
        self.entries = entries
        self.done = done


class Write:
    """Bytes of a streaming draft."""

    __slots__ = ("chunks", "flow")

    def __init__(self, flow: Flow, chunks: list[bytes]) -> None:
        self.flow = flow
        self.chunks = chunks


class Drop:
    """A streaming draft was discarded."""

    __slots__ = ("flow",)

    def __init__(self, flow: Flow) -> None:
        self.flow = flow


class Job:
    """Anything else in the transaction. ``done(result, None)`` after commit, else ``done(None, failure)``."""

    __slots__ = ("apply", "done")

    def __init__(
        self, apply: Callable[[Index], Any], done: Callable[[Any, SpoolFailure | None], None]
    ) -> None:
        self.apply = apply
        self.done = done


class Condemn:
    """A body cannot be read: set it aside, hold its recipients. ``done()`` follows, whatever came of it."""

    __slots__ = ("done", "message_id", "why")

    def __init__(self, message_id: int, why: str, done: Callable[[], None]) -> None:
        self.message_id = message_id
        self.why = why
        self.done = done


class Mend:
    """Rows of a message do not check out: write them down, put the message right. ``done()`` follows."""

    __slots__ = ("done", "message_id", "why")

    def __init__(self, message_id: int, why: str, done: Callable[[], None]) -> None:
        self.message_id = message_id
        self.why = why
        self.done = done


class Break:
    """A reader found the index itself damaged."""

    __slots__ = ("failure",)

    def __init__(self, failure: SpoolFailure) -> None:
        self.failure = failure


class Wake:
    """Nothing to do but to look around: the limits are new."""

    __slots__ = ()


class Stop:
    """Commit what came before, then end."""

    __slots__ = ()


Operation = Accept | Settle | Write | Drop | Job | Condemn | Mend | Break | Wake | Stop


class Report:
    """What the loop's thread is told after a batch, in the order it acts on it."""

    __slots__ = ("broken", "calls", "commits_s", "messages", "written")

    def __init__(self) -> None:
        self.commits_s: list[float] = []  # how long each took
        self.broken: SpoolFailure | None = None
        self.written: list[tuple[Draft, int]] = []
        self.messages: list[Message] = []
        self.calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def __bool__(self) -> bool:
        return bool(self.calls or self.messages or self.written or self.broken)


def change_of(settlement: Settlement) -> Change:
    """A settlement as index rows."""
    number = settlement.message_id
    updated: list[rows.Row] = []
    held: list[rows.Row] = []
    for progress in settlement.updates:
        reason = progress.last_reason.value if progress.last_reason is not None else ""
        updated.append((progress.due, reason, rows.details_of(number, progress), number, progress.number))
        if progress.status is Status.HELD:
            held.append((progress.hold_reason, number, progress.number))
    return Change(number, updated, held, [(number, gone) for gone in settlement.removed])
