"""What a run leaves behind: one JSON file below ``bench/results`` with its figures and the machine's facts.

``save`` writes it, ``newest`` finds the latest of a kind; ``report`` and
``plot`` read nothing else.
"""

import datetime
import json
import os
import platform
import sqlite3
import ssl
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
SYNCS = 200


def save(kind: str, machine: dict[str, Any], figures: dict[str, Any]) -> Path:
    FOLDER.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    path = FOLDER / f"{kind}-{now:%Y%m%d-%H%M%S}.json"
    content = {"kind": kind, "when": now.isoformat(timespec="seconds"), "machine": machine, **figures}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {path}")
    return path


def newest(kind: str) -> dict[str, Any] | None:
    """The latest run of a kind; the names sort by time."""
    paths = sorted(FOLDER.glob(f"{kind}-*.json"))
    return load(paths[-1]) if paths else None


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def machine(folder: Path) -> dict[str, Any]:
    """Where the figures come from. ``folder`` is where the queues lie."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "system": _system(),
        "filesystem": filesystem(Path("/proc/self/mountinfo").read_text(encoding="utf-8"), folder.resolve()),
        "sync_ms": sync_ms(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "commit": _commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def machine_lines(facts: dict[str, Any]) -> list[str]:
    return [
        f"{facts['processors']} processors ({facts['processor']}), {facts['memory_gib']} GiB of memory",
        f"{facts['filesystem']}; a synced append of 4 KiB takes {facts['sync_ms']:.2f} ms",
        f"{facts['system']}, Linux {facts['kernel']}",
        f"Python {facts['python']}, SQLite {facts['sqlite']}, {facts['openssl']}",
        f"commit {facts['commit']}; load before the run {facts['load_before']}",
    ]


def filesystem(mountinfo: str, folder: Path) -> str:
    """Kind and options of the filesystem that holds the folder, from ``/proc/self/mountinfo``."""
    best, said = "", "unknown filesystem"
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if folder.is_relative_to(point) and len(point) >= len(best):
            kind, device, *_ = right.split()
            best, said = point, f"{kind} on {device} ({left.split()[5]})"
    return said


def sync_ms(folder: Path, count: int = SYNCS) -> float:
    """The median time of an append of 4 KiB and its fdatasync."""
    path = folder / f"sync-{os.getpid()}"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        taken = []
        for _ in range(count):
            start = time.perf_counter()
            os.write(fd, bytes(4096))
            os.fdatasync(fd)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(fd)
        path.unlink()
    return round(statistics.median(taken) * 1000, 3)


def spread(figures: Sequence[float], digits: int = 0) -> str:
    """The median, in brackets the least and the most; the figure alone when there is one."""
    if len(figures) == 1:
        return f"{figures[0]:,.{digits}f}"
    return (
        f"{statistics.median(figures):,.{digits}f} ({min(figures):,.{digits}f} to {max(figures):,.{digits}f})"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _system() -> str:
    release = platform.freedesktop_os_release()
    return str(release.get("PRETTY_NAME", "Linux"))


def _commit() -> str:
    """Of the checkout, with a plus when files differ from it."""

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", *arguments], check=False, cwd=FOLDER.parent, capture_output=True, text=True, timeout=20
        )
        return run.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
