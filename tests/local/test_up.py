"""`waystation local` from the outside: the commands people type, with real relays and a real sink."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.children import read_json
from tests.support.ports import free_port
from tests.support.waiting import until

from waystation_operator.local.layout import Layout
from waystation_operator.local.lock import held
from waystation_operator.local.place import ADMIN_OFFSET, SINK_OFFSET
from waystation_operator.local.record import identify, is_alive, read_record

MAIL = """
apiVersion: waystation.dev/v1alpha1
kind: RelayPool
metadata: {name: outbound, namespace: mail}
spec:
  hostname: relay.example.com
  replicas: 1
  retry: {first: 1h}
  listeners:
  - {name: smtp, port: 25, clients: {cidrs: [127.0.0.0/8]}}
---
apiVersion: waystation.dev/v1alpha1
kind: MailRoute
metadata: {name: all, namespace: mail}
spec:
  parentRefs: [{name: outbound}]
  backends: [{smartHost: {host: 127.0.0.1, port: 1, tls: None}}]
"""
REFUSING = """
---
apiVersion: waystation.dev/v1alpha1
kind: MailRoute
metadata: {name: refusing, namespace: mail}
spec:
  parentRefs: [{name: outbound}]
  match: {recipients: ["*@refused.example"]}
  backends: [{reject: {message: Not here}}]
"""


class Local:
    """One folder to run in, with ports nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = free_base()
        self.port = self.base + 25
        self.write(MAIL)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder / ".waystation")

    def write(self, text: str) -> None:
        (self.folder / "mail.yaml").write_text(text)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "waystation", *words]

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What the command printed, after it has ended with ``code``."""
        run = subprocess.run(
            self.command(*words), cwd=self.folder, capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert run.returncode == code, run.stdout + run.stderr
        return run.stdout, run.stderr

    def up(self, *options: str, code: int = 0) -> tuple[str, str]:
        return self.run("local", "up", "mail.yaml", "--port-base", str(self.base), *options, code=code)

    def send(self, recipient: str, code: int = 0) -> tuple[str, str]:
        words = ("--server", f"127.0.0.1:{self.port}", "--from", "app@shop.example", "--to", recipient)
        return self.run("send", *words, code=code)

    def pids(self) -> dict[str, int]:
        record = read_record(self.layout)
        assert record is not None
        return {x.process.name: x.identity.pid for x in record.processes if x.identity}

    def close(self) -> None:
        record = read_record(self.layout)
        if record is not None:
            for identity in (record.supervisor, *(x.identity for x in record.processes)):
                if identity is not None and is_alive(identity):
                    os.kill(identity.pid, signal.SIGKILL)


def free_base() -> int:
    """A port base whose listener, sink and admin ports are all free."""
    while True:
        base = free_port() - ADMIN_OFFSET
        with socket.socket() as listener, socket.socket() as sink:
            try:
                listener.bind(("127.0.0.1", base + 25))
                sink.bind(("127.0.0.1", base + SINK_OFFSET))
            except OSError:
                continue
        return base


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path)
    yield made
    made.close()


def test_a_mail_goes_through_to_the_sink(local: Local) -> None:
    """up --sink, send, look, down: the newcomer's four commands; the route's real server is never asked."""
    out, _ = local.up("--sink", "--detach")
    assert f"127.0.0.1:{local.port}  listener smtp, port 25  outbound-0" in out
    assert f"127.0.0.1:{local.base + SINK_OFFSET}  sink" in out
    assert "outbound-0  ready" in out
    assert "queued as" in local.send("ann@corp.example")[0]
    until(lambda: list(local.layout.sink.glob("ann@corp.example/new/*")), "the mail at the sink")
    assert local.run("queue", "list", "-o", "json")[0].strip() == "[]"
    pids = local.pids()
    assert "stopped; queues and logs stay in .waystation" in local.run("local", "down")[0]
    assert not any(map(identify, pids.values()))
    assert local.run("local", "down")[0] == "nothing runs in .waystation\n"


def test_changes_apply_without_a_restart(local: Local) -> None:
    """up again: the relay goes on under its PID with the new routes; options not given stay as they were."""
    local.up("--sink", "--detach")
    before = local.pids()
    local.write(MAIL + REFUSING)
    out, _ = local.run("local", "up", "mail.yaml")
    assert ".waystation: changed" in out
    assert local.pids() == before
    assert "550 5.7.1 Not here" in local.send("ann@refused.example", code=1)[1]
    local.send("ann@corp.example")
    until(lambda: list(local.layout.sink.glob("ann@corp.example/new/*")), "the mail at the sink")


def test_a_removed_relay_says_what_it_keeps(local: Local) -> None:
    """A relay that leaves with mail in its queue: the mail is named, and there again when the relay is."""
    local.up("--detach")
    local.send("ann@corp.example")
    local.write(MAIL.replace("replicas: 1", "replicas: 0"))
    out, _ = local.run("local", "up", "mail.yaml")
    assert "stopped outbound-0\noutbound-0 keeps 1 message in its queue" in out
    local.write(MAIL)
    local.run("local", "up", "mail.yaml")
    assert "ann@corp.example" in local.run("queue", "list")[0]


def test_replicas_share_the_port(local: Local) -> None:
    """Two relays behind one address, each with a queue of its own."""
    local.write(MAIL.replace("replicas: 1", "replicas: 2"))
    out, _ = local.up("--sink", "--detach")
    assert f"127.0.0.1:{local.port}  listener smtp, port 25  outbound-0, outbound-1" in out
    for n in range(5):
        local.send(f"ann{n}@corp.example")
    until(lambda: len(list(local.layout.sink.glob("ann*@corp.example/new/*"))) == 5, "five mails at the sink")


def test_a_mistake_starts_and_changes_nothing(local: Local) -> None:
    """A wrong file: exit code 2, the field and a remedy; nothing is written, and what runs goes on."""
    local.write(MAIL.replace("replicas: 1", "replicas: many"))
    _, err = local.up("--detach", code=2)
    assert err.startswith(
        "mail.yaml:7: RelayPool mail/outbound: spec.replicas: many: must be a whole number;"
    )
    assert not local.layout.root.exists()
    local.write(MAIL)
    local.up("--detach")
    before = local.pids()
    local.write(MAIL.replace("hostname", "hostnme"))
    local.up(code=2)
    assert local.pids() == before


def test_what_one_machine_cannot_do_is_a_mistake_too(local: Local) -> None:
    """A port that would be above 65535 here is refused at its line, before anything starts."""
    local.write(MAIL.replace("port: 25", "port: 60000"))
    _, err = local.run("local", "up", "mail.yaml", "--port-base", "10000", code=2)
    field = "mail.yaml:10: RelayPool mail/outbound: spec.listeners[0].port: 60000:"
    assert err.startswith(f"{field} would be 127.0.0.1:70000, above 65535; use --port-base 5535 or lower\n")
    assert not local.layout.root.exists()


def test_port_in_use_names_it_and_its_owner(local: Local) -> None:
    """Somebody has the port: exit code 1, the address, what it is for, who has it; nothing runs."""
    with socket.create_server(("127.0.0.1", local.port)):
        _, err = local.up("--detach", code=1)
    assert f"error: 127.0.0.1:{local.port} (listener smtp, port 25, of outbound-0) is in use by" in err
    assert f"(PID {os.getpid()}); stop that, or choose other ports with --port-base" in err
    assert read_record(local.layout) is None


def test_two_at_once_are_refused(local: Local) -> None:
    """While one command changes the folder another is refused, and told which one."""
    with held(local.layout, "waystation local up"):
        _, err = local.up("--detach", code=1)
    assert err.startswith(
        f"error: {local.layout.root} is being changed by `waystation local up` (PID {os.getpid()});"
    )


def test_killed_supervisor_is_cleaned_up_after(local: Local) -> None:
    """kill -9 of the supervisor: the next up ends what is left, starts afresh, and loses no mail."""
    local.up("--detach")
    old = local.pids()["outbound-0"]
    local.send("ann@corp.example")
    os.kill(read_json(local.layout.record)["supervisor"]["pid"], signal.SIGKILL)
    until(
        lambda: "outbound-0 still run" in local.run("local", "status", code=1)[1], "the supervisor to be gone"
    )
    out, _ = local.up("--detach")
    assert "stopping what an earlier run left behind: outbound-0" in out
    assert local.pids()["outbound-0"] != old
    assert "ann@corp.example" in local.run("queue", "list")[0]


def test_a_relay_that_cannot_start_stops_everything(local: Local) -> None:
    """Its queue is of a format nobody knows: the relay's own words, exit code 1, nothing left running."""
    local.layout.spool("outbound-0").mkdir(parents=True)
    (local.layout.spool("outbound-0") / "format").write_text(
        '{"name":"waystation-spool","format":99,"instance":"5649E"}'
    )
    _, err = local.up("--sink", "--detach", code=1)
    assert "newer" in err
    assert "error: outbound-0 did not start: it ended with exit code 1" in err
    assert "error: everything was stopped again" in err
    assert read_record(local.layout) is None


def foreground(local: Local) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        local.command("local", "up", "mail.yaml", "--port-base", str(local.base)),
        cwd=local.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_runs_in_the_foreground_until_ctrl_c(local: Local) -> None:
    """Without --detach it stays; Ctrl-C stops the relays, exit code 0."""
    process = foreground(local)
    try:
        until(lambda: (read_record(local.layout) or NOT_YET).settled, "the run", within_s=20)
        pid = local.pids()["outbound-0"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert ".waystation: running; Ctrl-C stops it" in out
    assert err.endswith("stopped\n")
    assert identify(pid) is None


def test_down_ends_one_in_the_foreground(local: Local) -> None:
    """From another terminal; and the folder can be changed from there while it runs."""
    process = foreground(local)
    try:
        until(lambda: (read_record(local.layout) or NOT_YET).settled, "the run", within_s=20)
        local.write(MAIL + REFUSING)
        assert ".waystation: changed" in local.run("local", "up", "mail.yaml")[0]
        local.run("local", "down")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


class NotYet:
    settled = False


NOT_YET = NotYet()
