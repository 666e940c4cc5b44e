"""What a server costs: processor seconds and memory of a process and everything that descends from it.

``/proc/<pid>/stat`` has the time of a process and of those of its children
that ended and were waited for. Summed over a tree whose root adopts orphans
(``bench.reaper``) nothing is lost: a child that ends moves from one sum to the
other. Parsing is pure; ``cpu_seconds`` and ``memory`` read ``/proc``.

Known limits
    The kernel counts in ticks of 10 ms: short runs of small processes round to nothing.
    Time that the kernel spends on a server's behalf in threads of its own (writing pages back,
    parts of TCP on loopback) is nobody's.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """``ticks`` are its own, ``reaped_ticks`` those of children that are gone; user and system together."""

    pid: int
    parent: int
    ticks: int
    reaped_ticks: int


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """``rss_bytes`` counts a page shared by two processes twice, ``pss_bytes`` once."""

    processes: int
    rss_bytes: int
    pss_bytes: int


def parse_stat(text: str) -> Process:
    """A line of ``/proc/<pid>/stat``; the name in it may hold blanks and parentheses."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    user, system, reaped_user, reaped_system = map(int, fields[11:15])
    return Process(int(pid), int(fields[1]), user + system, reaped_user + reaped_system)


def descendants(root: int, processes: Iterable[Process]) -> list[Process]:
    """The root, its children, theirs and so on."""
    known = {process.pid: process for process in processes}
    children: dict[int, list[Process]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process)
    found = [known[root]] if root in known else []
    for process in found:  # grows while it is walked
        found += children.get(process.pid, [])
    return found


def parse_rollup(text: str) -> tuple[int, int]:
    """RSS and PSS in bytes, of ``/proc/<pid>/smaps_rollup``."""
    figures = {
        name: int(rest.split()[0]) * KIB
        for name, colon, rest in (line.partition(":") for line in text.splitlines())
        if colon and name in ("Rss", "Pss")
    }
    return figures.get("Rss", 0), figures.get("Pss", 0)


def processes() -> list[Process]:
    """Everything that runs now."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                found.append(parse_stat((entry / "stat").read_text(encoding="utf-8", errors="replace")))
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far."""
    tree = descendants(root, processes())
    return sum(process.ticks + process.reaped_ticks for process in tree) / TICKS_A_SECOND


def memory(root: int, *, skip_root: bool = False) -> Memory:
    """What the tree holds now; ``skip_root`` leaves out a wrapper around the server."""
    count = rss = pss = 0
    for process in descendants(root, processes())[1 if skip_root else 0 :]:
        with contextlib.suppress(OSError):
            its_rss, its_pss = parse_rollup((PROC / str(process.pid) / "smaps_rollup").read_text("ascii"))
            count, rss, pss = count + 1, rss + its_rss, pss + its_pss
    return Memory(count, rss, pss)
