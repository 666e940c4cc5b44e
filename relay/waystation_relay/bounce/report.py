"""The bytes of a report: ``multipart/report; report-type=delivery-status`` (RFC 6522, 3464, 6533).

Called by dispatch with a notice and what was read of the message it is about.
The first part is for people (``prose``), the second for programs
(``status``), the third returns the message or its header.

Invariants
    Line ends are CRLF everywhere, and no line is longer than 998 bytes unless
    the returned message has such a line.
    The envelope declares what the content is: 8BITMIME where it has 8-bit
    bytes, SMTPUTF8 where its own address needs it. Its sender is null.
    A report has 8-bit bytes only where the message it returns came in as
    8BITMIME or SMTPUTF8, so that the server it goes back to can take it;
    otherwise such bytes of the header become ``?`` and the text is encoded.
"""

import quopri
import re

import msgspec

from waystation_relay.bounce.fields import clean, date, embed, field
from waystation_relay.bounce.notices import Kind, Notice
from waystation_relay.bounce.prose import SUBJECTS, prose
from waystation_relay.bounce.status import delivery_status
from waystation_relay.mail.envelope import BodyType, Envelope, Recipient, Ret
from waystation_relay.mail.message import Message

FULL_BYTES = 1024 * 1024  # RET=FULL is honoured up to this size
UNASKED_FULL_BYTES = 50 * 1024  # without RET, messages up to this size are returned whole
HEADER_BYTES = 64 * 1024  # of the header, this much is returned

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")
_MESSAGE_ID = re.compile(
    rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[\x21-\x3b\x3d\x3f-\x7e]{1,200}>)", re.IGNORECASE | re.MULTILINE
)


class Report(msgspec.Struct, frozen=True):
    """A message of our own making, ready for the spool."""

    content: bytes
    envelope: Envelope


def wants_full(notice: Notice, message: Message) -> bool:
    """Whether the whole message is to be read and given to ``build``, or its first ``HEADER_BYTES``.

    RFC 3461 §4.3 and §6.2: the content goes back only with failures, only
    where RET does not say HDRS; how much without RET is ours to choose.
    """
    if notice.kind in (Kind.DELAY, Kind.SUCCESS) or message.envelope.ret is Ret.HEADERS:
        return False
    most = FULL_BYTES if message.envelope.ret is Ret.FULL else UNASKED_FULL_BYTES
    return message.size_bytes <= most


def build(
    notice: Notice, message: Message, original: bytes, *, hostname: str, now: float, tag: str
) -> Report:
    """``original`` is the message, or as much of its beginning as there is (nothing, where it cannot be
    read); ``tag`` is unique to this report and becomes its Message-ID."""
    asked = message.envelope
    eight_bit = asked.smtputf8 or asked.body is BodyType.EIGHT_BIT
    international = asked.smtputf8
    returned = _returned(original, international, eight_bit, wants_full(notice, message), message.size_bytes)
    status = delivery_status(notice, message, hostname, utf8=international).encode("utf-8", "replace")
    text = prose(notice, message, hostname, returned.note).encode("utf-8", "replace")
    parts = [
        _text_part(text, eight_bit=eight_bit),
        _part(
            "message/global-delivery-status" if international else "message/delivery-status",
            status,
            "Delivery status",
        ),
    ]
    if returned.content_type:
        parts.append(_part(returned.content_type, returned.content, returned.note))
    boundary = _boundary(tag, parts)
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    header = _header(notice, hostname, now, tag, boundary.decode("ascii"), _message_id(original))
    content = b"%s\r\n\r\n%s--%s--\r\n" % (header.encode("utf-8", "replace"), body, boundary)
    return Report(
        content,
        Envelope(
            reverse_path="",
            recipients=(Recipient(notice.to),),
            body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT,
            smtputf8=not notice.to.isascii(),
        ),
    )


class _Returned(msgspec.Struct, frozen=True):
    content_type: str
    content: bytes
    note: str


def _returned(
    original: bytes, international: bool, eight_bit: bool, full: bool, size_bytes: int
) -> _Returned:
    if not original:
        return _Returned("", b"", "The message itself could not be read and is not attached.")
    sound = eight_bit or original.isascii()
    if full and sound and len(original) >= size_bytes and not _BARE.search(original):
        kind = "message/global" if international else "message/rfc822"
        return _Returned(kind, original, "The message is attached.")
    kind = "message/global-headers" if international else "text/rfc822-headers"
    header = header_of(original)
    if not eight_bit:
        header = re.sub(rb"[\x80-\xff]", b"?", header)
    return _Returned(kind, header, "The header of the message is attached.")


def header_of(original: bytes) -> bytes:
    """The header with CRLF line ends, cut at a line's end when it is too long."""
    if original.startswith(b"\r\n"):
        return b""
    header = original.partition(b"\r\n\r\n")[0][:HEADER_BYTES]
    if len(header) == HEADER_BYTES:
        header = header[: max(header.rfind(b"\r\n"), 0)]
    header = header.removesuffix(b"\r\n")
    return _BARE.sub(b"?", header) + b"\r\n" if header else b""


def _message_id(original: bytes) -> str:
    found = _MESSAGE_ID.search(header_of(original))
    return found.group(1).decode("ascii") if found else ""


def _header(notice: Notice, hostname: str, now: float, tag: str, boundary: str, about: str) -> str:
    to = clean(notice.to, utf8=True)
    fields = [
        field("Date", date(now)),
        field("From", f"Mail Delivery System <MAILER-DAEMON@{hostname}>"),
        field("To", f"<{to}>" if "@" in to else to),
        field("Subject", SUBJECTS[notice.kind]),
        field("Message-ID", f"<{tag}@{hostname}>"),
        *([field("In-Reply-To", about), field("References", about)] if about else []),
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
        "Content-Type: multipart/report; report-type=delivery-status;\r\n" + f' boundary="{boundary}"',
    ]
    return "\r\n".join(fields)


def _text_part(text: bytes, *, eight_bit: bool) -> bytes:
    if text.isascii():
        encoding = b"7bit"
    elif eight_bit:
        encoding = b"8bit"
    else:
        encoding = b"quoted-printable"
        text = quopri.encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return (
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: %s\r\n"
        b"Content-Description: Notification\r\n\r\n%s" % (encoding, text)
    )


def _part(content_type: str, content: bytes, description: str) -> bytes:
    """A part whose content is sent as it is: message types and headers may not be encoded (RFC 2046 §5.2)."""
    encoding = "7bit" if content.isascii() else "8bit"
    return (
        f"Content-Type: {content_type}\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n"
        f"Content-Description: {description.rstrip('.')}\r\n\r\n"
    ).encode("ascii") + content


def _boundary(tag: str, parts: list[bytes]) -> bytes:
    """A line that no part contains."""
    base = re.sub(r"[^0-9A-Za-z]", "", embed(tag))[:40].encode("ascii") or b"waystation"
    number = 0
    while any(b"--=_%s.%d" % (base, number) in part for part in parts):
        number += 1
    return b"=_%s.%d" % (base, number)
