"""Between the mail values and the index's columns.

What queries ask for are columns (``schema``); the rest of an envelope and of a
recipient's progress is one msgpack blob each, written by msgspec in array
form, so a field may be added at the end with a default. A recipient never
attempted has no blob at all.

Each blob starts with a CRC-32 of itself and of the message's id: SQLite does
not notice a flipped bit within a value, nor one that swaps two rows, and mail
must not go to an address that nobody gave for it.

Errors
    Unreadable: the row is not what was written.
"""

import zlib
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
PROGRESS_COLUMNS = "number, status, due, reason, hold, details, address"
CRC_BYTES = 4
LATEST = 253_402_300_799.0  # the end of the year 9999


class Unreadable(Exception):  # noqa: N818 the word for what happened
    """A row of the index that does not check out; the text says which part of it."""


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What never changes about a message."""

    envelope: Envelope
    origin: Origin
    queue_id: str = ""  # only where another spool gave it (``adopt``)


class Details(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What no query asks about a recipient's progress."""

    attempts: int
    warned: bool
    last_reply: Reply | None
    last_remote: Remote | None
    last_attempt: float
    quarantined: bool = False


NEVER_ATTEMPTED = Details(0, False, None, None, 0.0)

_encode = msgspec.msgpack.Encoder().encode
_sealed = msgspec.msgpack.Decoder(Sealed).decode
_details = msgspec.msgpack.Decoder(Details).decode


def seal(message_id: int, envelope: Envelope, origin: Origin, queue_id: str = "") -> bytes:
    """``queue_id``: another spool's; without one it follows from the id, and takes no room."""
    return _with_crc(message_id, _encode((envelope, origin, queue_id) if queue_id else (envelope, origin)))


def unseal(message_id: int, blob: object) -> Sealed:
    if not isinstance(blob, bytes):
        raise Unreadable("envelope: not as it was written")
    try:
        return _sealed(_checked(message_id, blob))
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unreadable(f"envelope: {error}") from error


def details_of(message_id: int, progress: Progress) -> bytes:
    return _with_crc(
        message_id,
        _encode(
            Details(
                progress.attempts,
                progress.warned,
                progress.last_reply,
                progress.last_remote,
                progress.last_attempt,
                progress.quarantined,
            )
        ),
    )


def _with_crc(message_id: int, blob: bytes) -> bytes:
    return _crc(message_id, blob) + blob


def _crc(message_id: int, blob: bytes) -> bytes:
    return zlib.crc32(blob, message_id & 0xFFFFFFFF).to_bytes(CRC_BYTES, "big")


def _checked(message_id: int, blob: bytes) -> bytes:
    content = blob[CRC_BYTES:]
    if _crc(message_id, content) != blob[:CRC_BYTES]:
        raise ValueError("checksum mismatch")
    return content


def recipient_rows(
    message_id: int, envelope: Envelope, status: Status, due: float, hold: str
) -> Iterable[Row]:
    """All of a new message's recipients."""
    for number, recipient in enumerate(envelope.recipients):
        address = recipient.address
        yield (message_id, number, int(status), due, address.lower(), domain_of(address), "", hold, None)


def adopted_rows(message_id: int, envelope: Envelope, pending: Iterable[Progress]) -> Iterable[Row]:
    """The recipients of a message that comes with its history."""
    for progress in pending:
        address = envelope.recipients[progress.number].address
        yield (
            message_id,
            progress.number,
            int(progress.status),
            progress.due,
            address.lower(),
            domain_of(address),
            progress.last_reason.value if progress.last_reason is not None else "",
            progress.hold_reason,
            details_of(message_id, progress),
        )


def progress_of(message_id: int, row: Sequence[object], envelope: Envelope) -> Progress:
    """``row`` has the columns ``PROGRESS_COLUMNS``; number and address vouch for each other."""
    match row:
        case (
            int(number),
            int(status),
            float(due),
            str(reason),
            str(hold),
            bytes() | None as details,
            str(address),
        ):
            if not is_recipient(envelope, number, address):
                raise Unreadable(f"recipient {number} is not {address}")
            try:
                more = NEVER_ATTEMPTED if details is None else _details(_checked(message_id, details))
                return Progress(
                    number,
                    Status(status),
                    due,
                    more.attempts,
                    more.warned,
                    more.last_reply,
                    Reason(reason) if reason else None,
                    more.last_remote,
                    more.last_attempt,
                    hold,
                    more.quarantined,
                )
            except (msgspec.MsgspecError, ValueError) as error:
                raise Unreadable(f"progress of recipient {number}: {error}") from error
        case _:
            raise Unreadable("progress of a recipient: not as it was written")


def is_recipient(envelope: Envelope, number: object, address: object) -> bool:
    """Whether the envelope has this address at this place."""
    recipients = envelope.recipients
    return (
        isinstance(number, int)
        and 0 <= number < len(recipients)
        and recipients[number].address.lower() == address
    )


def _named_at(message_id: int) -> float:
    """An arrival that no checksum covers, from the id, which was the time as well."""
    return min(max(message_id / 1_000_000, 0.0), LATEST)


def message_of(row: Sequence[object], progress: Iterable[Sequence[object]], tag: str) -> Message:
    """A message as the index knows it, without content.

    ``row`` has the columns ``MESSAGE_COLUMNS``, each of ``progress`` has ``PROGRESS_COLUMNS``.
    """
    match row:
        case (
            int(number),
            float(arrival),
            int(size_bytes),
            int(segment),
            int(offset),
            int(crc32),
            bytes(blob),
        ):
            sealed = unseal(number, blob)
            return Message(
                number,
                sealed.queue_id or queue_id_of(number, tag),
                sealed.envelope,
                sealed.origin,
                arrival if 0.0 <= arrival <= LATEST else _named_at(number),
                size_bytes,
                tuple([progress_of(number, one, sealed.envelope) for one in progress]),
                Place(segment, offset, size_bytes, crc32),
            )
        case _:
            raise Unreadable("message: not as it was written")


def name_of(number: int, blob: object, tag: str) -> str:
    """The queue id alone; this spool's own where the other cannot be read."""
    try:
        return unseal(number, blob).queue_id or queue_id_of(number, tag)
    except Unreadable:
        return queue_id_of(number, tag)
