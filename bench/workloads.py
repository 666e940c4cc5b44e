"""The loads every server is put under, as a table. Pure.

``share`` is the part of the run's messages that a workload sends: fewer where
each costs more. A server faster than a thousand messages a second is sent
more, so that no round is over before it has begun, and one that would take
longer than ``LONGEST_S`` is sent fewer.
"""

import dataclasses

from bench.servers import ENCRYPTED, PLAIN

KIB = 1024
FULL_RATE = 1000.0  # messages a second up to which every server is sent the same number
MOST = 20  # times the number
LONGEST_S = 20.0  # a slower server's round is cut to about this


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    key: str
    title: str
    size_bytes: int = 4 * KIB
    sessions: int = 20
    recipients: int = 1
    share: float = 1.0
    is_reusing: bool = False
    is_encrypted: bool = False
    goal: float | None = None  # times Postfix

    @property
    def domain(self) -> str:
        return ENCRYPTED if self.is_encrypted else PLAIN

    def messages(self, base: int, rate: float = 0.0) -> int:
        """How many a server of this rate is sent; ``base`` is the run's number."""
        factor = min(MOST, max(1.0, rate / FULL_RATE))
        wanted = base * self.share * factor
        return max(self.sessions, round(min(wanted, rate * LONGEST_S) if rate else wanted))

    def smtp_source(self, port: int, messages: int) -> list[str]:
        """Arguments of Postfix's generator."""
        return [
            "-4", "-M", "source.test", "-f", "load@source.test", "-t", f"load@{self.domain}",
            "-m", str(messages), "-s", str(self.sessions), "-l", str(self.size_bytes),
            *(("-r", str(self.recipients)) if self.recipients > 1 else ()),
            *(("-d",) if self.is_reusing else ()),
            f"127.0.0.1:{port}",
        ]  # fmt: skip

    def our_source(self, port: int, messages: int) -> list[str]:
        """Arguments of our own generator, ``load/source.c``."""
        return [
            "-p", str(port), "-t", f"load@{self.domain}",
            "-m", str(messages), "-s", str(self.sessions), "-l", str(self.size_bytes),
            *(("-d",) if self.is_reusing else ()),
            *(("-e",) if self.is_encrypted else ()),
        ]  # fmt: skip


NEW = Workload("new", "4 KiB, new connections", goal=5.0)
WORKLOADS = (
    NEW,
    Workload("reused", "4 KiB, reused connections", is_reusing=True, goal=8.0),
    Workload("large", "100 kB", size_bytes=100_000, share=0.2, goal=3.0),
    Workload("recipients", "4 KiB to 50 recipients", recipients=50, share=0.2, goal=3.0),
    Workload("sessions", "4 KiB, 200 sessions at once", sessions=200),
    Workload("tls", "4 KiB, STARTTLS in and out", is_encrypted=True, share=0.5),
)
BY_KEY = {workload.key: workload for workload in WORKLOADS}
