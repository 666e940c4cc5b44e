"""SMTP smuggling (CVE-2023-51764 and its kin): no two servers may disagree about where a mail ends.

The attack puts a second conversation into a mail's content, behind something
that the next server might take for the end of data. Postfix stands behind the
relay here and would deliver what came through.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.postfix import Postfix
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

ANN, BOB = "ann@postfix.test", "bob@postfix.test"
OPENING = f"MAIL FROM:<ceo@postfix.test>\r\nRCPT TO:<{ANN}>\r\nDATA\r\n".encode()
SMUGGLED = OPENING + b"Subject: smuggled\r\n\r\npay\r\n.\r\n"


@pytest.fixture(scope="module")
def postfix(folder: Path) -> Iterator[Postfix]:
    with Postfix(folder) as running:
        yield running


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, postfix: Postfix) -> RelayProcess:
    new_relay.configure(route(to(postfix.port)))
    return new_relay.start()


def converse(port: int, *steps: bytes) -> list[str]:
    """Sends each step when the one before is answered, the last with QUIT; all replies to that."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        lines = stream.makefile("rb")

        def reply() -> str:
            while (line := lines.readline())[3:4] == b"-":
                pass
            return line.decode().rstrip()

        assert reply().startswith("220")
        for step in steps[:-1]:
            stream.sendall(step)
            assert reply()[:1] in ("2", "3")
        stream.sendall(steps[-1] + b"QUIT\r\n")
        return list(iter(reply, ""))


def data(content: bytes) -> tuple[bytes, ...]:
    return (
        b"EHLO client.test\r\n",
        b"MAIL FROM:<mallory@postfix.test>\r\n",
        f"RCPT TO:<{BOB}>\r\n".encode(),
        b"DATA\r\n",
        content,
    )


def everything(postfix: Postfix) -> bytes:
    return b"".join(postfix.mailbox(ANN) + postfix.mailbox(BOB))


def arrived(relay: RelayProcess, postfix: Postfix, subject: str) -> None:
    """Sends one more mail and waits for it: whatever was accepted before it has had its time."""
    clients.send(relay.port, ANN, BOB, clients.mail(subject))
    until(lambda: f"Subject: {subject}".encode() in everything(postfix), "the last mail in the mailbox")
    until(lambda: relay.queued() == 0 and postfix.queued() == 0, "empty queues")


def test_the_probe_works_with_a_true_end_of_data(relay: RelayProcess, postfix: Postfix) -> None:
    """CR LF . CR LF ends a mail, so what follows is a second one: the tests below would see it arrive."""
    replies = converse(relay.port, *data(b"Subject: first\r\n\r\nx" + b"\r\n.\r\n" + SMUGGLED))
    assert [text[:3] for text in replies] == ["250", "250", "250", "354", "250", "221"]
    until(lambda: b"Subject: smuggled" in b"".join(postfix.mailbox(ANN)), "the second mail")
    for mail in (Path(postfix.folder) / "mail").rglob("new/*"):
        mail.unlink()


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n.\n", id="LF . LF"),
        pytest.param(b"\n.\r\n", id="LF . CRLF"),
        pytest.param(b"\r\n.\n", id="CRLF . LF"),
        pytest.param(b"\r.\r", id="CR . CR"),
        pytest.param(b"\r.\r\n", id="CR . CRLF"),
        pytest.param(b"\r\n.\r", id="CRLF . CR"),
        pytest.param(b"\n.\r", id="LF . CR"),
        pytest.param(b"\r\r\n.\r\r\n", id="CRCRLF . CRCRLF"),
        pytest.param(b"\n\r\n.\n\r\n", id="LFCRLF . LFCRLF"),
    ],
)
def test_a_false_end_of_data_refuses_the_mail(relay: RelayProcess, postfix: Postfix, end: bytes) -> None:
    """The whole is one mail with a broken line ending, and is refused; neither part reaches Postfix."""
    accepted = len(relay.log("message.accepted"))
    replies = converse(relay.port, *data(b"Subject: outer\r\n\r\nx" + end + SMUGGLED))
    assert re.fullmatch(r"5\d\d 5\.\d\.\d .*", replies[0])
    assert not any(text.startswith(("250", "354")) for text in replies)
    arrived(relay, postfix, f"after {end.hex()}")
    assert len(relay.log("message.accepted")) == accepted + 1
    assert b"smuggled" not in everything(postfix)
    assert b"outer" not in everything(postfix)


def test_a_false_end_in_a_chunk_refuses_the_mail(relay: RelayProcess, postfix: Postfix) -> None:
    """BDAT counts bytes and needs no end of data; the next server may still be spoken to with DATA."""
    content = b"Subject: outer\r\n\r\nx\n.\r\n" + SMUGGLED
    *opening, _, _ = data(b"")
    chunk = b"BDAT %d LAST\r\n" % len(content) + content
    replies = converse(relay.port, *opening, chunk)
    assert re.fullmatch(r"5\d\d 5\.\d\.\d .*", replies[0])
    arrived(relay, postfix, "after a chunk")
    assert b"smuggled" not in everything(postfix)


def test_a_dot_line_in_a_chunk_stays_one_mail(relay: RelayProcess, postfix: Postfix) -> None:
    """Inside BDAT a line of one dot is content like any other: one mail arrives, with all of it in it."""
    content = b"Subject: one mail\r\n\r\nbefore\r\n.\r\n" + SMUGGLED + b"after\r\n"
    *opening, _, _ = data(b"")
    chunk = b"BDAT %d LAST\r\n" % len(content) + content
    assert converse(relay.port, *opening, chunk)[0].startswith("250")
    arrived(relay, postfix, "after the dot line")
    whole = [mail for mail in postfix.mailbox(BOB) if b"Subject: one mail" in mail]
    assert len(whole) == 1
    assert whole[0].endswith(content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"))
    assert not any(b"Subject: smuggled" in mail for mail in postfix.mailbox(ANN))


def test_a_nul_does_not_end_anything(relay: RelayProcess, postfix: Postfix) -> None:
    """CR LF NUL . CR LF: refused or kept as content, but never two mails."""
    converse(relay.port, *data(b"Subject: outer\r\n\r\nx\r\n\0.\r\n" + SMUGGLED))
    arrived(relay, postfix, "after the NUL")
    assert postfix.mailbox(ANN) == []
