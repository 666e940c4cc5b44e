"""The operator's metrics: their table and who counts. docs/operator-metrics.md shows the same."""

import enum
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "waystation_operator_"


class Type(enum.StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Row(NamedTuple):
    """``name`` is without the prefix; ``buckets`` are upper bounds, but +Inf."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


C, G, H = Type.COUNTER, Type.GAUGE, Type.HISTOGRAM
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

CATALOGUE: tuple[Row, ...] = (
    Row("leader", G, "1 while this replica leads, 0 while it waits."),
    Row(
        "reconciles_total",
        C,
        "Passes over a pool, by result: ok; again (an object had changed meanwhile); failed; gone (there is "
        "no such pool).",
        ("result",),
    ),
    Row("reconcile_seconds", H, "Time one pass over a pool took.", buckets=_SECONDS),
    Row("queue_depth", G, "Pools that are due and wait for a worker."),
    Row("queue_oldest_seconds", G, "For how long the pool that waits the longest has been due."),
    Row("last_success_timestamp_seconds", G, "When a pass over a pool last went well (Unix time)."),
    Row("last_resync_timestamp_seconds", G, "When all objects were last listed anew (Unix time)."),
    Row("watch_events_total", C, "Events of watches, by kind of object.", ("kind",)),
    Row("watch_missed_total", C, "Changes that a list showed and the watch had not told.", ("kind",)),
    Row("watch_restarts_total", C, "Times that all watches were begun anew after a failure or a stall."),
    Row(
        "api_requests_total",
        C,
        "Requests to the API server, by result: ok, its status code, or unreachable.",
        ("verb", "resource", "result"),
    ),
    Row("objects_applied_total", C, "Objects written because they were not as planned.", ("kind",)),
    Row("events_total", C, "Kubernetes Events written about pools and routes.", ("reason",)),
    Row(
        "relay_requests_total", C, "Calls of relays' admin ports, by result: ok, failed.", ("call", "result")
    ),
    Row(
        "programmed_seconds",
        H,
        "Time from noticing a changed route or pool to every pod acknowledging it.",
        ("kind",),
        (0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300),
    ),
    Row(
        "probe_ok",
        G,
        "1 when a server that routes name works, 0 when it does not.",
        ("kind", "host", "reason"),
    ),
    Row(
        "conditions",
        G,
        "Conditions that are reported now, by kind of object, type and status.",
        ("kind", "type", "status"),
    ),
)

BY_NAME = {row.name: row for row in CATALOGUE}
Condition = tuple[str, str, str]  # kind, type, status
Probed = tuple[tuple[str, str, str], bool]  # (kind, host, reason), whether it works

# Looked up when somebody asks, so that what is gone leaves no series behind.
_LOOKED_UP = ("probe_ok", "conditions")


class Metrics:
    """Rendered by ``render``. ``read`` supplies what is looked up only when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._of = {row.name: self._make(row) for row in CATALOGUE if row.name not in _LOOKED_UP}
        self._looked_up = _LookedUp()
        self._registry.register(self._looked_up)

    def _make(self, row: Row) -> Counter | Gauge | Histogram:
        name = PREFIX + row.name
        match row.type:
            case Type.COUNTER:
                return Counter(name, row.help, row.labels, registry=self._registry)
            case Type.GAUGE:
                return Gauge(name, row.help, row.labels, registry=self._registry)
            case Type.HISTOGRAM:
                return Histogram(name, row.help, row.labels, registry=self._registry, buckets=row.buckets)

    def read(
        self,
        depth: Callable[[], float],
        oldest_s: Callable[[], float],
        conditions: Callable[[], Iterable[Condition]],
        probes: Callable[[], Iterable[Probed]],
    ) -> None:
        self._gauge("queue_depth").set_function(depth)
        self._gauge("queue_oldest_seconds").set_function(oldest_s)
        self._looked_up.conditions, self._looked_up.probes = conditions, probes

    def request(self, verb: str, resource: str, result: str) -> None:
        self._count("api_requests_total", verb, resource, result)

    def reconciled(self, result: str, took_s: float, now: float) -> None:
        self._count("reconciles_total", result)
        histogram = self._of["reconcile_seconds"]
        assert isinstance(histogram, Histogram)
        histogram.observe(took_s)
        if result == "ok":
            self._gauge("last_success_timestamp_seconds").set(now)

    def resynced(self, now: float) -> None:
        self._gauge("last_resync_timestamp_seconds").set(now)

    def leads(self, leading: bool) -> None:
        self._gauge("leader").set(1 if leading else 0)

    def watched(self, kind: str) -> None:
        self._count("watch_events_total", kind)

    def missed(self, kind: str, changes: int) -> None:
        self._count("watch_missed_total", kind, amount=changes)

    def watch_restarted(self) -> None:
        self._count("watch_restarts_total")

    def applied(self, kind: str) -> None:
        self._count("objects_applied_total", kind)

    def event(self, reason: str) -> None:
        self._count("events_total", reason)

    def relay_called(self, call: str, result: str) -> None:
        self._count("relay_requests_total", call, result)

    def programmed(self, kind: str, took_s: float) -> None:
        histogram = self._of["programmed_seconds"]
        assert isinstance(histogram, Histogram)
        histogram.labels(kind).observe(took_s)

    def value(self, name: str, **labels: str) -> float:
        """What a sample stands at, for tests and readiness; 0 when it has none."""
        return self._registry.get_sample_value(PREFIX + name, labels) or 0.0

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def _count(self, name: str, *labels: str, amount: float = 1) -> None:
        counter = self._of[name]
        assert isinstance(counter, Counter)
        (counter.labels(*labels) if labels else counter).inc(amount)

    def _gauge(self, name: str) -> Gauge:
        gauge = self._of[name]
        assert isinstance(gauge, Gauge)
        return gauge


class _LookedUp(Collector):
    def __init__(self) -> None:
        self.conditions: Callable[[], Iterable[Condition]] = tuple
        self.probes: Callable[[], Iterable[Probed]] = tuple

    def collect(self) -> Iterator[Metric]:
        probes = _family("probe_ok")
        for labels, works in self.probes():
            probes.add_metric(labels, 1 if works else 0)
        yield probes
        conditions = _family("conditions")
        for condition, count in sorted(Counts(self.conditions()).items()):
            conditions.add_metric(condition, count)
        yield conditions


def _family(name: str) -> GaugeMetricFamily:
    row = BY_NAME[name]
    return GaugeMetricFamily(PREFIX + row.name, row.help, labels=row.labels)
