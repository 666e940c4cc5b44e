"""The client's ear: bytes from a server become ``Reply`` values (RFC 5321 §4.2).

Fed with whatever arrived, it returns the replies that are complete. A line may
end in CRLF or LF. Text is kept for people (logs, bounces), so it is cleaned:
UTF-8 or replaced, no control characters, cut to a bound.

Invariants
    Memory is bounded by ``LINE_BYTES`` and ``REPLY_BYTES`` whatever is sent;
    what is kept of a reply by ``KEPT_LINES`` and ``KEPT_CHARS``.
    A ``Reply`` made here has a code of 200 to 599 and at least one line.
Errors
    ``malformed`` is set, and nothing more is read, after a line that is no
    reply line, lines of one reply in different classes, or a bound exceeded.
"""

import functools
import re

from waystation_relay.mail.reply import Reply

LINE_BYTES = 64 * 1024  # a longer line is malformed; RFC 5321 §4.5.3.1.5 allows 512
REPLY_BYTES = 256 * 1024  # all lines of one reply
CACHED_LINE_BYTES = 512  # what servers repeat is short
KEPT_LINE_CHARS = 2048  # of one line
KEPT_CHARS = 4096  # of one reply
KEPT_LINES = 64
QUOTED_BYTES = 200  # of what was malformed

# Code, separator, enhanced status code (RFC 2034 §4), text.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$))?(.*))?", re.DOTALL)


def clean(text: bytes) -> str:
    """The bytes as one printable line of text."""
    decoded = text.decode("utf-8", "replace")
    if decoded.isprintable():
        return decoded
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in decoded)


@functools.lru_cache(maxsize=512)
def _single(line: bytes) -> Reply | None:
    """A reply of one line, or ``None`` when the line is not one. Cached: servers repeat themselves."""
    found = _LINE.fullmatch(line)
    if found is None or found[2] == b"-":
        return None
    enhanced, text = _told(found)
    return Reply(int(found[1]), enhanced, (text[:KEPT_LINE_CHARS],))


def _told(line: re.Match[bytes]) -> tuple[str, str]:
    """Enhanced code and text. An enhanced code of another class than the reply's (RFC 2034 §4 forbids that)
    is only text."""
    code, _, enhanced, text = line.groups()
    if not enhanced:
        return "", clean(text or b"")
    if enhanced[0] != code[0]:
        return "", clean(enhanced + b" " + text)
    return enhanced.decode("ascii"), clean(text)


class Responses:
    """One connection's replies, in order."""

    __slots__ = ("_first", "_kept", "_lines", "_partial", "_size", "malformed")

    def __init__(self) -> None:
        self.malformed = ""  # what was said that is no reply
        self._partial = b""  # an incomplete line
        self._lines: list[str] = []  # of an incomplete reply
        self._first: tuple[bytes, str] = (b"", "")  # its code and enhanced code
        self._size = 0
        self._kept = 0

    @property
    def is_pending(self) -> bool:
        """Something incomplete has arrived."""
        return bool(self._partial or self._size)

    def receive(self, data: bytes) -> list[Reply]:
        """The replies that ``data`` completes."""
        if self.malformed:
            return []
        replies: list[Reply] = []
        if self._partial:
            data = self._partial + data
        lines = data.split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            stripped = line[:-1] if line.endswith(b"\r") else line
            if not self._size and len(stripped) <= CACHED_LINE_BYTES:
                single = _single(stripped)
                if single is not None:
                    replies.append(single)
                    continue
            complete = self._line(stripped)
            if complete is not None:
                replies.append(complete)
            if self.malformed:
                return replies
        if len(self._partial) > LINE_BYTES:
            self._refuse(self._partial)
        return replies

    def _line(self, line: bytes) -> Reply | None:
        """One line of a reply of several; the reply when it was the last."""
        self._size += len(line) + 2
        found = _LINE.fullmatch(line) if len(line) <= LINE_BYTES and self._size <= REPLY_BYTES else None
        if found is None:
            self._refuse(line)
            return None
        code, separator = found[1], found[2]
        enhanced, text = _told(found)
        if not self._first[0]:
            self._first = code, enhanced
        elif code[0] != self._first[0][0]:
            self._refuse(line)
            return None
        kept = text[: min(KEPT_LINE_CHARS, KEPT_CHARS - self._kept)]
        if len(self._lines) < KEPT_LINES and (kept or not text):
            self._lines.append(kept)
            self._kept += len(kept)
        if separator == b"-":
            return None
        complete = Reply(int(code), self._first[1] or enhanced, tuple(self._lines) or ("",))
        self._lines, self._first, self._size, self._kept = [], (b"", ""), 0, 0
        return complete

    def _refuse(self, line: bytes) -> None:
        self.malformed = clean(line[:QUOTED_BYTES]) or "(an empty line)"
        self._partial, self._lines, self._size = b"", [], 0
