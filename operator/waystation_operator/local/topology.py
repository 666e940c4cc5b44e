"""Planned pods → the processes of a local run. Pure but for the paths it names."""

import sys
from collections.abc import Sequence

import msgspec

from waystation_contract.model import Document
from waystation_operator.local.layout import Layout
from waystation_operator.local.place import ADDRESS, PORT_BASE, Placement, Pod
from waystation_operator.local.redirect import credentials, to_sink, with_dns

SINK = "sink"


class Listening(msgspec.Struct, frozen=True):
    """A port of a process and what it is for, as people call it."""

    port: int
    what: str


class Process(msgspec.Struct, frozen=True):
    """One child process. It is ready when ``ready_url`` answers 200 or, without one, its ports accept."""

    name: str
    argv: tuple[str, ...]
    log: str
    listening: tuple[Listening, ...]
    ready_url: str = ""
    admin: str = ""  # http://127.0.0.1:8000
    token_file: str = ""


class Settings(msgspec.Struct, frozen=True):
    """How the local mode was asked to run things."""

    port_base: int = PORT_BASE
    sink: bool = False
    dns: tuple[str, ...] = ()


class Desired(msgspec.Struct, frozen=True):
    """What ought to run, and the settings it follows from."""

    processes: tuple[Process, ...] = ()
    settings: Settings = Settings()


def document_of(pod: Pod, placement: Placement, dns: Sequence[str]) -> tuple[Document, dict[str, bytes]]:
    """What one pod is told, after the changes of the local mode, and the files that it needs."""
    document = pod.plan.document
    assert document is not None  # a pool without one is refused before anything is placed
    if dns:
        document = with_dns(document, dns)
    if placement.sink_port is not None:
        document = to_sink(document, ADDRESS, placement.sink_port)
    needed = credentials(document)
    return document, {n: data for n, data in pod.plan.files.items() if n.rpartition(".")[0] in needed}


def desired(placement: Placement, layout: Layout, settings: Settings) -> Desired:
    """All processes, the sink first."""
    sink = () if placement.sink_port is None else (_sink(placement.sink_port, layout),)
    return Desired((*sink, *(_relay(pod, layout) for pod in placement.pods)), settings)


def admin_ports(running: Desired) -> dict[str, int]:
    """The admin ports of relays, by pod."""
    return {x.name: int(x.admin.rpartition(":")[2]) for x in running.processes if x.admin}


def _sink(port: int, layout: Layout) -> Process:
    return Process(
        name=SINK,
        argv=(*_waystation("sink"), "--port", str(port), "--maildir", str(layout.sink)),
        log=str(layout.sink_log),
        listening=(Listening(port, "sink"),),
    )


def _relay(pod: Pod, layout: Layout) -> Process:
    admin = f"{ADDRESS}:{pod.admin_port}"
    document = pod.plan.document
    assert document is not None
    shared = ("--reuse-port",) if pod.plan.pool.spec.replicas > 1 else ()
    return Process(
        name=pod.name,
        argv=(
            *_waystation("relay"),
            *("--config", str(layout.document(pod.name))),
            *("--data", str(layout.spool(pod.name))),
            *("--bind", ADDRESS),
            *("--admin", admin),
            *("--admin-token-file", str(layout.token(pod.name))),
            *("--pod", pod.name),
            *shared,
        ),
        log=str(layout.log(pod.name)),
        listening=(
            *(Listening(x.port, f"listener {x.name}, port {x.service_port}") for x in document.listeners),
            Listening(pod.admin_port, "admin"),
        ),
        ready_url=f"http://{admin}/readyz",
        admin=f"http://{admin}",
        token_file=str(layout.token(pod.name)),
    )


def _waystation(command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "waystation", command)
