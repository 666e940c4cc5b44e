"""Relays under the shim, and clients that remember what they were promised."""

import smtplib
import sys
import threading
from pathlib import Path

from tests.fault.library import under
from tests.support import clients
from tests.support.relay import RelayProcess

# The relay, but for a failing disk that is tried again after a moment instead of five seconds.
IMPATIENT = """
from waystation.__main__ import main
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Tuning
Spool.open.__func__.__kwdefaults__["tuning"] = Tuning(probe_interval_s=0.1)
main(prog_name="waystation")
"""
LINE = "0123456789abcde\n"
SIZES = (1, 5, 40, 1500, 2000, 5000)  # lines: in the index, in a segment
LARGE = 80_000  # lines: a file of its own


class FaultyRelay(RelayProcess):
    """Its spool is ``disk/spool`` in its folder; ``disk`` is what is watched."""

    def __init__(self, folder: Path, *, data: Path | None = None) -> None:
        super().__init__(folder, data=data or folder / "disk" / "spool")

    def command(self) -> list[str]:
        python, _, _, *arguments = super().command()
        return [python or sys.executable, "-c", IMPATIENT, *arguments]

    def watch(
        self, shim: Path, *, journal: Path | None = None, rules: str = "", during: Path | None = None
    ) -> None:
        self.environment = under(shim, self.data.parent, journal=journal, rules=rules, during=during)


class Client(threading.Thread):
    """Sends mail after mail, each of its own name, until told to stop or nobody answers."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._name = name
        self.promised: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        number = 0
        try:
            with smtplib.SMTP("127.0.0.1", self._port, timeout=20) as client:
                while not self.stop.is_set():
                    number += 1
                    name = f"{self._name}{number}"
                    lines = LARGE if number == 5 else SIZES[number % len(SIZES)]
                    client.sendmail("a@shop.test", [f"{name}@next.test"], content(name, lines))
                    self.promised.append(name)
        except (OSError, smtplib.SMTPException):
            return  # the relay is gone


def content(name: str, lines: int) -> bytes:
    """A mail that ends with its own name: nobody takes a part of it for the whole."""
    return clients.mail(name, LINE * lines + f"{lines} lines to {name}\n")


def is_whole(mail: bytes) -> bool:
    """Of those that ``content`` makes."""
    lines = mail.decode().rstrip("\r\n").split("\r\n")
    count, _, _, name = lines[-1].split(" ")
    return f"Subject: {name}" in lines and lines.count(LINE.rstrip("\n")) == int(count)


def refused_with(port: int, lines: int) -> int:
    """The code that a client hears; 250 fails the test."""
    try:
        clients.send(port, "a@shop.test", "refused@next.test", content("refused", lines))
    except smtplib.SMTPSenderRefused as refused:
        return refused.smtp_code
    except smtplib.SMTPDataError as refused:
        return refused.smtp_code
    except smtplib.SMTPRecipientsRefused as refused:
        return next(iter(refused.recipients.values()))[0]
    raise AssertionError("taken")
