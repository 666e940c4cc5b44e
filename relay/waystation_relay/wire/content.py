"""Message content on its way in: where it ends, and what is wrong with it.

Only CR LF ends a line, and only CR LF "." CR LF ends the data: a server that
is more generous can be made to see two messages where another sees one (SMTP
smuggling). A bare CR or LF is noted, not interpreted, so that the message can be
refused whole.
"""

import io
from collections.abc import Callable

from waystation_relay.wire.stuffing import find_dotted

_END = b"\r\n.\r\n"
_HEADER_END = b"\r\n\r\n"
_CHUNK_DIGITS = 12
HEADER_BYTES = 256 * 1024  # no further than this is a header followed

Take = Callable[[bytes], None]


class Inspector:
    """Looks at content as it passes, in pieces that never divide a CR LF pair."""

    __slots__ = ("_line_ends", "_seen", "eight_bit", "header", "nul", "size_bytes")

    def __init__(self) -> None:
        self.size_bytes = 0
        # Notes which kinds of line end it has seen; four times as fast as counting them.
        self._line_ends = io.IncrementalNewlineDecoder(None, translate=False)
        self.nul = False
        self.eight_bit = False
        self.header: bytes | None = None  # once it has passed whole, or too much of it
        self._seen = bytearray()  # of a header that came in several pieces

    def look(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        self._line_ends.decode(piece.decode("latin-1"), final=True)
        if b"\0" in piece:
            self.nul = True
        if not piece.isascii():
            self.eight_bit = True
        if self.header is None:
            self._seek(piece)

    @property
    def bare(self) -> bool:
        """There was a CR without LF, or an LF without CR."""
        return self._line_ends.newlines not in (None, "\r\n")

    @property
    def hops(self) -> int:
        """How many Received fields there are: servers the message has passed (RFC 5321 §6.3)."""
        header = (bytes(self._seen) if self.header is None else self.header).lower()
        return header.count(b"\r\nreceived:") + header.startswith(b"received:")

    def _seek(self, piece: bytes) -> None:
        seen = self._seen
        if not seen and not piece.startswith(b"\r\n"):
            end = piece.find(_HEADER_END)
            if end >= 0:  # nearly always
                self.header = piece[: end + 2]
                return
        start = max(0, len(seen) - len(_HEADER_END) + 1)
        seen += piece
        end = -2 if seen.startswith(b"\r\n") else seen.find(_HEADER_END, start)  # -2: no header at all
        if end != -1 or len(seen) >= HEADER_BYTES:
            self.header = bytes(seen[:HEADER_BYTES] if end == -1 else seen[: end + 2])
            self._seen = bytearray()


class DataDecoder:
    """Content sent by DATA: finds its end and takes the stuffed dots out (RFC 5321 §4.5.2)."""

    __slots__ = ("_held", "_take", "_virtual")

    def __init__(self, take: Take) -> None:
        self._take = take
        self._held = b"\r\n"  # data begins at the beginning of a line
        self._virtual = 2  # bytes of ``_held`` that nobody sent

    def feed(self, data: bytes) -> bytes | None:
        """What follows the end of the data; ``None`` while the end has not come."""
        data = self._held + data
        dot = find_dotted(data)  # in most mail the only line that begins with a dot is the end
        end = dot if dot < 0 or data.startswith(_END, dot) else data.find(_END, dot)
        if end >= 0:
            self._emit(data[: end + 2], dotted=dot < end)
            self._held = b""
            return data[end + 5 :]
        keep = _overlap(data)
        cut = len(data) - keep
        if cut > self._virtual:
            self._emit(data[:cut], dotted=dot >= 0)
            self._held = data[cut:]
        else:
            self._held = data
        return None

    def _emit(self, piece: bytes, *, dotted: bool) -> None:
        if dotted:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if self._virtual:
            piece = piece[self._virtual :]
            self._virtual = 0
        if piece:
            self._take(piece)


def _overlap(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the end."""
    tail = data[-4:]
    for size in range(len(tail), 0, -1):
        if _END.startswith(tail[-size:]):
            return size
    return 0


class ChunkDecoder:
    """Content sent by BDAT: octets are counted, and nothing in them is special (RFC 3030 §2)."""

    __slots__ = ("_held", "_take", "left")

    def __init__(self, take: Take) -> None:
        self._take = take
        self._held = b""  # a CR at the end of what came: the next octet tells whether it is bare
        self.left = 0

    def begin(self, size_bytes: int) -> None:
        self.left = size_bytes

    def feed(self, data: bytes) -> bool:
        """Take octets of the chunk, no more than are ``left``; whether it is complete."""
        self.left -= len(data)
        if data:
            piece = self._held + data
            self._held = b"\r" if piece.endswith(b"\r") else b""
            piece = piece[: len(piece) - len(self._held)]
            if piece:
                self._take(piece)
        return not self.left

    def finish(self) -> None:
        """After the last chunk."""
        if self._held:
            self._take(self._held)
            self._held = b""


def chunk_of(arguments: str) -> tuple[int, bool] | None:
    """RFC 3030 §2: size, and whether it is the last."""
    words = arguments.split()
    if not arguments.isascii() or not 1 <= len(words) <= 2 or not words[0].isdigit():
        return None
    last = len(words) == 2
    if len(words[0]) > _CHUNK_DIGITS or (last and words[1].upper() != "LAST"):
        return None
    return int(words[0]), last
