"""A message in the queue: its envelope, what is still to do, and where its bytes are."""

import enum

import msgspec

from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import Reply


class Status(enum.IntEnum):
    """A recipient's place in the queue. A recipient that is delivered or bounced has none: it is gone."""

    WAITING = 0  # will be attempted when due
    HELD = 1  # a person, or a quarantine route, must release it


class Progress(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One recipient that is still to be delivered.

    ``number`` is its place in ``envelope.recipients``. Times are Unix seconds.
    """

    number: int
    status: Status = Status.WAITING
    due: float = 0.0
    attempts: int = 0
    warned: bool = False  # the delay warning has been sent
    last_reply: Reply | None = None
    last_reason: Reason | None = None
    last_remote: Remote | None = None
    last_attempt: float = 0.0
    hold_reason: str = ""
    quarantined: bool = False  # a quarantine route held it once; if it waits again, a person let it pass


class Place(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where the body's bytes are: ``segment`` 0 is the index itself, else the file of that number."""

    segment: int
    offset: int
    length: int
    crc32: int


class Message(msgspec.Struct, frozen=True):
    """One queued message. ``id`` orders by arrival and is unique in its spool, ``queue_id`` anywhere.

    ``content`` holds the bytes only while they are warm (just accepted and
    small); who needs them asks the spool, which answers from here or from disk.
    ``pending`` has one entry for each recipient not yet settled.
    """

    id: int
    queue_id: str
    envelope: Envelope
    origin: Origin
    arrival: float
    size_bytes: int
    pending: tuple[Progress, ...]
    place: Place | None = None
    content: bytes | None = None
