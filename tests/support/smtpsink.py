"""Postfix's smtp-sink: takes any amount of mail, keeps none, and counts.

with CountingSink() as sink:
    ... sink.port, sink.wait(1000)
"""

import os
import re
import subprocess
import threading
import time
from typing import Self

from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.waiting import until

_BACKLOG = "1000"


class CountingSink:
    """``messages`` counts from the start; ``last`` is when the last one arrived (monotonic)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.messages = 0
        self.last = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [program("smtp-sink"), *user, "-c", "-m", _BACKLOG, f"127.0.0.1:{self.port}", _BACKLOG],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        threading.Thread(target=self._count, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def wait(self, messages: int, within_s: float = 60.0) -> float:
        """When the last of so many messages arrived; fails if there are more than that."""
        until(lambda: self.messages >= messages, f"{messages} messages at the sink", within_s=within_s)
        assert self.messages == messages, f"{self.messages - messages} duplicates at the sink"
        return self.last

    def _count(self, process: "subprocess.Popen[bytes]") -> None:
        """smtp-sink rewrites one line of counters for ever: sess=12 quit=12 mesg=12."""
        assert process.stdout is not None
        rest = b""
        while block := os.read(process.stdout.fileno(), 65536):
            rest = (rest + block)[-200:]
            if counts := re.findall(rb"mesg=(\d+)", rest):
                seen = int(counts[-1])
                if seen != self.messages:
                    self.messages, self.last = seen, time.monotonic()
