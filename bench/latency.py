"""How long after its 250 a mail is delivered, at half the rate a server can do.

Our generator paces itself to the rate and notes when each 250 came; our sink
notes when each mail was there. Both read the same monotonic clock. A mail that
reached the sink before the client had read its 250 counts as 0.
"""

import dataclasses
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cache import tool
from bench.servers import TIMED, Server
from bench.sinks import Sink
from tests.support.waiting import until

LONGEST_S = 10.0
SESSIONS = 20
WITHIN_S = 120.0


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds."""

    server: str
    rate: float
    messages: int
    p50: float
    p99: float
    worst: float


def percentile(sorted_figures: Sequence[float], percent: float) -> float:
    """The smallest figure that so many percent do not exceed."""
    return sorted_figures[max(0, math.ceil(len(sorted_figures) * percent / 100) - 1)]


def read_times(path: Path) -> dict[int, int]:
    """Number → nanoseconds, as ``source -w`` and ``sink -w`` write them."""
    pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {int(number): int(nanoseconds) for number, nanoseconds in pairs}


def delays_ms(sent: Mapping[int, int], arrived: Mapping[int, int]) -> list[float]:
    """Sorted; every mail that was sent must have arrived."""
    missing = sent.keys() - arrived.keys()
    assert not missing, f"{len(missing)} mails never reached the sink"
    return sorted(max(0, arrived[number] - when) / 1e6 for number, when in sent.items())


def measure(server: Server, sink: Sink, rate: float, messages: int, folder: Path) -> Latency:
    """At this rate, for at most ten seconds. ``sink`` writes its times when asked (SIGUSR1)."""
    messages = max(SESSIONS, min(messages, round(rate * LONGEST_S)))
    sent = folder / "sent"
    target = sink.messages + messages
    subprocess.run(
        [
            str(tool("source")), "-p", str(server.port), "-t", f"load@{TIMED}", "-m", str(messages),
            "-s", str(SESSIONS), "-r", f"{rate:.1f}", "-w", str(sent),
        ],
        check=True, timeout=WITHIN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    sink.wait(target, WITHIN_S)
    arrived = sink.times()
    until(lambda: server.queued() == 0, "an empty queue", within_s=60, every_s=0.05)
    delays = delays_ms(read_times(sent), read_times(arrived))
    return Latency(server.name, rate, messages, percentile(delays, 50), percentile(delays, 99), delays[-1])
