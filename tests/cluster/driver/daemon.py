"""Programs that outlive the command that started them: started, found again and stopped by PID file.

A PID file holds the PID and the moment the process began, so that a PID which
the kernel has given to somebody else is never signalled.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.driver.place import Place


@dataclass(frozen=True, slots=True)
class Daemon:
    """``inside`` says whether it runs in the cluster's network."""

    name: str
    argv: tuple[str, ...]
    inside: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def log(place: Place, name: str) -> Path:
    return place.root / "logs" / f"{name}.log"


def running(place: Place, name: str) -> int | None:
    """The PID of a process that lives, else ``None``."""
    try:
        pid, began = map(int, _pid_file(place, name).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return pid if _began(pid) == began else None


def start(place: Place, daemon: Daemon) -> bool:
    """Start it unless it runs; whether it was started. Its output is appended to its log."""
    if running(place, daemon.name) is not None:
        return False
    file = _pid_file(place, daemon.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    log(place, daemon.name).parent.mkdir(parents=True, exist_ok=True)
    argv = place.enter(*daemon.argv) if daemon.inside else daemon.argv
    if place.dies_with_parent:
        argv = ("setpriv", "--pdeathsig", "KILL", *argv)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        argv[0],
        argv,
        os.environ | daemon.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log(place, daemon.name)), append, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    file.write_text(f"{pid} {_began(pid)}\n", encoding="ascii")
    return True


def kill(place: Place, name: str, *, how: signal.Signals = signal.SIGKILL, within_s: float = 10.0) -> bool:
    """Signal it and wait for its end; whether it ran. What ignores the signal is killed in the end."""
    pid = running(place, name)
    if pid is not None:
        deadline = time.monotonic() + within_s
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
        while running(place, name) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):  # it is another process's child, as a rule
            os.waitpid(pid, 0)
    _pid_file(place, name).unlink(missing_ok=True)
    return pid is not None


def _pid_file(place: Place, name: str) -> Path:
    return place.root / "pids" / name


def _began(pid: int) -> int | None:
    """When the process began, in ticks since the machine did; ``None`` for one that is dead."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
