"""8-bit MIME content rewritten as 7-bit, for a server without 8BITMIME (RFC 6152 §3, RFC 2045 §6).

Only what must change does: each leaf that holds 8-bit data is encoded
(text/* as quoted-printable, the rest as base64), its
Content-Transfer-Encoding replaced, that of the entities around it set to 7bit.
Everything else keeps its bytes. Pure.

Errors
    ConversionError: a signature would be broken (multipart/signed), 8-bit data
    in a header, between parts or under an encoding that allows none, or a type
    whose encoding is fixed. The caller then fails the message.
Known limits
    A DKIM signature over the old encoding does not survive; RFC 6376 §5.3 asks
    signers to sign 7-bit content for that reason.
"""

import binascii
import re
from email.message import Message
from email.parser import BytesHeaderParser

_ENCODING = re.compile(
    rb"^content-transfer-encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE
)
_IDENTITY = frozenset({"", "7bit", "8bit", "binary"})
_DEPTH = 32  # entities inside entities
_BASE64_LINE_BYTES = 57  # 76 characters when encoded


class ConversionError(Exception):
    """Why not, to follow "and" in a sentence."""


def to_seven_bit(content: bytes) -> bytes:
    """The whole message, every byte of it below 128."""
    return _entity(content, _DEPTH, outermost=True)


def _entity(content: bytes, depth: int, *, outermost: bool = False, default: str = "text/plain") -> bytes:
    if content.isascii():
        return content
    if not depth:
        raise ConversionError("its parts are nested too deeply")
    header, body = _divide(content)
    if not header.isascii():
        raise ConversionError("its header holds 8-bit data")
    fields: Message = BytesHeaderParser().parsebytes(header)
    fields.set_default_type(default)
    encoding = str(fields.get("content-transfer-encoding", "")).partition(";")[0].strip().lower()
    if encoding not in _IDENTITY:
        raise ConversionError(f"a part encoded as {encoding} holds 8-bit data")
    if outermost and "mime-version" not in fields:
        header += b"MIME-Version: 1.0\r\n"
        if "content-type" not in fields:  # RFC 1428 §2
            header += b"Content-Type: text/plain; charset=unknown-8bit\r\n"
    kind, subtype = fields.get_content_maintype(), fields.get_content_subtype()
    if kind == "multipart":
        if subtype in {"signed", "encrypted"}:
            raise ConversionError(f"it is multipart/{subtype}, which must not be changed")
        implied = "message/rfc822" if subtype == "digest" else "text/plain"  # RFC 2046 §5.1.5
        parts = _parts(body, fields.get_boundary(), depth, implied)
        return _with_encoding(header, b"7bit") + b"\r\n" + parts
    if kind == "message":
        if subtype != "rfc822":
            raise ConversionError(f"it holds message/{subtype}, which must not be encoded")
        return _with_encoding(header, b"7bit") + b"\r\n" + _entity(body, depth - 1)
    if kind == "text":
        return _with_encoding(header, b"quoted-printable") + b"\r\n" + _quoted_printable(body)
    return _with_encoding(header, b"base64") + b"\r\n" + _base64(body)


def _divide(content: bytes) -> tuple[bytes, bytes]:
    """(header fields with their line ends, body); the blank line between them belongs to neither."""
    if content.startswith(b"\r\n"):
        return b"", content[2:]
    header, blank, body = content.partition(b"\r\n\r\n")
    return (header + b"\r\n", body) if blank else (content, b"")


def _with_encoding(header: bytes, encoding: bytes) -> bytes:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    if _ENCODING.search(header):
        return _ENCODING.sub(field, header, count=1)
    return header + field


def _parts(body: bytes, boundary: str | None, depth: int, default: str) -> bytes:
    if not boundary:
        raise ConversionError("a multipart of it names no boundary")
    delimiter = re.compile(
        rb"(?:^|\r\n)--" + re.escape(boundary.encode("ascii", "replace")) + rb"(--)?[ \t]*(?=\r\n|\Z)"
    )
    pieces: list[bytes] = []
    at = 0
    inside = False
    for found in delimiter.finditer(body):
        pieces += [_piece(body[at : found.start()], depth, default, is_part=inside), found[0]]
        at = found.end()
        inside = not found[1]
        if not inside:
            break
    pieces.append(_piece(body[at:], depth, default, is_part=inside))
    return b"".join(pieces)


def _piece(piece: bytes, depth: int, default: str, *, is_part: bool) -> bytes:
    """What lies between two delimiters; a part begins with the line end of its delimiter."""
    if piece.isascii():
        return piece
    if not is_part:
        raise ConversionError("it holds 8-bit data outside of its parts")
    return piece[:2] + _entity(piece[2:], depth - 1, default=default)


def _quoted_printable(body: bytes) -> bytes:
    """binascii breaks lines as the first line of the text ends, and with a bare LF where none does."""
    if b"\n" in body:
        return binascii.b2a_qp(body, quotetabs=False, istext=True, header=False)
    return binascii.b2a_qp(body + b"\r\n", quotetabs=False, istext=True, header=False).removesuffix(b"\r\n")


def _base64(body: bytes) -> bytes:
    return b"".join(
        binascii.b2a_base64(body[at : at + _BASE64_LINE_BYTES], newline=False) + b"\r\n"
        for at in range(0, len(body), _BASE64_LINE_BYTES)
    )
