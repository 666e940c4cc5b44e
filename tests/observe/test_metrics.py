"""What Prometheus sees: true figures, in its own format."""

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from waystation_relay.observe.catalogue import CATALOGUE, PREFIX, Kind
from waystation_relay.observe.metrics import Metrics

NOW = 1_800_000_000.0


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample as a scrape would read it: (name, labels) → value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[f"{PREFIX}{name}", tuple(sorted(labels.items()))]


def test_counters_without_labels_are_there_from_the_start() -> None:
    """A rate over a counter is right from the first event on only if its 0 was seen before."""
    names = {name for name, _ in samples(Metrics())}
    expected = {PREFIX + m.name for m in CATALOGUE if m.kind is Kind.COUNTER and not m.labels}
    assert expected <= names
    assert f"{PREFIX}message_bytes_count" in names


def test_what_is_accepted_is_counted_and_measured() -> None:
    """Messages by listener, their sizes in buckets that include their bound."""
    metrics = Metrics()
    for size_bytes in (1024, 1025, 10**9):
        metrics.accepted("smtp", size_bytes)
    assert value(metrics, "messages_accepted_total", listener="smtp") == 3
    assert value(metrics, "message_bytes_bucket", le="1024.0") == 1
    assert value(metrics, "message_bytes_bucket", le="4096.0") == 2
    assert value(metrics, "message_bytes_bucket", le="+Inf") == 3
    assert value(metrics, "message_bytes_sum") == 1024 + 1025 + 10**9


def test_a_delivery_counts_its_recipients() -> None:
    """Three recipients in one transaction are three deliveries, each with the message's latency."""
    metrics = Metrics()
    metrics.delivery("mail/all", "delivered", "", 0.3, 3, NOW)
    metrics.delivery("mail/all", "deferred", "greylisted", 9.0, 1, NOW + 5)
    assert value(metrics, "deliveries_total", route="mail/all", outcome="delivered", reason="") == 3
    assert value(metrics, "deliveries_total", route="mail/all", outcome="deferred", reason="greylisted") == 1
    assert value(metrics, "delivery_latency_seconds_count", route="mail/all") == 3
    assert value(metrics, "delivery_latency_seconds_bucket", route="mail/all", le="0.5") == 3
    assert value(metrics, "delivery_latency_seconds_bucket", route="mail/all", le="0.25") == 0


def test_the_last_of_each_outcome_is_remembered() -> None:
    """Of each route: when it delivered last, and when it last did not."""
    metrics = Metrics()
    for seconds, outcome in enumerate(("deferred", "delivered", "failed", "delivered")):
        metrics.delivery("mail/all", outcome, "", 0.1, 1, NOW + seconds)
    metrics.delivery("mail/other", "deferred", "dns", 0.1, 1, NOW + 9)
    assert metrics.latest == {
        ("mail/all", "deferred"): NOW,
        ("mail/all", "failed"): NOW + 2,
        ("mail/all", "delivered"): NOW + 3,
        ("mail/other", "deferred"): NOW + 9,
    }


@pytest.mark.parametrize(
    ("tell", "name", "labels"),
    [
        pytest.param(
            lambda m: m.session_opened("smtp"), "sessions_total", {"listener": "smtp"}, id="session"
        ),
        pytest.param(
            lambda m: m.session_refused("smtp", "busy"),
            "sessions_refused_total",
            {"listener": "smtp", "reason": "busy"},
            id="session refused",
        ),
        pytest.param(
            lambda m: m.refused("smtp", "queue-full"),
            "messages_refused_total",
            {"listener": "smtp", "reason": "queue-full"},
            id="message refused",
        ),
        pytest.param(
            lambda m: m.connection_opened(), "connections_total", {"result": "opened"}, id="connection opened"
        ),
        pytest.param(
            lambda m: m.connection_failed(), "connections_total", {"result": "failed"}, id="connection failed"
        ),
        pytest.param(lambda m: m.notice("delay"), "bounces_total", {"kind": "delay"}, id="report"),
        pytest.param(lambda m: m.batch(7), "spool_batch_messages_count", {}, id="batch"),
        pytest.param(lambda m: m.commit(0.002), "spool_commit_seconds_count", {}, id="commit"),
    ],
)
def test_what_is_told_is_counted(tell: object, name: str, labels: dict[str, str]) -> None:
    """Each event counts once, where the catalogue says."""
    metrics = Metrics()
    tell(metrics)  # type: ignore[operator] # one of the functions above
    assert value(metrics, name, **labels) == 1


def test_a_gauge_is_read_when_asked_for() -> None:
    """A gauge shows what is now, not what was when somebody thought of telling it."""
    metrics = Metrics()
    now = {"messages": 1.0}
    metrics.read("queue_bytes", lambda: now["messages"])
    assert value(metrics, "queue_bytes") == 1
    now["messages"] = 5.0
    assert value(metrics, "queue_bytes") == 5
    metrics.read("queue_messages", lambda: {("active",): 2.0, ("stored",): math.inf})
    assert value(metrics, "queue_messages", state="stored") == math.inf


def test_a_gauge_nobody_reads_is_absent() -> None:
    """No figure is better than an invented 0."""
    assert not [name for name, _ in samples(Metrics()) if name == f"{PREFIX}queue_bytes"]


def test_only_what_is_in_the_catalogue_can_be_registered() -> None:
    """A metric that is in no document is a mistake of ours."""
    with pytest.raises(KeyError):
        Metrics().read("surprise", lambda: 1.0)
    with pytest.raises(AssertionError):
        Metrics().read("message_bytes", lambda: 1.0)


@pytest.mark.parametrize("label", ['quote"', "back\\slash", "two\nlines", "ünï"])
def test_label_values_are_quoted(label: str) -> None:
    """A route's or listener's name cannot break the format."""
    metrics = Metrics()
    metrics.session_opened(label)
    assert value(metrics, "sessions_total", listener=label) == 1


def test_names_begin_with_the_prefix() -> None:
    """One prefix for all of ours; only the process's own metrics are named otherwise."""
    names = {name for name, _ in samples(Metrics())}
    assert all(name.startswith((PREFIX, "process_")) for name in names)
