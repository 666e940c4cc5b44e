"""Next hops from hell: servers that misbehave in one way each until told to behave.

Every connection is a thread with a blocking socket, so that a hop can do what
no event loop lets it do. ``ways`` is the table; each way plays one connection.

with Hop("floods") as hop:
    ... hop.port, hop.hits, hop.poured
    hop.behave()          # drops what hangs; from now on takes mail as it should
    ... hop.received
"""

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

from tests.support.ports import free_port

GIGABYTE = 10**9
BLOCK = b"250-" + b"x" * 60_000 + b"\r\n"
ENOUGH = b"250 ok\r\n" * 8_000
DRIP_S = 0.2


class Caller:
    """One connection, seen from the hop."""

    def __init__(self, hop: "Hop", connection: socket.socket) -> None:
        self.hop, self.connection = hop, connection
        self._lines = connection.makefile("rb")

    def say(self, *lines: bytes) -> None:
        self.connection.sendall(b"".join(line + b"\r\n" for line in lines))

    def line(self) -> bytes:
        line = self._lines.readline(4096)
        if not line:
            raise ConnectionError("the relay hung up")
        return line

    def read(self, size: int) -> bytes:
        return self._lines.read(size)

    def hang(self) -> None:
        """Until the relay gives up or the hop is told to behave."""
        while self._lines.read(65536):
            pass

    def pour(self, block: bytes, most: int) -> None:
        """The block again and again: what nobody listens to is not poured for long."""
        for _ in range(0, most, len(block)):
            self.connection.sendall(block)
            self.hop.poured += len(block)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def play(self, until: int) -> None:
        """Behaves for so many steps: the greeting, EHLO, MAIL, RCPT, DATA. The next command has been read."""
        answers = [b"220 hop.test", b"250 hop.test", b"250 ok", b"250 ok", b"354 go on"]
        for answer in answers[:until]:
            self.say(answer)
            if answer != b"354 go on":
                self.line()

    def take_mail(self) -> None:
        """As a server should."""
        self.say(b"220 hop.test")
        while True:
            verb = self.line()[:4].upper()
            if verb == b"DATA":
                self.say(b"354 go on")
                content = bytearray()
                while (line := self._lines.readline()) != b".\r\n":
                    if not line:
                        raise ConnectionError("the relay hung up within a message")
                    content += line.removeprefix(b".")
                self.hop.received.append(bytes(content))
                self.say(b"250 2.0.0 thank you")
            elif verb == b"QUIT":
                self.say(b"221 bye")
                return
            else:
                self.say(b"250 ok")


Play = Callable[[Caller], object]


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """``reason``: of the deferral that it leads to; ``large``: it takes a message of some size to show."""

    play: Play
    reason: str
    large: bool = False


def hangs(step: int) -> Play:
    def play(caller: Caller) -> None:
        caller.play(step)
        if step == 5:
            while caller.line() != b".\r\n":
                pass
        caller.hang()

    return play


def says(step: int, said: bytes) -> Play:
    def play(caller: Caller) -> None:
        caller.play(step)
        caller.connection.sendall(said)
        caller.hang()

    return play


def pours(step: int, block: bytes) -> Play:
    def play(caller: Caller) -> None:
        caller.play(step)
        caller.pour(block, GIGABYTE)

    return play


def drops_within_data(after_bytes: int) -> Play:
    def play(caller: Caller) -> None:
        caller.play(5)
        caller.read(after_bytes)
        caller.reset()

    return play


def drips(caller: Caller) -> None:
    for byte in b"220 hop.test says hello at its leisure\r\n":
        caller.connection.sendall(bytes([byte]))
        time.sleep(DRIP_S)
        if caller.hop.behaves:
            return


def reads_nothing(caller: Caller) -> None:
    caller.play(5)
    caller.hop.released.wait(60)


def puts_everything_off(caller: Caller) -> None:
    caller.play(2)
    for verb in (b"MAIL", b"RSET", b"QUIT", b"RSET", b"QUIT"):
        caller.say(b"451 4.3.2 not now: " + verb)
        caller.line()


def closes_after_greeting(caller: Caller) -> None:
    caller.say(b"220 hop.test")


def closes_at_once(caller: Caller) -> None:
    caller.reset()


GARBAGE = b"\x00\xff\x16\x03 this is no SMTP\r\n"
LARGE_BYTES = 3_000_000
WAYS: dict[str, Way] = {
    "hangs-before-greeting": Way(hangs(0), "connect"),
    "hangs-after-ehlo": Way(hangs(1), "connect"),
    "hangs-after-mail": Way(hangs(2), "connect"),
    "hangs-after-rcpt": Way(hangs(3), "connect"),
    "hangs-after-data": Way(hangs(4), "connect"),
    "hangs-after-the-end": Way(hangs(5), "connect"),
    "reads-nothing": Way(reads_nothing, "connect", large=True),
    "drops-early-in-data": Way(drops_within_data(100_000), "connect", large=True),
    "drops-late-in-data": Way(drops_within_data(LARGE_BYTES * 2 // 3), "connect", large=True),
    "closes-at-once": Way(closes_at_once, "connect"),
    "closes-after-greeting": Way(closes_after_greeting, "connect"),
    "greets-with-garbage": Way(says(0, GARBAGE), "protocol"),
    "answers-garbage": Way(says(2, GARBAGE), "protocol"),
    "drips": Way(drips, "connect"),
    "talks-for-a-gigabyte": Way(pours(2, BLOCK), "protocol"),
    "greets-for-a-gigabyte": Way(pours(0, b"220-" + BLOCK[4:]), "protocol"),
    "floods-with-replies": Way(pours(2, ENOUGH), "protocol"),
    "puts-everything-off": Way(puts_everything_off, "other"),
}


class Hop:
    def __init__(self, way: str) -> None:
        self.way = way
        self.port = free_port()
        self.hits = 0
        self.poured = 0  # bytes that somebody took, or that found room on the way
        self.received: list[bytes] = []
        self.behaves = False
        self.released = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=100)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.behave()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def behave(self) -> None:
        self.behaves = True
        self.released.set()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.hits += 1
            self._open.add(connection)
        caller = Caller(self, connection)
        try:
            with contextlib.suppress(OSError):
                if self.behaves:
                    caller.take_mail()
                else:
                    WAYS[self.way].play(caller)
        finally:
            with self._lock:
                self._open.discard(connection)
            with contextlib.suppress(OSError):
                caller._lines.close()
                connection.close()
