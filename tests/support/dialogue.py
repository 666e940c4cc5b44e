"""Mail transactions as files: what the client writes, what the server answers, what follows from it.

    # Of two recipients one is unknown; the other gets the mail.
    offers: PIPELINING, 8BITMIME
    to: ann@x.test bob@x.test

    C: MAIL FROM:<app@shop.test>
    C: RCPT TO:<ann@x.test>
    C: RCPT TO:<bob@x.test>
    C: DATA
    S: 250 2.1.0 ok
    S: 550 5.1.1 who?
    S: 250 2.1.5 ok
    S: 354 go on
    C: <content>
    C: .
    S: 250 2.0.0 thank you

    = mail 250
    = rcpt 550 250
    = end 250
    > ann@x.test failed bad-address 550 5.1.1
    > bob@x.test delivered 250 2.0.0
    > connection reusable

``offers`` are EHLO keywords; ``protocol: lmtp`` and ``size:`` (of the content) may be given. Consecutive
``C:`` lines are one write, and nothing is written before the last ``S:`` line above them has come.
``=`` lines say which command each reply belongs to, ``>`` lines what becomes of the recipients and of the
connection (reusable, closed: another is needed, or lost: it broke). ``---`` begins another transaction on
the same connection.
"""

import dataclasses
from pathlib import Path

from waystation_relay.mail.reply import Reply, reply
from waystation_relay.wire import capabilities
from waystation_relay.wire.capabilities import Capabilities

SENDER = "app@shop.test"
CONTENT = b"Subject: hello\r\n\r\nworld\r\n"
DIALOGUES = Path(__file__).parents[1] / "wire" / "client" / "dialogues"


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One write and the answers to it."""

    written: bytes
    answers: tuple[bytes, ...]  # one a reply, which may have several lines


@dataclasses.dataclass(frozen=True, slots=True)
class Transaction:
    turns: tuple[Turn, ...]
    replies: dict[str, list[str]]  # the ``=`` lines
    outcomes: dict[str, str]  # the ``>`` lines


@dataclasses.dataclass(frozen=True, slots=True)
class Dialogue:
    name: str
    title: str
    offers: Capabilities
    lmtp: bool
    recipients: tuple[str, ...]
    content: bytes
    transactions: tuple[Transaction, ...]


def load(path: Path) -> Dialogue:
    title, *rest = path.read_text(encoding="utf-8").splitlines()
    head: dict[str, str] = {}
    while rest and rest[0][:2] not in {"C:", "S:"}:
        key, _, value = rest.pop(0).partition(":")
        head[key] = value.strip()
    content = CONTENT
    if "size" in head:
        line = b"0123456789abcdef" * 4 + b"\r\n"
        content = (line * (int(head["size"]) // len(line) + 1))[: int(head["size"]) - 2] + b"\r\n"
    parts: list[list[str]] = [[]]
    for line in rest:
        if line == "---":
            parts.append([])
        else:
            parts[-1].append(line)
    return Dialogue(
        path.stem,
        title.removeprefix("# "),
        offered(head.get("offers", "")),
        head.get("protocol") == "lmtp",
        tuple(head.get("to", "ann@x.test").split()),
        content,
        tuple(_transaction(part, content) for part in parts),
    )


def load_all() -> list[Dialogue]:
    return [load(path) for path in sorted(DIALOGUES.glob("*.txt"))]


def offered(keywords: str) -> Capabilities:
    """What an EHLO reply with these keywords, separated by commas, offers."""
    lines = [word.strip() for word in keywords.split(",") if word.strip()]
    return capabilities.parse(reply(250, "", "mx.x.test", *lines))


def code(value: Reply | None) -> str:
    return str(value.code) if value is not None else ""


def _transaction(lines: list[str], content: bytes) -> Transaction:
    turns: list[Turn] = []
    written, answers, partial = b"", [], b""
    replies: dict[str, list[str]] = {}
    outcomes: dict[str, str] = {}
    for line in lines:
        kind, text = line[:2], line[3:]
        if kind == "C:":
            if answers:
                turns.append(Turn(written, tuple(answers)))
                written, answers = b"", []
            written += content if text == "<content>" else text.encode() + b"\r\n"
        elif kind == "S:":
            partial += text.encode() + b"\r\n"
            if text[3:4] != "-":
                answers.append(partial)
                partial = b""
        elif kind == "= ":
            what, *codes = line[2:].split()
            replies[what] = codes
        elif kind == "> ":
            who, _, what = line[2:].partition(" ")
            outcomes[who] = what
        else:
            assert not line.strip(), f"not a line of a dialogue: {line!r}"
    turns.append(Turn(written, tuple(answers)))
    return Transaction(tuple(turns), replies, outcomes)
