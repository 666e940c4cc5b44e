"""A mail server that keeps books: who got which message, and how big and sound it was.

Threads with blocking sockets, one a connection, so that it works beside
anything else that the test does. ``answer`` says what RCPT is told, ``None`` is
yes; what a message is called is in its ``X-Number`` field.
"""

import contextlib
import dataclasses
import hashlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.support.ports import free_port

_NUMBER = re.compile(rb"^X-Number: (\S+)\r$", re.MULTILINE)
HEADER_LINES = 40  # in which the number is looked for
Answer = Callable[[str], bytes | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One transaction. ``sha256``: of the content behind the header."""

    number: str
    sender: str
    recipients: tuple[str, ...]
    size_bytes: int
    sha256: str


def _yes(_recipient: str) -> bytes | None:
    return None


class Ledger:
    """``note`` is called for each message, before the reply; without it ``entries`` grows."""

    def __init__(self, answer: Answer = _yes, note: Callable[[Entry], None] | None = None) -> None:
        self.port = free_port()
        self.entries: list[Entry] = []
        self.connections = 0
        self._answer, self._note = answer, note or self.entries.append
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=200)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ConnectionError), connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 ledger.test\r\n")
            sender, recipients = "", list[str]()
            while line := lines.readline():
                verb, said = line[:4].upper(), b"250 2.0.0 ok\r\n"
                if verb == b"EHLO":
                    said = b"250-ledger.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"
                elif verb == b"MAIL":
                    sender, recipients = _path(line), []
                elif verb == b"RCPT":
                    refused = self._answer(_path(line))
                    said = refused or said
                    if refused is None:
                        recipients.append(_path(line))
                elif verb == b"DATA" and recipients:
                    connection.sendall(b"354 go on\r\n")
                    entry = _read(lines, sender, tuple(recipients))
                    if entry is None:
                        return
                    self._note(entry)
                elif verb == b"DATA":
                    said = b"554 5.5.1 nobody to send it to\r\n"
                elif verb == b"QUIT":
                    connection.sendall(b"221 bye\r\n")
                    return
                connection.sendall(said)


def _path(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode()


def _read(lines, sender: str, recipients: tuple[str, ...]) -> Entry | None:  # type: ignore[no-untyped-def] # a file
    """The content up to its end; ``None`` when it has none."""
    size_bytes, header, digest = 0, b"", None
    while line := lines.readline():
        if line == b".\r\n":
            found = _NUMBER.search(header)
            number = found[1].decode() if found else ""
            return Entry(number, sender, recipients, size_bytes, digest.hexdigest() if digest else "")
        if line[:1] == b".":
            line = line[1:]
        size_bytes += len(line)
        if digest is not None:
            digest.update(line)
        elif line == b"\r\n":
            digest = hashlib.sha256()
        elif header.count(b"\n") < HEADER_LINES:
            header += line
    return None
