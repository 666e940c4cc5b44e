"""A relay as it runs in a pod: the real process, its configuration file, spool folder and admin port.

The class writes the contract document, starts ``python -m waystation relay``,
waits for ``/readyz``, reads its log lines and stops it, softly or not. One
instance may be started again and again over the same spool.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from tests.support.certificates import Certificate
from tests.support.ports import free_port
from tests.support.waiting import until

from waystation_contract import codec
from waystation_contract.model import (
    VERSION,
    Backend,
    Document,
    Listener,
    Queue,
    Retry,
    Route,
    SmartHost,
    UpstreamTLS,
)

TOKEN = "a-token-for-tests"
START_WITHIN_S = 15.0


def to(port: int, host: str = "127.0.0.1", **fields: Any) -> SmartHost:
    """A next hop on this machine, without TLS."""
    return SmartHost(host=host, port=port, tls=UpstreamTLS.NONE, **fields)


def route(
    *backends: Backend, recipients: Sequence[str] = ("*",), name: str = "test/route", **fields: Any
) -> Route:
    fields.setdefault("created", 0.0)
    fields.setdefault("listeners", ("smtp",))
    fields.setdefault("retry", Retry(first_s=0.3, max_s=1.0, jitter_percent=0))
    return Route(name=name, recipients=tuple(recipients), backends=backends, **fields)


def document(port: int, *routes: Route, **fields: Any) -> Document:
    """A pool of one listener called ``smtp`` that relays for this machine; short retry times."""
    fields.setdefault("listeners", (listener(port),))
    fields.setdefault("retry", Retry(first_s=0.3, max_s=1.0, jitter_percent=0))
    fields.setdefault("queue", Queue(max_bytes=2**30, full_at_percent=99))
    fields.setdefault("hostname", "relay.test")
    return Document(version=VERSION, pool="test/relay", routes=routes, **fields)


def listener(port: int, **fields: Any) -> Listener:
    fields.setdefault("clients", ("127.0.0.0/8",))
    return Listener(name="smtp", port=port, service_port=25, **fields)


class RelayProcess:
    """Owns one folder: ``config/relay.json``, ``spool/``, ``log`` and ``errors``."""

    def __init__(self, folder: Path, *, pod: str = "relay-0", data: Path | None = None) -> None:
        self.folder = folder
        self.pod = pod
        self.port = free_port()
        self.admin_port = free_port()
        self.data = data or folder / "spool"
        self.config = folder / "config" / "relay.json"
        self.token = folder / "token"
        self.out, self.err = folder / "log", folder / "errors"
        self.arguments: list[str] = []  # more options of the command
        self.environment: dict[str, str] = {}  # on top of ours
        self.process: subprocess.Popen[bytes] | None = None
        for made in (self.config.parent, self.data):
            made.mkdir(parents=True, exist_ok=True)
        self.token.write_text(TOKEN, encoding="utf-8")

    def configure(self, *routes: Route, **fields: Any) -> Document:
        """Writes the document as the operator's volume would: whole, by rename."""
        written = document(self.port, *routes, **fields)
        self.write(msgspec.json.encode(written))
        return written

    def apply(self, *routes: Route, **fields: Any) -> None:
        """A new document for the running relay, which has taken it when this returns."""
        written = self.configure(*routes, **fields)
        beside = {file.name: file.read_bytes() for file in self.config.parent.iterdir()}
        wanted = codec.digest(written, beside)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

        def taken() -> bool:
            status, body = self.get("/config")
            return status == 200 and json.loads(body)["hash"] == wanted

        until(taken, "the relay to take its new configuration")

    def credential(self, name: str, username: str, password: str) -> None:
        """The files of a credential, beside the document."""
        (self.config.parent / f"{name}.username").write_text(username, encoding="utf-8")
        (self.config.parent / f"{name}.password").write_text(password, encoding="utf-8")

    def certificate(self, name: str, issued: Certificate) -> None:
        """The files of a certificate, beside the document."""
        shutil.copyfile(issued.chain, self.config.parent / f"{name}.crt")
        shutil.copyfile(issued.key, self.config.parent / f"{name}.key")

    def write(self, content: bytes) -> None:
        fresh = self.config.with_name(".relay.json.new")
        fresh.write_bytes(content)
        fresh.rename(self.config)

    def command(self) -> list[str]:
        return [
            sys.executable, "-m", "waystation", "relay",
            "--config", str(self.config), "--data", str(self.data), "--bind", "127.0.0.1",
            "--admin", f"127.0.0.1:{self.admin_port}", "--admin-token-file", str(self.token),
            "--pod", self.pod, *self.arguments,
        ]  # fmt: skip

    def start(self, *, wait: bool = True) -> Self:
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        if wait:
            self.wait_ready()
        return self

    def run_to_end(self, within_s: float = 15.0) -> tuple[int, str]:
        """Starts a relay that is expected to refuse: its exit code and what it said."""
        run = subprocess.run(
            self.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within_s
        )
        return run.returncode, run.stdout + run.stderr

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.process is not None
            code = self.process.poll()
            assert code is None, f"the relay ended with {code}: {self.err.read_text()[-2000:]}"
            return self.get("/readyz")[0] == 200

        until(ready, "the relay to be ready", within_s=START_WITHIN_S, every_s=0.02)

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def stop(self, within_s: float = 20.0) -> int:
        """SIGTERM, and the exit code it ended with; killed when it does not end in time."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the relay did not end within {within_s:g} s of SIGTERM") from None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """However the test ended: no process stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it says

    def log(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines so far, those of an event, those whose fields are as given."""
        lines = []
        for path in (self.out, self.err):
            for line in path.read_bytes().splitlines() if path.exists() else ():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        lines.append(entry)
        return [
            line
            for line in lines
            if event in (None, line.get("event")) and all(line.get(k) == v for k, v in fields.items())
        ]

    def wait_log(self, event: str, *, within_s: float = 10.0, **fields: Any) -> dict[str, Any]:
        return until(lambda: self.log(event, **fields), f"a log line {event} {fields}", within_s=within_s)[-1]

    # Its admin port

    def get(self, path: str) -> tuple[int, bytes]:
        return self.request("GET", path)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Status and body; (0, why) when nobody answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, str(error).encode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples having these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(
                f'{k}="{v}"' in line for k, v in labels.items()
            ):
                total += float(line.rpartition(" ")[2])
        return total

    def queue(self, *arguments: str) -> Any:
        """``waystation queue …`` against this relay; what it printed as JSON."""
        run = self.queue_run(*arguments, "-o", "json")
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)

    def queue_run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, "-m", "waystation", "queue", *arguments,
                "--admin", f"http://127.0.0.1:{self.admin_port}", "--token-file", str(self.token),
            ],
            capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip

    def queued(self) -> int:
        """How many messages are in the queue."""
        return int(self.metric("waystation_queue_messages"))
