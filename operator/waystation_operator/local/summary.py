"""What runs where, for people. Pure: a record and the folder it is about → lines of text."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from waystation_operator.local.layout import Layout
from waystation_operator.local.place import ADDRESS
from waystation_operator.local.record import Record
from waystation_operator.local.topology import SINK

Row = tuple[str, ...]

DATA = ".waystation"  # where commands look when they are given no --data
SEND_PORT = 2525  # where `waystation send` goes when it is given no --server


def ports(record: Record) -> list[str]:
    """Every address with what is served there, and by which processes."""
    served: dict[tuple[int, str], list[str]] = {}
    for running in record.processes:
        for listening in running.process.listening:
            served.setdefault((listening.port, listening.what), []).append(running.process.name)
    rows = [(f"{ADDRESS}:{port}", what, ", ".join(names)) for (port, what), names in sorted(served.items())]
    return columns([("ADDRESS", "SERVES", "BY"), *rows])


def processes(record: Record, here: Path) -> list[str]:
    """Every process with its state and log, and what is wrong with it below."""
    rows = [
        (
            running.process.name,
            running.state.value,
            str(running.identity.pid) if running.identity and running.state != "waiting" else "-",
            str(running.restarts),
            shown(Path(running.process.log), here),
        )
        for running in record.processes
    ]
    lines = columns([("PROCESS", "STATE", "PID", "RESTARTS", "LOG"), *rows])
    return lines + [f"{x.process.name}: {x.problem}" for x in record.processes if x.problem]


def next_steps(record: Record, layout: Layout, here: Path) -> list[str]:
    """Commands worth trying now."""
    relays = [running.process for running in record.processes if running.process.admin]
    data = "" if layout.root == here / DATA else f" --data {shown(layout.root, here)}"
    steps: list[Row] = []
    if relays:
        port = relays[0].listening[0].port
        server = "" if port == SEND_PORT else f" --server {ADDRESS}:{port}"
        mail = "--from app@shop.example --to ann@corp.example"
        steps.append((f"waystation send{server} {mail}", "hand in a mail"))
        steps.append((f"waystation queue list{data}", "what waits, and why"))
    if any(running.process.name == SINK for running in record.processes):
        steps.append((f"ls {shown(layout.sink, here)}", "what the sink has received"))
    steps.append((f"waystation local down{data}", "stop it all; queues stay"))
    return columns(steps)


def columns(rows: Sequence[Row]) -> list[str]:
    """Rows with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def shown(path: Path, here: Path) -> str:
    """The path as one would type it in ``here``."""
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def indented(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
