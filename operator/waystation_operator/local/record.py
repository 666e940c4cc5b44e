"""Who runs: the record of a local run, and how a process is known to be the one that was recorded.

A PID alone names whoever has it now. With the time at which the process
started, in this boot of the machine, it names one process for ever; only a
process that still fits is ever sent a signal.
"""

import enum
import os
import signal
from pathlib import Path
from typing import TypeVar

import msgspec

from waystation_operator.local.layout import Layout, write
from waystation_operator.local.topology import Desired, Process

T = TypeVar("T")


class State(enum.StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # it ended, and will be started again
    STOPPING = "stopping"


class Identity(msgspec.Struct, frozen=True):
    pid: int
    started: str


class Running(msgspec.Struct, frozen=True):
    """``problem`` is how it ended last, until it is ready again."""

    process: Process
    state: State
    identity: Identity | None = None
    restarts: int = 0
    problem: str = ""


class Record(msgspec.Struct, frozen=True):
    """``generation`` counts what the supervisor has been asked to run; ``settled``: all of it is ready."""

    supervisor: Identity
    generation: int
    settled: bool
    processes: tuple[Running, ...] = ()


def identify(pid: int) -> Identity | None:
    """The process with this PID as it is now, ``None`` when there is none (or only its zombie)."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Identity(pid, f"{boot}/{fields[19]}")


def is_alive(identity: Identity | None) -> bool:
    return identity is not None and identify(identity.pid) == identity


def send(identity: Identity, signum: signal.Signals) -> None:
    """Signals the process if it is still the recorded one."""
    if is_alive(identity):
        try:
            os.kill(identity.pid, signum)
        except ProcessLookupError:
            return


def read_record(layout: Layout) -> Record | None:
    return _read(layout.record, Record)


def write_record(layout: Layout, record: Record) -> None:
    write(layout.record, msgspec.json.encode(record))


def read_desired(layout: Layout) -> Desired:
    return _read(layout.desired, Desired) or Desired()


def write_desired(layout: Layout, desired: Desired) -> None:
    write(layout.desired, msgspec.json.encode(desired))


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None  # not written yet, or by another version: nothing of ours to rely on
