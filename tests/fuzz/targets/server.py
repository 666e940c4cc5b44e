"""A whole conversation with the server machine, STARTTLS and the disk's answers included.

Invariant tested: it never raises; all it says are whole, printable replies; and
cut line by line, byte by byte or at random, the same bytes have the same
replies and bring the same messages. (But for what comes in one packet with
EHLO or STARTTLS: that is refused on purpose.) The recorder behind it asserts
that commands reach the host in order and content only within a message.
"""

import re
from collections.abc import Iterable

from tests.fuzz.target import pieces
from tests.wire.server.recorder import Message, Recorder

from waystation_relay.wire import replies
from waystation_relay.wire.server import VERBS, Server

TOKENS = (
    *[verb + b" " for verb in VERBS], b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b"..\r\n", b"\r\n.\n",
    b"EHLO client.test\r\n", b"MAIL FROM:<a@shop.test>\r\n", b"RCPT TO:<b@next.test>\r\n", b"DATA\r\n",
    b"BDAT 3\r\nabc", b"BDAT 0 LAST\r\n", b"BDAT 5 LAST\r\nab\r\n.", b"STARTTLS\r\n", b"RSET\r\n",
    b"QUIT\r\n", b"<>", b" SIZE=10", b" BODY=8BITMIME", b" SMTPUTF8", b" NOTIFY=NEVER",
    b"GET / HTTP/1.1\r\n", b"x" * 700,
)  # fmt: skip

REPLIES = re.compile(rb"(?:[2-5][0-9]{2}-[ -~]*\r\n)*[2-5][0-9]{2} [ -~]*\r\n")


def converse(parts: Iterable[bytes]) -> tuple[bytes, list[Message], Server]:
    host = Recorder()
    server = Server(host)
    said = b""
    for part in parts:
        said += server.receive(part)
        while server.is_waiting:
            said += server.tls_started() if server.tls_begins else server.answer(host.verdict())
    return said, host.messages, server


def run(data: bytes) -> None:
    said, messages, server = converse(data.splitlines(keepends=True) if b"\r" not in data else lines(data))
    assert REPLIES.sub(b"", said) == b"", f"not all of it is replies: {said!r}"
    assert server.pending_bytes <= 2048 or server.is_closing
    bytewise = converse(data[n : n + 1] for n in range(len(data)))
    assert bytewise[:2] == (said, messages)
    assert (bytewise[2].state, bytewise[2].is_closing) == (server.state, server.is_closing)
    mixed = converse(pieces(data))
    if replies.TOO_EARLY not in mixed[0]:
        assert mixed[:2] == (said, messages)


def lines(data: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data)
