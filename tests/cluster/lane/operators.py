"""`waystation operator run` as a process beside the control plane: started, asked, killed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.client import Body, Cluster
from tests.support.ports import free_port

_SAMPLE = re.compile(r"waystation_operator_(\w+?)(?:\{(.*)\})? ([0-9.e+-]+)$")
IMAGE = "waystation-relay:test"


@dataclass(slots=True)
class Operator:
    process: subprocess.Popen[bytes]
    port: int
    log: Path
    name: str = field(default="operator")

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """What it has logged: of this event, or all."""
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        whole = (line for line in text.splitlines() if line.startswith("{") and line.endswith("}"))
        found = [json.loads(line) for line in whole]
        return [line for line in found if event in ("", line["event"])]

    def wait_for(self, event: str, within_s: float = 30.0) -> dict[str, Any]:
        """The first line of this event."""
        deadline = time.monotonic() + within_s
        while not (found := self.lines(event)):
            code = self.process.poll()
            assert code is None, f"{self.name} ended with {code}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"{self.name} said no {event}:\n{self.tail()}"
            time.sleep(0.1)
        return found[0]

    def get(self, path: str) -> tuple[int, str]:
        """Status and text; status 0 when nobody answers."""
        request = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample = _SAMPLE.match(line)
            if sample and sample[1] == name:
                given = dict(re.findall(r'(\w+)="([^"]*)"', sample[2] or ""))
                if labels.items() <= given.items():
                    total += float(sample[3])
        return total

    def writes(self) -> float:
        """Requests that changed something, but for the lease."""
        verbs = ("apply", "patch", "create", "update", "delete")
        every = sum(self.metric("api_requests_total", verb=verb) for verb in verbs)
        return every - sum(
            self.metric("api_requests_total", verb=v, resource="leases") for v in ("create", "update")
        )

    def passes(self) -> float:
        return self.metric("reconciles_total", result="ok")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, within_s: float = 15.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def tail(self) -> str:
        text = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-30:])


@contextlib.contextmanager
def running(
    cluster: Cluster, folder: Path, *options: str, name: str = "operator", kubeconfig: Path | None = None
) -> Iterator[Operator]:
    """Gone at the end, however it got there."""
    port, log = free_port(), folder / f"{name}.log"
    argv = [sys.executable, "-m", "waystation", "operator", "run", f"--relay-image={IMAGE}"]
    argv += [f"--http=127.0.0.1:{port}", "--log-level=debug", *options]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig or cluster.kubeconfig)}
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    operator = Operator(process, port, log, name)
    try:
        yield operator
    finally:
        if process.poll() is None:
            operator.kill()


def pool(name: str, namespace: str, **spec: Any) -> Body:
    listener = {"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}}
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "RelayPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"hostname": "relay.example.com", "listeners": [listener], **spec},
    }


def route(name: str, namespace: str, parent: str, **spec: Any) -> Body:
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "MailRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"name": parent}], "backends": [{"discard": {}}], **spec},
    }


def condition(body: Body | None, kind: str) -> Body | None:
    """Of a pool's status, or of a route's first parent."""
    status = (body or {}).get("status", {})
    groups = [status, *status.get("parents", ())]
    found = [c for group in groups for c in group.get("conditions", ()) if c["type"] == kind]
    return found[0] if found else None
