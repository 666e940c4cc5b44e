"""A conversation with a server inside the cluster, typed by a test, through ``kubectl exec``."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from tests.cluster.client import Cluster
from tests.support.waiting import until


@dataclass(slots=True)
class Session:
    process: "subprocess.Popen[bytes]" = field(repr=False)
    heard: str = ""

    @classmethod
    @contextmanager
    def open(cls, cluster: Cluster, *argv: str) -> Iterator[Self]:
        process = subprocess.Popen(
            cluster.command(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        session = cls(process)
        reader = threading.Thread(target=session._listen, daemon=True)
        reader.start()
        try:
            yield session
        finally:
            process.kill()
            process.wait()
            reader.join(5)

    def say(self, line: str, answer: str, *, within_s: float = 30.0) -> str:
        """Types a line (none if empty) and returns what was heard since, once ``answer`` is in it."""
        began = len(self.heard)
        if line:
            assert self.process.stdin is not None
            self.process.stdin.write(f"{line}\r\n".encode())
            self.process.stdin.flush()
        return self.wait(answer, since=0 if not line else began, within_s=within_s)

    def wait(self, answer: str, *, since: int = 0, within_s: float = 30.0) -> str:
        until(lambda: answer in self.heard[since:], f"{answer!r} in the session", within_s=within_s)
        return self.heard[since:]

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard += line.decode(errors="replace")
