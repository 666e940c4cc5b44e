"""Counting what happens, and telling Prometheus when it asks.

Counters and histograms are plain dicts and lists that the hot path adds to
(measured: 0.1 to 0.4 µs a call, a tenth of prometheus_client's own children);
a collector makes metric families of them at each scrape. Gauges are not kept
at all: who knows the value registers a function that reads it.

Invariants
    Every metric exposed is in the catalogue; a gauge appears once its reader
    is registered, a counter or histogram without labels from the start.
    Used from the event loop's thread alone.
Known limits
    A label value once seen (a route, a listener) is exposed until the process
    ends.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from waystation_relay.observe.catalogue import BY_NAME, CATALOGUE, PREFIX, Kind

Labels = tuple[str, ...]
Reading = float | Mapping[Labels, float]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counts:
    """A counter: one number for each combination of label values."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[Labels, int] = {}

    def add(self, labels: Labels = (), amount: int = 1) -> None:
        values = self.values
        values[labels] = values.get(labels, 0) + amount


class Spread:
    """A histogram of one combination of label values."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        running = 0
        out: list[tuple[str, float]] = []
        for bound, count in zip((*map(repr, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            running += count
            out.append((bound, float(running)))
        return out


class Metrics(Collector):
    """One a process. The methods named for events are called where these happen."""

    def __init__(self) -> None:
        self._counts = {m.name: Counts() for m in CATALOGUE if m.kind is Kind.COUNTER}
        self._spreads: dict[str, dict[Labels, Spread]] = {
            m.name: {} if m.labels else {(): Spread(m.buckets)} for m in CATALOGUE if m.kind is Kind.HISTOGRAM
        }
        for metric in CATALOGUE:
            if metric.kind is Kind.COUNTER and not metric.labels:
                self._counts[metric.name].add(amount=0)
        self._readers: dict[str, Callable[[], Reading]] = {}
        self.latest: dict[Labels, float] = {}  # by route and outcome: when there last was one
        self._latency_bounds = BY_NAME["delivery_latency_seconds"].buckets
        self._latencies = self._spreads["delivery_latency_seconds"]
        self._sizes = self._spreads["message_bytes"][()]
        self._batches = self._spreads["spool_batch_messages"][()]
        self._commits = self._spreads["spool_commit_seconds"][()]
        self._accepted = self._counts["messages_accepted_total"].values
        self._deliveries = self._counts["deliveries_total"].values
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # Receiving

    def session_opened(self, listener: str) -> None:
        self._counts["sessions_total"].add((listener,))

    def session_refused(self, listener: str, reason: str) -> None:
        self._counts["sessions_refused_total"].add((listener, reason))

    def accepted(self, listener: str, size_bytes: int) -> None:
        key = (listener,)
        self._accepted[key] = self._accepted.get(key, 0) + 1
        self._sizes.observe(size_bytes)

    def refused(self, listener: str, reason: str) -> None:
        self._counts["messages_refused_total"].add((listener, reason))

    # The spool

    def batch(self, messages: int) -> None:
        self._batches.observe(messages)

    def commit(self, seconds: float) -> None:
        self._commits.observe(seconds)

    # Handing over

    def handoff(self, direction: str, result: str, count: int) -> None:
        """``direction`` is in or out; ``result`` is accepted, duplicate or refused."""
        self._counts["handoff_messages_total"].add((direction, str(result)), count)

    # Delivering

    def connection_opened(self) -> None:
        self._counts["connections_total"].add(("opened",))

    def connection_failed(self) -> None:
        self._counts["connections_total"].add(("failed",))

    def delivery(
        self, route: str, outcome: str, reason: str, latency_s: float, count: int, now: float
    ) -> None:
        """``count`` recipients had one outcome; ``outcome`` is delivered, deferred or failed."""
        self.latest[route, outcome] = now
        key = (route, outcome, reason)
        self._deliveries[key] = self._deliveries.get(key, 0) + count
        if outcome == "delivered":
            spread = self._latencies.get((route,))
            if spread is None:
                spread = self._latencies[(route,)] = Spread(self._latency_bounds)
            spread.observe(latency_s, count)

    def notice(self, kind: str) -> None:
        self._counts["bounces_total"].add((str(kind),))

    # Telling

    def read(self, name: str, reader: Callable[[], Reading]) -> None:
        """Registers who knows a gauge, or a counter kept elsewhere: a number, or one for each tuple of
        label values. ``name`` as in the catalogue."""
        metric = BY_NAME[name]
        assert metric.kind is not Kind.HISTOGRAM, name
        self._readers[name] = reader

    def render(self) -> bytes:
        """The text exposition, ``CONTENT_TYPE``."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for metric in CATALOGUE:
            name = PREFIX + metric.name
            if metric.kind is Kind.HISTOGRAM:
                spread_family = HistogramMetricFamily(name, metric.help, labels=metric.labels)
                for labels, spread in self._spreads[metric.name].items():
                    spread_family.add_metric(labels, spread.buckets(), spread.sum)
                yield spread_family
                continue
            values = self._values(metric.name)
            if values is None:
                continue
            family: CounterMetricFamily | GaugeMetricFamily
            if metric.kind is Kind.COUNTER:
                family = CounterMetricFamily(name, metric.help, labels=metric.labels)
            else:
                family = GaugeMetricFamily(name, metric.help, labels=metric.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family

    def _values(self, name: str) -> Mapping[Labels, float] | None:
        reader = self._readers.get(name)
        if reader is None:
            counts = self._counts.get(name)
            return counts.values if counts else None
        reading = reader()
        return reading if isinstance(reading, Mapping) else {(): reading}
