"""`waystation sink`: the real process, spoken to by smtplib."""

import json
import mailbox
import signal
import smtplib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.ports import free_port
from tests.support.waiting import until

from waystation_relay.cli.sink import folder_name, order


class SinkProcess:
    """One sink with its Maildirs in a folder; ``lines`` are what it printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.maildir = folder / "mail"
        self.out = folder / "out"
        with self.out.open("wb") as out, (folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waystation", "sink", "--port", str(self.port),
                 "--maildir", str(self.maildir), *options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        until(lambda: b"port" in (folder / "err").read_bytes(), "the sink to listen")

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def box(self, address: str) -> list[mailbox.MaildirMessage]:
        return list(mailbox.Maildir(self.maildir / address))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SinkProcess]]:
    made: list[SinkProcess] = []

    def starting(*options: str) -> SinkProcess:
        made.append(SinkProcess(tmp_path, *options))
        return made[-1]

    yield starting
    for sink in made:
        sink.process.kill()
        sink.process.wait()


def test_mail_is_kept_and_told_of(start: Callable[..., SinkProcess]) -> None:
    """A Maildir for each recipient, a line for each message, an end at SIGTERM."""
    sink = start()
    content = clients.mail("Hëllo", ".leading dot\n")
    clients.send(sink.port, "app@shop.test", ["ann@corp.test", "bob@corp.test"], content)
    for address in ("ann@corp.test", "bob@corp.test"):
        (kept,) = sink.box(address)
        assert kept["Return-Path"] == "<app@shop.test>"
        assert kept["Delivered-To"] == address
        assert kept.get_payload() == ".leading dot\n"
    (line,) = sink.lines
    assert (line["sender"], line["recipients"]) == ("app@shop.test", ["ann@corp.test", "bob@corp.test"])
    assert (line["subject"], line["reply"]) == ("Hëllo", "250 2.0.0 kept")
    assert line["size_bytes"] == len(content)
    assert sink.stop() == 0


def test_an_address_asks_for_its_answer(start: Callable[..., SinkProcess]) -> None:
    """Routes, retries and bounces can be tried without a second server: the recipient says what happens."""
    sink = start()
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        client.ehlo("client.test")
        client.mail("app@shop.test")
        assert client.rcpt("reject-550@x.test") == (550, b"5.1.1 no such mailbox")
        assert client.rcpt("defer-451+tag@x.test") == (451, b"4.7.1 greylisted, try again later")
        assert client.rcpt("data-554@x.test")[0] == 250
        assert client.data(b"Subject: no\r\n\r\n") == (554, b"5.7.1 refused by policy")
    assert not sink.maildir.exists()
    assert [line["reply"] for line in sink.lines] == [
        "550 5.1.1 no such mailbox",
        "451 4.7.1 greylisted, try again later",
        "554 5.7.1 refused by policy",
    ]


def test_lmtp_answers_for_each_recipient(start: Callable[..., SinkProcess]) -> None:
    """RFC 2033: after the data one reply a recipient, in their order."""
    sink = start("--lmtp")
    with smtplib.LMTP("127.0.0.1", sink.port) as client:
        client.ehlo("client.test")
        client.mail("app@shop.test")
        for address in ("ann@corp.test", "data-452@corp.test", "bob@corp.test"):
            assert client.rcpt(address)[0] == 250
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(b"Subject: x\r\n\r\n.\r\n")
        assert [client.getreply()[0] for _ in range(3)] == [250, 452, 250]
    assert len(sink.box("ann@corp.test")) == len(sink.box("bob@corp.test")) == 1
    assert sink.box("data-452@corp.test") == []


def test_a_port_in_use_is_said(start: Callable[..., SinkProcess]) -> None:
    """Exit code 1 and the port's number."""
    port = start().port
    run = subprocess.run(
        [sys.executable, "-m", "waystation", "sink", "--port", str(port)],
        capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert run.returncode == 1
    assert str(port) in run.stderr
    assert "Traceback" not in run.stderr


def test_it_ends_when_enough_came(start: Callable[..., SinkProcess]) -> None:
    """`--until` counts what was kept, not what was refused; the last client still gets its 250."""
    sink = start("--until", "2", "--within", "60")
    clients.send(sink.port, "app@shop.test", ["ann@corp.test"], clients.mail("one", "1\n"))
    with pytest.raises(smtplib.SMTPException):
        clients.send(sink.port, "app@shop.test", ["data-554@corp.test"], clients.mail("no", "0\n"))
    assert sink.process.poll() is None
    clients.send(sink.port, "app@shop.test", ["ann@corp.test"], clients.mail("two", "2\n"))
    assert sink.process.wait(10) == 0
    assert len(sink.box("ann@corp.test")) == 2


@pytest.mark.parametrize("options", [("--within", "0.2"), ()], ids=["time is up", "SIGTERM"])
def test_too_little_came(start: Callable[..., SinkProcess], tmp_path: Path, options: tuple[str, ...]) -> None:
    """However it ends: exit code 1, and how many are missing."""
    sink = start("--until", "2", *options)
    assert (sink.process.wait(10) if options else sink.stop()) == 1
    assert "2 of 2 messages did not come" in (tmp_path / "err").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("address", "at_rcpt", "at_data"),
    [
        ("ann@corp.test", None, None),
        ("reject-550@x.test", "550 5.1.1 no such mailbox", None),
        ("Reject-552+any@x.test", "552 5.2.2 mailbox full", None),
        ("defer-499@x.test", "499 4.0.0 as asked by the address", None),
        ("data-451@x.test", None, "451 4.7.1 greylisted, try again later"),
        ("reject-250@x.test", None, None),
        ("reject-5501@x.test", None, None),
        ("my-reject-550@x.test", None, None),
        ("postmaster", None, None),
    ],
)
def test_which_answer_an_address_asks_for(address: str, at_rcpt: str | None, at_data: str | None) -> None:
    """Only the documented forms do; everybody else gets mail."""
    assert order(address, "rcpt") == at_rcpt
    assert order(address, "data") == at_data


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("Ann@Corp.test", "ann@corp.test"),
        ("../../etc/passwd@x", "_.._etc_passwd@x"),
        ("a/b@x.test", "a_b@x.test"),
        ("...", "_"),
        ("ünï@x.test", "ünï@x.test"),
        ("\0@x", "_@x"),
    ],
)
def test_an_address_stays_in_its_folder(address: str, name: str) -> None:
    """No address writes outside the folder that was named."""
    assert folder_name(address) == name
