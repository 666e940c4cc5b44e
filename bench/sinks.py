"""Next hops that keep nothing and count: Postfix's smtp-sink, and ours for TLS and times.

``messages`` counts since the start, ``encrypted`` those that came under TLS,
``last`` is when the newest came (monotonic seconds).
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.cache import tool
from tests.support.certificates import Certificate
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.waiting import until

_BACKLOG = "1000"
_END_WITHIN_S = 10.0
# smtp-sink rewrites one line for ever (sess=12 quit=12 mesg=12); ours adds a line after each change.
_COUNTS = re.compile(rb"mesg=(\d+)(?: tls=(\d+) last=(\d+)\n)?")


class Sink:
    """A child process that says how much it took. ``command`` is given the port."""

    def __init__(
        self, command: Sequence[str], port: int, *, is_ours: bool = False, times: Path | None = None
    ) -> None:
        self.port = port
        self.messages = self.encrypted = 0
        self.last = 0.0
        self._is_ours = is_ours
        self._times = times
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._count, args=(self._process,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """SIGTERM, and killed when that is not enough."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait(self, messages: int, within_s: float) -> float:
        """When the last of so many messages came; fails if more than that came."""
        until(lambda: self.messages >= messages, f"{messages} messages at the sink", within_s=within_s)
        assert self.messages == messages, (
            f"{self.messages - messages} more messages at the sink than were sent"
        )
        return self.last

    def times(self) -> Path:
        """The file of arrival times since it was last asked for."""
        assert self._times is not None, "no timed sink"
        assert self._process is not None, "not started"
        self._times.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        until(self._times.exists, "the sink's times")
        return self._times

    def _count(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        rest = b""
        while block := os.read(process.stdout.fileno(), 65536):
            rest += block
            if counts := _COUNTS.findall(rest):
                seen, encrypted, last = counts[-1]
                if self._is_ours and not last:  # the line is not whole yet
                    continue
                if int(seen) != self.messages:
                    self.last = int(last) / 1e9 if last else time.monotonic()
                    self.encrypted = int(encrypted or 0)
                    self.messages = int(seen)
            rest = rest[-200:]


def smtp_sink(*options: str) -> Sink:
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return Sink(
        [program("smtp-sink"), *user, "-c", "-m", _BACKLOG, *options, f"127.0.0.1:{port}", _BACKLOG], port
    )


def deferring() -> Sink:
    """Answers every RCPT 4xx."""
    return smtp_sink("-r", "RCPT")


def ours(certificate: Certificate | None = None, times: Path | None = None) -> Sink:
    """Offers STARTTLS when it has a certificate; ``times`` is where it writes when each mail came."""
    port = free_port()
    options = ["-w", str(times)] if times else []
    if certificate:
        options += ["-c", str(certificate.chain), "-k", str(certificate.key)]
    return Sink([str(tool("sink")), "-p", str(port), *options], port, is_ours=True, times=times)
