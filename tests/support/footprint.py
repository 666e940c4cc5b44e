"""What a process holds: memory and open files, from /proc."""

import dataclasses
from pathlib import Path
from typing import Self

MIB = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """``peak_bytes``: the most memory it ever held, ``rss_bytes`` that of now; ``fds``: open descriptors."""

    rss_bytes: int
    peak_bytes: int
    fds: int

    @classmethod
    def of(cls, pid: int) -> Self:
        proc = Path("/proc") / str(pid)
        figures = {}
        for line in (proc / "status").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, rest = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                figures[name] = int(rest.split()[0]) * 1024
        return cls(figures["VmRSS"], figures["VmHWM"], sum(1 for _ in (proc / "fd").iterdir()))

    def __str__(self) -> str:
        return f"{self.rss_bytes / MIB:.0f} MiB (peak {self.peak_bytes / MIB:.0f}), {self.fds} descriptors"
