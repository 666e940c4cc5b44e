"""A message on its way to another relay: the bytes, and what must be true of them. Pure.

    stream := MAGIC, a frame and a body for each message, END
    frame  := length (4), CRC-32 (4), msgpack of a ``Parcel``
    body   := as many bytes as the parcel says, with the CRC-32 it says
    END    := a frame without content

Numbers are big-endian. Fields may be added at a parcel's end, with a default;
anything else is a new format, with a new ``MAGIC``.

Errors
    Malformed: these are not the bytes of a relay, or not all that it sent.
"""

import enum
import math
import re
import struct
import zlib
from collections.abc import Iterator

import msgspec

from waystation_relay.mail.envelope import Envelope
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.identity import is_queue_id

FORMAT = 1
MAGIC = b"WSHO" + bytes([FORMAT])
FRAME = struct.Struct(">II")
END = FRAME.pack(0, 0)
LARGEST_BYTES = 16 * 2**20  # of a frame: recipients by the hundred thousand, each with what was said of it
LATEST = 253_402_300_799.0  # the end of the year 9999
BREAK = re.compile("[\r\n\0]")


class Malformed(Exception):  # noqa: N818 -- the word for what it is
    """The text says where it is wrong."""


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """All of a message but its body."""

    adoption: Adoption
    size_bytes: int
    crc32: int


class Mark(enum.Enum):
    """``WHOLE``: the body of the last parcel has come and is as it was; ``END``: so has everything."""

    WHOLE = 0
    END = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Parcel).decode


def frame(parcel: Parcel) -> bytes:
    """Raises Malformed for what another relay would not take: damage that no checksum covers."""
    content = _encode(parcel)
    wrong = _wrong(parcel) or ("is larger than a frame" if len(content) > LARGEST_BYTES else "")
    if wrong:
        raise Malformed(f"a message {wrong}")
    return FRAME.pack(len(content), zlib.crc32(content)) + content


class Decoder:
    """Fed with pieces of any size. Holds one frame at most; bodies are passed on as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun = False
        self._parcel: Parcel | None = None  # whose body is coming
        self._left = 0  # bytes of it
        self._crc32 = 0
        self.ended = False

    def feed(self, data: bytes) -> Iterator[Parcel | bytes | Mark]:
        """What is complete by now: parcels, pieces of bodies, marks. To be exhausted before more is fed."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            if not self._begun:
                if buffer[: len(MAGIC)] != MAGIC[: len(buffer)]:
                    raise Malformed(f"it does not begin as format {FORMAT} does")
                if len(buffer) < len(MAGIC):
                    return
                self._begun, at = True, len(MAGIC)
            while not self.ended:
                if self._parcel is not None:
                    piece = bytes(buffer[at : at + self._left])
                    if self._left and not piece:
                        return
                    at += len(piece)
                    yield from self._took(piece)
                    continue
                if len(buffer) - at < FRAME.size:
                    return
                length, crc32 = FRAME.unpack_from(buffer, at)
                if length > LARGEST_BYTES:
                    raise Malformed(f"a frame of {length} bytes")
                if len(buffer) - at < FRAME.size + length:
                    return
                content = bytes(buffer[at + FRAME.size : at + FRAME.size + length])
                if zlib.crc32(content) != crc32:
                    raise Malformed("a frame is not what was sent")
                at += FRAME.size + length
                if not length:
                    self.ended = True
                    yield Mark.END
                else:
                    self._parcel = parcel = checked(content)
                    self._left, self._crc32 = parcel.size_bytes, 0
                    yield parcel
            if len(buffer) > at:
                raise Malformed("something follows the end")
        finally:
            del buffer[:at]

    def _took(self, piece: bytes) -> Iterator[bytes | Mark]:
        self._left -= len(piece)
        self._crc32 = zlib.crc32(piece, self._crc32)
        if piece:
            yield piece
        if not self._left:
            assert self._parcel is not None
            if self._crc32 != self._parcel.crc32:
                raise Malformed(f"the body of {self._parcel.adoption.queue_id} is not what was sent")
            self._parcel = None
            yield Mark.WHOLE


def checked(content: bytes) -> Parcel:
    try:
        parcel = _decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"a frame cannot be read: {error}") from None
    wrong = _wrong(parcel)
    if wrong:
        raise Malformed(f"a message {wrong}")
    return parcel


def _wrong(parcel: Parcel) -> str:
    """What no relay would send; "" when all is well."""
    what = parcel.adoption
    numbers = {progress.number for progress in what.pending}
    times = [what.arrival, *(t for p in what.pending for t in (p.due, p.last_attempt))]
    if not (is_queue_id(what.name) and is_queue_id(what.queue_id)):
        return f"has no queue id but {what.queue_id[:80]!r}"
    if not numbers or len(numbers) < len(what.pending):
        return "has nobody to go to, or somebody twice"
    if not 0 <= min(numbers) <= max(numbers) < len(what.envelope.recipients):
        return "goes to somebody whom its envelope does not name"
    if any(BREAK.search(text) for text in _spoken(what.envelope)):
        return "says more than one line where it may say one"
    if not all(math.isfinite(t) and 0.0 <= t <= LATEST for t in times):
        return "is of no time"
    if not (0 <= parcel.size_bytes < 2**40 and 0 <= parcel.crc32 < 2**32):
        return "has an impossible size"
    if any(progress.attempts < 0 for progress in what.pending):
        return "was attempted less than never"
    return ""


def _spoken(envelope: Envelope) -> Iterator[str]:
    """What becomes part of a command to the next server."""
    yield envelope.reverse_path
    yield envelope.envid or ""
    for recipient in envelope.recipients:
        yield recipient.address
        yield recipient.orcpt or ""
