"""What `waystation local` tells people: where everything is, and what to try next."""

from pathlib import Path

from waystation_operator.local import summary
from waystation_operator.local.layout import Layout
from waystation_operator.local.record import Identity, Record, Running, State
from waystation_operator.local.topology import Listening, Process

HERE = Path("/home")
LAYOUT = Layout(HERE / ".waystation")


def relay(name: str, admin: int, *ports: int) -> Process:
    return Process(
        name=name,
        argv=(),
        log=str(LAYOUT.log(name)),
        listening=(
            *(Listening(2500 + port, f"listener l{port}, port {port}") for port in ports),
            Listening(admin, "admin"),
        ),
        admin=f"http://127.0.0.1:{admin}",
    )


SINK = Process(name="sink", argv=(), log=str(LAYOUT.sink_log), listening=(Listening(5025, "sink"),))


def record(*running: Running) -> Record:
    return Record(Identity(1, "x"), 1, True, running)


def ready(process: Process, pid: int) -> Running:
    return Running(process, State.READY, Identity(pid, "x"))


def test_ports_with_who_serves_them() -> None:
    """One line an address; pods that share one stand together."""
    shown = summary.ports(
        record(ready(SINK, 10), ready(relay("out-0", 8000, 25), 11), ready(relay("out-1", 8001, 25), 12))
    )
    assert shown == [
        "ADDRESS         SERVES                 BY",
        "127.0.0.1:2525  listener l25, port 25  out-0, out-1",
        "127.0.0.1:5025  sink                   sink",
        "127.0.0.1:8000  admin                  out-0",
        "127.0.0.1:8001  admin                  out-1",
    ]


def test_processes_with_what_is_wrong() -> None:
    """A process that is down has no PID, and how it ended stands below the table."""
    down = Running(relay("out-0", 8000, 25), State.WAITING, Identity(11, "x"), 3, "it ended with exit code 1")
    assert summary.processes(record(ready(SINK, 10), down), HERE) == [
        "PROCESS  STATE    PID  RESTARTS  LOG",
        "sink     ready    10   0         .waystation/sink.jsonl",
        "out-0    waiting  -    3         .waystation/pods/out-0/log.jsonl",
        "out-0: it ended with exit code 1",
    ]


def commands(lines: list[str]) -> list[str]:
    return [line.split("  ")[0] for line in lines]


def test_next_steps_are_short_where_the_defaults_fit() -> None:
    """In the usual folder, with a listener on port 25, no command needs an option for where things are."""
    lines = summary.next_steps(record(ready(SINK, 10), ready(relay("out-0", 8000, 25), 11)), LAYOUT, HERE)
    assert commands(lines) == [
        "waystation send --from app@shop.example --to ann@corp.example",
        "waystation queue list",
        "ls .waystation/sink",
        "waystation local down",
    ]


def test_next_steps_name_what_is_unusual() -> None:
    """Elsewhere each command says where; without a sink there is nothing of it to look at."""
    lines = summary.next_steps(record(ready(relay("out-0", 8000, 587), 11)), Layout(Path("/srv/mail")), HERE)
    assert commands(lines) == [
        "waystation send --server 127.0.0.1:3087 --from app@shop.example --to ann@corp.example",
        "waystation queue list --data /srv/mail",
        "waystation local down --data /srv/mail",
    ]


def test_nothing_runs() -> None:
    """A run of no relays (a pool scaled to zero) is shown as such."""
    assert summary.ports(record()) == ["ADDRESS  SERVES  BY"]
    assert commands(summary.next_steps(record(), LAYOUT, HERE)) == ["waystation local down"]
