"""Real child processes for the tests of the local mode: a tiny server that is ready when told to be."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import until

from waystation_operator.local.layout import Layout
from waystation_operator.local.record import Record, is_alive, read_record, write_desired
from waystation_operator.local.topology import Desired, Listening, Process

# Serves /readyz; says 503 until the file "ready" is there, ends at once when the file "broken" is.
# `stubborn` ignores SIGTERM.
SERVER = """
import http.server, os, signal, sys
port, folder, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.path.exists(os.path.join(folder, "broken")):
    sys.exit("the disk is on fire")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        waits = how == "slow" and not os.path.exists(os.path.join(folder, "ready"))
        self.send_response(503 if waits else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def served(name: str, port: int, folder: Path, how: str = "plain") -> Process:
    """A child that answers at ``port``; its readiness endpoint is asked as a relay's would be."""
    return Process(
        name=name,
        argv=(sys.executable, "-S", "-c", SERVER, str(port), str(folder), how),
        log=str(folder / f"{name}.log"),
        listening=(Listening(port, "admin"),),
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )


class Run:
    """A supervisor in a process of its own, on a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.process: subprocess.Popen[str] | None = None

    def want(self, *processes: Process) -> None:
        write_desired(self.layout, Desired(processes))

    def start(self) -> "Run":
        self.process = subprocess.Popen(
            [sys.executable, "-m", "waystation_operator.local.supervisor", str(self.layout.root)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return self

    def record(self) -> Record | None:
        return read_record(self.layout)

    def settled(self, generation: int = 1) -> Record:
        """The record once everything of that generation is ready."""

        def look() -> Record | None:
            found = self.record()
            return found if found and found.settled and found.generation >= generation else None

        found = until(look, f"generation {generation} to be ready")
        assert found is not None
        return found

    def pid(self, name: str) -> int:
        record = self.record()
        assert record is not None
        identity = next(x.identity for x in record.processes if x.process.name == name)
        assert identity is not None
        return identity.pid

    def signal(self, signum: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def end(self) -> tuple[int, str]:
        """Exit code and what it said, when it has ended."""
        assert self.process is not None
        said, _ = self.process.communicate(timeout=20)
        return self.process.returncode, said

    def close(self) -> None:
        """However the test ended, nothing stays: not the supervisor, not its children."""
        record = self.record()
        for running in record.processes if record else ():
            if is_alive(running.identity):
                assert running.identity is not None
                os.kill(running.identity.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


def states(record: Record | None) -> dict[str, str]:
    return {x.process.name: x.state.value for x in record.processes} if record else {}


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())
