"""Dot-stuffing on the way out (RFC 5321 §4.5.2): whole bodies, or chunk by chunk.

Content has CRLF line ends; what is bare is passed as it is (intake refuses
bare CR and LF, so nothing here can end the data early). Missing at the end,
the last CRLF is added: the terminating dot must begin a line.
"""

END = b".\r\n"
_LARGE_BYTES = 16 * 1024
_FEW = 100  # dots: as many as a header has


def terminated(content: bytes) -> bytes:
    """The content, ending in CRLF."""
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def find_dotted(data: bytes) -> int:
    """Where the first line that begins with a dot is: the index of the CR LF before it, -1 for none.

    Large bodies are mostly base64, which has no dots, and a single byte is found ten times as fast as
    three; so a large body's first dots are looked at one by one.
    """
    dot = -1
    if len(data) >= _LARGE_BYTES:
        for _ in range(_FEW):
            dot = data.find(b".", dot + 1)
            if dot < 0:
                return -1
            if data[max(0, dot - 2) : dot] == b"\r\n":
                return dot - 2
    return data.find(b"\r\n.", max(0, dot - 1))


def stuff(content: bytes) -> bytes:
    """A whole body, ready for ``END`` to follow. Costs one search when nothing needs a dot."""
    if find_dotted(content) >= 0:
        content = content.replace(b"\r\n.", b"\r\n..")
    if content.startswith(b"."):
        content = b"." + content
    return terminated(content)


class Stuffer:
    """A body in chunks of any size, down to one byte."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two bytes so far: data begins at the start of a line

    def stuff(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        before, self._tail = self._tail, (self._tail + chunk[-2:])[-2:]
        if b"\r\n." in chunk:
            chunk = chunk.replace(b"\r\n.", b"\r\n..")
        if before == b"\r\n" and chunk.startswith(b"."):
            return b"." + chunk
        if before.endswith(b"\r") and chunk.startswith(b"\n."):
            return b"\n." + chunk[1:]
        return chunk

    def finish(self) -> bytes:
        """What must still be written: the missing line end, and the dot."""
        return END if self._tail == b"\r\n" else b"\r\n" + END
