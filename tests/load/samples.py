"""What a soak saw, sample by sample; whether it trends upwards; CSV and plot. Pure but for the writing.

A trend is judged by medians: of the last quarter of the samples against the
second one, since the first is warming up. Single peaks do not count, a slow leak
does. A queue that grows takes memory with it, up to its bounds: then the relay
was given more than this machine moves, and its memory shows nothing.
"""

import csv
import dataclasses
import importlib.util
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

MIB = 2**20
RSS_GROWTH = 0.10  # of what it was, and at least:
RSS_GROWTH_MIB = 8.0
FDS_GROWTH = 20
QUEUE_GROWTH = 300  # messages
LEAST_SAMPLES = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """``accepted``: messages so far; ``rate``: of them a second, since the last sample."""

    at_s: float
    rss_mib: float
    fds: int
    queued: int
    wal_mib: float
    spool_mib: float
    accepted: int
    rate: float


@dataclasses.dataclass(frozen=True, slots=True)
class Trend:
    """Medians of the second and the last quarter, and how much the last may be."""

    name: str
    early: float
    late: float
    most: float

    @property
    def is_upward(self) -> bool:
        return self.late > self.most

    def __str__(self) -> str:
        verdict = "GROWS" if self.is_upward else "flat"
        return f"{self.name}: {self.early:.1f} in the second quarter, {self.late:.1f} in the last: {verdict}"


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """Of the queue, memory and descriptors. Too few samples show nothing."""
    if len(samples) < LEAST_SAMPLES:
        return []
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]

    def trend(name: str, field: Callable[[Sample], float], margin: Callable[[float], float]) -> Trend:
        early, late = (statistics.median(map(field, part)) for part in (second, last))
        return Trend(name, early, late, early + margin(early))

    queue = trend("messages in the queue", lambda s: s.queued, lambda _: QUEUE_GROWTH)
    if queue.is_upward:
        return [queue]
    return [
        queue,
        trend("memory, MiB", lambda s: s.rss_mib, lambda early: max(RSS_GROWTH_MIB, early * RSS_GROWTH)),
        trend("descriptors", lambda s: s.fds, lambda _: FDS_GROWTH),
    ]


def write(samples: Sequence[Sample], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in dataclasses.fields(Sample)])
        for sample in samples:
            table.writerow([f"{value:.2f}".removesuffix(".00") for value in dataclasses.astuple(sample)])


PANELS: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("memory, MiB", lambda s: s.rss_mib),
    ("open descriptors", lambda s: s.fds),
    ("messages in the queue", lambda s: s.queued),
    ("write-ahead log, MiB", lambda s: s.wal_mib),
    ("messages accepted a second", lambda s: s.rate),
)


def plot(samples: Sequence[Sample], path: Path) -> bool:
    """A panel a figure over time; ``False`` without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.7 * len(PANELS)), layout="constrained")
    minutes = [sample.at_s / 60 for sample in samples]
    for axis, (title, field) in zip(figure.subplots(len(PANELS), sharex=True), PANELS, strict=True):
        axis.plot(minutes, [field(sample) for sample in samples], color="#1f6f8b", linewidth=1.2)
        axis.set_title(title, loc="left", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("minutes")
    figure.savefig(path, dpi=120)
    return True
