"""A client for loads: as much pipelining as the server bears, and content of any size without holding it."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

GROUP = 200  # commands on the way at once


class Client:
    def __init__(self, port: int, *, within_s: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), within_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self.socket.makefile("rb")
        assert self.reply().startswith("220")
        assert self.say(b"EHLO client.test").startswith("250")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()

    def reply(self) -> str:
        """The last line of the next reply."""
        while True:
            line = self._lines.readline().decode()
            if line[3:4] != "-":
                return line.rstrip()

    def say(self, *commands: bytes) -> str:
        """The reply to the last of these; all of them go out together."""
        self.socket.sendall(b"".join(command + b"\r\n" for command in commands))
        for _ in commands:
            said = self.reply()
        return said

    def send(self, recipients: Sequence[str], content: Iterable[bytes], sender: str = "ann@shop.test") -> str:
        """One message, its content unstuffed and with CRLF line ends; the reply to its end."""
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients)]
        for start in range(0, len(commands), GROUP):
            said = self.say(*[command.encode() for command in commands[start : start + GROUP]])
            assert said.startswith("250"), said
        assert (said := self.say(b"DATA")).startswith("354"), said
        for piece in content:
            self.socket.sendall(piece)
        return self.say(b".")


def lines(number: str, size_bytes: int) -> Iterator[bytes]:
    """A message of about this size that is like no other."""
    yield f"From: ann@shop.test\r\nX-Number: {number}\r\nSubject: load\r\n\r\n".encode()
    line = f"{number} {{:06d}} abcdefghijklmnopqrstuvwxyz 0123456789\r\n"
    block = "".join(line.format(n) for n in range(1000)).encode()
    for _ in range(size_bytes // len(block)):
        yield block
    rest = size_bytes % len(block)
    yield block[: block.rfind(b"\n", 0, rest) + 1] or b"short\r\n"
