"""Between the mail values and the index's columns.

What queries ask for are columns (``schema``); the rest of an envelope and of a
recipient's progress is one msgpack blob each, written by msgspec in array
form, so a field may be added at the end with a default. A recipient never
attempted has no blob at all.
"""

from collections.abc import Iterable, Sequence

import msgspec

from waystation_relay.mail.address import domain_of
from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Message, Place, Progress, Status
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.spool.identity import queue_id_of

Row = tuple[object, ...]

MESSAGE_COLUMNS = "id, arrival, size_bytes, segment, offset, crc32, sealed"
RECIPIENT_COLUMNS = "message_id, number, status, due, reason, hold, details"


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What never changes about a message."""

    envelope: Envelope
    origin: Origin


class Details(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What no query asks about a recipient's progress."""

    attempts: int
    warned: bool
    last_reply: Reply | None
    last_remote: Remote | None
    last_attempt: float


encode = msgspec.msgpack.Encoder().encode
_sealed = msgspec.msgpack.Decoder(Sealed).decode
_details = msgspec.msgpack.Decoder(Details).decode


def seal(envelope: Envelope, origin: Origin) -> bytes:
    return encode(Sealed(envelope, origin))


def unseal(blob: bytes) -> Sealed:
    return _sealed(blob)


def details_of(progress: Progress) -> bytes:
    return encode(
        Details(
            progress.attempts,
            progress.warned,
            progress.last_reply,
            progress.last_remote,
            progress.last_attempt,
        )
    )


def recipient_rows(
    message_id: int, envelope: Envelope, status: Status, due: float, hold: str
) -> Iterable[Row]:
    """All of a new message's recipients."""
    for number, recipient in enumerate(envelope.recipients):
        address = recipient.address
        yield (message_id, number, int(status), due, address.lower(), domain_of(address), "", hold, None)


def progress_of(
    number: int, status: int, due: float, reason: str, hold: str, details: bytes | None
) -> Progress:
    if details is None:
        return Progress(
            number=number,
            status=Status(status),
            due=due,
            last_reason=Reason(reason) if reason else None,
            hold_reason=hold,
        )
    more = _details(details)
    return Progress(
        number=number,
        status=Status(status),
        due=due,
        attempts=more.attempts,
        warned=more.warned,
        last_reply=more.last_reply,
        last_reason=Reason(reason) if reason else None,
        last_remote=more.last_remote,
        last_attempt=more.last_attempt,
        hold_reason=hold,
    )


def message_of(row: Sequence[object], pending: tuple[Progress, ...], tag: str) -> Message:
    """A message as the index knows it: without content."""
    number, arrival, size_bytes, segment, offset, crc32, blob = row
    assert isinstance(number, int)
    assert isinstance(arrival, float)
    assert isinstance(size_bytes, int)
    assert isinstance(segment, int)
    assert isinstance(offset, int)
    assert isinstance(crc32, int)
    assert isinstance(blob, bytes)
    sealed = _sealed(blob)
    return Message(
        id=number,
        queue_id=queue_id_of(number, tag),
        envelope=sealed.envelope,
        origin=sealed.origin,
        arrival=arrival,
        size_bytes=size_bytes,
        pending=pending,
        place=Place(segment, offset, size_bytes, crc32),
    )
