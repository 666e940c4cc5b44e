r"""Conversations as files: what a client sends, what the server machine answers, what becomes of it.

    # A sender is refused; the recipient sent with it has nothing to belong to.
    begin: READY
    H: mail 452 4.3.1 Full

    C: MAIL FROM:<a@shop.test>
    C: RCPT TO:<b@next.test>
    S: 452 4.3.1 Full
    S: 503 5.5.1 Send MAIL first

``begin`` names the state the conversation begins in (READY unless it says START, MAIL or RCPT).
Consecutive client lines are sent together; the ``S:`` lines behind them are all that is answered.

    C: text       a line; CR LF is added
    C| text       bytes as they are
    S: line       a line of a reply
    H: when said  how the host answers next: mail, rcpt, begin, chunk, end, answer (see ``recorder``)
    T: tls        TLS has started
    ! closed      the server hangs up; without it, it must not
    M: from > to, to > content   a message that reached the host, all of them in order
    20 C: text    the line twenty times; likewise the others

In client lines and content ``\r``, ``\n``, ``\t``, ``\0``, ``\xNN`` and ``\\`` stand for bytes and
``{x*3000}`` for 3000 times ``x``; other characters are UTF-8.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.wire.server.recorder import Message, Recorder

from waystation_relay.wire.order import State
from waystation_relay.wire.server import Server

FOLDER = Path(__file__).with_name("dialogues")
PRELUDES = {
    State.START: (),
    State.READY: (b"EHLO client.test\r\n",),
    State.MAIL: (b"EHLO client.test\r\n", b"MAIL FROM:<a@shop.test>\r\n"),
    State.RCPT: (b"EHLO client.test\r\n", b"MAIL FROM:<a@shop.test>\r\n", b"RCPT TO:<b@next.test>\r\n"),
    State.CHUNKS: (
        b"EHLO client.test\r\n",
        b"MAIL FROM:<a@shop.test>\r\n",
        b"RCPT TO:<b@next.test>\r\n",
        b"BDAT 3\r\na\r\n",
    ),
}
Cut = Callable[[bytes], Iterator[bytes]]


@dataclasses.dataclass(slots=True)
class Turn:
    """``host``: what the host is told before; ``tls``: TLS starts before."""

    sent: bytes = b""
    answered: bytes = b""
    closed: bool = False
    tls: bool = False
    host: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Script:
    name: str
    title: str
    begin: State = State.READY
    turns: list[Turn] = dataclasses.field(default_factory=list)
    messages: list[Message] = dataclasses.field(default_factory=list)


def load_all() -> list[Script]:
    return [load(path) for path in sorted(FOLDER.glob("*.txt"))]


def load(path: Path) -> Script:
    title, *lines = path.read_text(encoding="utf-8").splitlines()
    script = Script(path.stem, title.removeprefix("# "))
    turn = Turn()
    script.turns.append(turn)
    for kind, text in _lines(lines):
        match kind:
            case "begin:":
                script.begin = State[text]
            case "M:":
                sender, to, content = text.split(" > ")
                script.messages.append((sender.strip("<>"), to.split(", "), raw(content)))
            case "S:":
                turn.answered += text.encode() + b"\r\n"
            case "!":
                turn.closed = True
            case "C:" | "C|" | "H:" | "T:":
                if turn.answered or turn.closed or (turn.sent and kind in {"H:", "T:"}):
                    turn = Turn()
                    script.turns.append(turn)
                if kind == "H:":
                    when, _, said = text.partition(" ")
                    turn.host.append((when, said.encode() + b"\r\n"))
                elif kind == "T:":
                    turn.tls = True
                else:
                    turn.sent += raw(text) + (b"\r\n" if kind == "C:" else b"")
            case _:
                raise AssertionError(f"{path.name}: not a line of a dialogue: {kind} {text}")
    return script


def _lines(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in filter(None, lines):
        kind, _, text = line.partition(" ")
        times = 1
        if kind.isdigit():
            times = int(kind)
            kind, _, text = text.partition(" ")
        for _ in range(times):
            yield kind, text


def raw(text: str) -> bytes:
    text = re.sub(r"\{(.)\*(\d+)\}", lambda found: found[1] * int(found[2]), text)
    escapes = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out = b""
    for plain, code, escape in re.findall(r"([^\\]+)|\\(?:x([0-9A-F]{2})|(.))", text):
        out += plain.encode() if plain else bytes.fromhex(code) if code else escapes[escape]
    return out


def begun(state: State, host: Recorder) -> Server:
    """A server whose client has come as far as ``state``."""
    server = Server(host)
    for line in PRELUDES[state]:
        assert server.receive(line).startswith(b"250")
    assert server.state is state
    return server


def say(server: Server, host: Recorder, pieces: Iterator[bytes], *, late: bool = False) -> bytes:
    """Everything that is answered; the disk answers at once, or ``late``: when all has been sent."""
    out = b""
    for piece in pieces:
        out += server.receive(piece)
        while server.is_waiting and not server.tls_begins and not late:
            out += server.answer(host.verdict())
    while server.is_waiting and not server.tls_begins:
        out += server.answer(host.verdict())
    return out


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]
