"""Dot-stuffing on the way out (RFC 5321 §4.5.2): whole bodies, or chunk by chunk.

Content has CRLF line ends; what is bare is passed as it is (intake refuses
bare CR and LF, so nothing here can end the data early). Missing at the end,
the last CRLF is added: the terminating dot must begin a line.
"""

END = b".\r\n"


def terminated(content: bytes) -> bytes:
    """The content, ending in CRLF."""
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


def stuff(content: bytes) -> bytes:
    """A whole body, ready for ``END`` to follow. Costs one search when nothing needs a dot."""
    if b"\r\n." in content:
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
