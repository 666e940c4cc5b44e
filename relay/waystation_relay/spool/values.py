"""What the spool takes and gives: frozen values, its limits and its errors.

Nothing here does anything. Times are Unix seconds, sizes are bytes, message
ids are the spool's own integers (``mail.message.Message.id``).
"""

import enum
import math

import msgspec

from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Progress, Status

KIB = 1024
MIB = 1024 * KIB


class SpoolLimits(msgspec.Struct, frozen=True):
    """When intake stops; reloaded without a restart.

    The spool refuses new mail when the queue holds ``full_at_percent`` of
    ``max_bytes``, or when the volume has less room left than the remainder
    (``100 - full_at_percent`` percent) of ``max_bytes`` or of itself,
    whichever is smaller.
    """

    max_bytes: int = 10 * 1024 * MIB
    full_at_percent: int = 90


class Tuning(msgspec.Struct, frozen=True):
    """Sizes chosen by measurement (``docs/design/spool.md``); tests shrink them."""

    inline_bytes: int = 16 * KIB  # bodies up to this are rows of the index
    memory_bytes: int = 1 * MIB  # drafts up to this wait in memory, larger ones are streamed to a file
    warm_bytes: int = 256 * KIB  # accepted bodies up to this travel with on_accepted
    segment_bytes: int = 64 * MIB  # a shared segment is sealed at this size
    spare_segments: int = 2  # dead segments kept for overwriting: a third of the cost of growing a file
    compact_below_percent: int = 25  # a sealed segment with less live than this is copied out
    compact_step_bytes: int = 1 * MIB  # copied between two batches
    stream_chunk_bytes: int = 256 * KIB  # what a streaming draft gathers before it is handed to the writer
    stream_sync_bytes: int = 8 * MIB  # a stream is synced this often, so that its last sync is short
    batch_operations: int = 1000
    batch_bytes: int = 8 * MIB
    gather_s: float = 0.0005  # a batch waits for company, while some is arriving, this long
    gather_rounds: int = 2  # and that many times, while each brought some
    patient_s: float = 0.01  # how long outcomes of attempts wait for a message to be committed with
    checkpoint_pages: int = 4000  # WAL pages after which the writer checkpoints, behind the callbacks
    shrink_free_bytes: int = 64 * MIB  # free pages of the index worth giving back to the volume
    shrink_live_bytes: int = 16 * MIB  # while no more than this has to be rewritten for it
    probe_interval_s: float = 5.0  # how often a failing spool is tried again


class Cursor(msgspec.Struct, frozen=True, order=True):
    """A place in the order of due times. ``Cursor()`` is before everything."""

    due: float = -math.inf
    id: int = 0


class NewMessage(msgspec.Struct, frozen=True):
    """A message of our own making (a report). ``content`` is complete: RFC 5322, CRLF line ends."""

    envelope: Envelope
    origin: Origin
    content: bytes
    hold: str = ""


class Settlement(msgspec.Struct, frozen=True):
    """What became of a message's recipients after an attempt; committed whole or not at all.

    ``updates`` are recipients that stay, with their new state; a recipient a
    person has held meanwhile stays held whatever the update says. ``removed``
    are the numbers of those finished; with the last of them goes the message.
    """

    message_id: int
    updates: tuple[Progress, ...] = ()
    removed: tuple[int, ...] = ()
    new: tuple[NewMessage, ...] = ()


class Query(msgspec.Struct, frozen=True):
    """Which messages: every condition given must hold, those on recipients for one and the same recipient.

    Addresses and domains compare without regard to case. ``reason`` is the
    one word of the last deferral (``mail.outcome.Reason``) or the text given
    when held.
    """

    sender: str | None = None
    sender_domain: str | None = None
    recipient: str | None = None
    domain: str | None = None
    older_than_s: float | None = None
    younger_than_s: float | None = None
    reason: str | None = None
    status: Status | None = None
    queue_ids: tuple[str, ...] | None = None


class Hold(msgspec.Struct, frozen=True):
    """Waiting recipients are held until released."""

    reason: str


class Release(msgspec.Struct, frozen=True):
    """Held recipients wait again, due at once."""


class RetryNow(msgspec.Struct, frozen=True):
    """Waiting recipients are due at once."""


class Delete(msgspec.Struct, frozen=True):
    """Recipients leave the queue without a report; ``reason`` is for the log."""

    reason: str


Action = Hold | Release | RetryNow | Delete


class FailureKind(enum.StrEnum):
    FULL = "full"
    READ_ONLY = "read-only"
    IO = "io"
    CORRUPT = "corrupt"  # the index seems not what was written: the next start looks closely
    CLOSED = "closed"


class SpoolFailure(msgspec.Struct, frozen=True):
    """Nothing of this was committed. ``permanent``: nor will anything be until the process restarts."""

    kind: FailureKind
    text: str
    permanent: bool = False


class RefusalKind(enum.StrEnum):
    FULL = "full"
    READ_ONLY = "read-only"
    FAILING = "failing"


class Refusal(msgspec.Struct, frozen=True):
    kind: RefusalKind
    text: str


class ReadFailureKind(enum.StrEnum):
    GONE = "gone"  # settled or deleted meanwhile
    CORRUPT = "corrupt"  # set aside, recipients held
    IO = "io"  # may work later


class ReadFailure(msgspec.Struct, frozen=True):
    kind: ReadFailureKind
    text: str


class SpoolStats(msgspec.Struct, frozen=True):
    """The queue in numbers, as of the last commit."""

    messages: int = 0
    waiting: int = 0  # recipients
    held: int = 0  # recipients
    size_bytes: int = 0
    oldest_arrival: float | None = None
    segments: int = 0
    segment_bytes: int = 0  # on disk, dead records included
    segment_live_bytes: int = 0
    commits: int = 0  # since start
    unsettled: int = 0  # settlements waiting for a failing disk


class SpoolError(Exception):
    """The spool cannot be opened. The text names the directory and what to do."""


class Locked(SpoolError):  # noqa: N818 the word for what happened
    def __init__(self, directory: str, pid: int | None) -> None:
        self.pid = pid
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"spool {directory} is in use by {owner}: stop it, or choose another directory")


class NewerFormat(SpoolError):  # noqa: N818 the word for what happened
    def __init__(self, directory: str, found: int, known: int) -> None:
        self.found, self.known = found, known
        super().__init__(
            f"spool {directory} has format {found}, this version knows formats up to {known}: "
            "run the newer version; nothing was changed"
        )


class Unusable(SpoolError):  # noqa: N818 the word for what happened
    def __init__(self, directory: str, why: str) -> None:
        super().__init__(f"spool {directory} cannot be used: {why}")


class SpoolUnavailable(Exception):  # noqa: N818 the word for what happened
    """An administrative change could not be committed; ``failure`` says why."""

    def __init__(self, failure: SpoolFailure) -> None:
        self.failure = failure
        super().__init__(failure.text)
