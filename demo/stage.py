"""What the demo acts on: a temporary folder, the ``waystation`` commands run in it, the sink's mailboxes.

Everything is done with the commands a person would type, in a folder where
``demo/mail.yaml`` lies as in a checkout. Leaving the ``with`` block stops what
runs and removes the folder, however the demo ended.
"""

import email
import email.policy
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

USUAL_BASE = 2500
SMTP, SINK, ADMIN = 25, 2525, 5500  # what is added to the port base
CLIENTS = 4
COLUMNS = "110"
COMMAND_WITHIN_S = 60.0


class BrokenPromiseError(Exception):
    """Something did not happen as the demo says it does; the text is what."""


class Stage:
    """``port_base`` is the usual one when its ports are free, else another."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="waystation-demo-"))
        (self.folder / "demo").symlink_to(Path(__file__).parent)
        self.port_base = free_base()
        self._frozen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        if (self.folder / ".waystation").exists():
            self.waystation("local", "down")
        shutil.rmtree(self.folder, ignore_errors=True)

    # Commands

    def waystation(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [sys.executable, "-m", "waystation", *arguments],
                cwd=self.folder, env={**os.environ, "COLUMNS": COLUMNS}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            command = f"waystation {' '.join(arguments)}"
            raise BrokenPromiseError(f"{command}: not done within {COMMAND_WITHIN_S:g} s") from None

    @property
    def port(self) -> int:
        return self.port_base + SMTP

    def queue(self, *filters: str) -> list[dict[str, Any]]:
        run = self.waystation("queue", "list", "--limit", "0", "-o", "json", *filters)
        if run.returncode != 0:
            raise BrokenPromiseError(f"waystation queue list: {run.stderr.strip()}")
        listed: list[dict[str, Any]] = json.loads(run.stdout)
        return listed

    def pid(self, name: str) -> int:
        """The process of this name, as ``waystation local status`` shows it; 0 while it does not run."""
        record = json.loads(self.waystation("local", "status", "-o", "json").stdout)
        found = next((x for x in record["processes"] if x["process"]["name"] == name), None)
        ready = found is not None and found["state"] == "ready" and found["identity"]
        return int(found["identity"]["pid"]) if found is not None and ready else 0

    # The sink

    def mailbox(self, address: str) -> list[EmailMessage]:
        """What the sink has for this address, in order of arrival."""
        folder = self.folder / ".waystation" / "sink" / address / "new"
        files = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns) if folder.exists() else []
        parsed = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
        return [message for message in parsed if isinstance(message, EmailMessage)]

    def mailboxes(self) -> dict[str, int]:
        """How many mails each address has."""
        folders = (self.folder / ".waystation" / "sink").iterdir()
        return {folder.name: sum(1 for _ in (folder / "new").iterdir()) for folder in folders}

    def freeze(self) -> None:
        """The sink hangs: it takes connections and answers nothing."""
        self._frozen = self.pid("sink")
        os.kill(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._frozen:
            os.kill(self._frozen, signal.SIGCONT)
            self._frozen = 0


class Load:
    """Clients that send mails at the same time, each until it has got its 250, whatever comes between."""

    def __init__(self, port: int, names: Sequence[str], domain: str) -> None:
        self.promised: list[str] = []
        self._port, self._domain = port, domain
        self._end = threading.Event()
        self._clients = [
            threading.Thread(target=self._send, args=(names[n::CLIENTS],), daemon=True)
            for n in range(CLIENTS)
        ]

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for client in self._clients:
            client.join(10)

    def _send(self, names: Sequence[str]) -> None:
        connection: smtplib.SMTP | None = None
        for name in names:
            text = f"From: load@shop.example\r\nSubject: {name}\r\n\r\n" + "0123456789abcdef\r\n" * 200
            while not self._end.is_set():
                try:
                    connection = connection or smtplib.SMTP("127.0.0.1", self._port, timeout=10)
                    connection.sendmail("load@shop.example", [f"{name}@{self._domain}"], text)
                except (OSError, smtplib.SMTPException):
                    connection = None
                    time.sleep(0.02)  # nobody listens until the relay is back
                else:
                    self.promised.append(name)
                    break


def until(look: Callable[[], T], what: str, within_s: float = 15.0) -> T:
    """What ``look`` finds; a broken promise when it finds nothing in time."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise BrokenPromiseError(f"waited {within_s:g} s for {what}, in vain")
        time.sleep(0.02)
    return found


def free_base() -> int:
    for base in (USUAL_BASE, *range(20_000, 30_000, 100)):
        if all(is_free(base + offset) for offset in (SMTP, SINK, ADMIN)):
            return base
    raise BrokenPromiseError("no free ports for the demo")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
