"""The table of metrics: names, kinds, labels, help. docs/metrics.md shows the same (a test compares)."""

import enum
from typing import NamedTuple

PREFIX = "waystation_"


class Kind(enum.StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """``name`` is without the prefix; a counter's ends in ``_total``. ``buckets``: upper bounds, but +Inf."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

CATALOGUE: tuple[Metric, ...] = (
    # Receiving
    Metric("sessions_active", G, "SMTP sessions open now.", ("listener",)),
    Metric("sessions_limit", G, "SMTP sessions that may be open at once.", ("listener",)),
    Metric("sessions_total", C, "SMTP sessions begun.", ("listener",)),
    Metric("sessions_refused_total", C, "Connections turned away before a greeting.", ("listener", "reason")),
    Metric("messages_accepted_total", C, "Messages answered 250 after the data.", ("listener",)),
    Metric(
        "messages_refused_total",
        C,
        "Refusals of a sender, a recipient or a message, by why.",
        ("listener", "reason"),
    ),
    Metric(
        "message_bytes",
        H,
        "Size of accepted messages.",
        buckets=(1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864),
    ),
    # The queue
    Metric(
        "queue_messages",
        G,
        "Messages in the queue: active (in memory, being delivered), stored (on disk, due later or held).",
        ("state",),
    ),
    Metric("queue_recipients", G, "Recipients in the queue: waiting, held.", ("status",)),
    Metric("queue_bytes", G, "Bytes of the messages in the queue."),
    Metric("queue_limit_bytes", G, "Bytes at which new mail is answered 452."),
    Metric("queue_oldest_due_seconds", G, "How late the longest due message is; 0 when none is due."),
    Metric("queue_oldest_seconds", G, "Age of the oldest message; 0 when the queue is empty."),
    Metric("spool_accepting", G, "1 while the spool takes new mail, 0 while it is full or failing."),
    Metric("spool_disk_bytes", G, "Bytes of the body files on disk, live or not yet reclaimed."),
    Metric(
        "spool_batch_messages",
        H,
        "Messages made durable by one commit.",
        buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000),
    ),
    Metric(
        "spool_commit_seconds",
        H,
        "Time one commit took, syncs included.",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    ),
    # Delivering
    Metric("delivery_slots", G, "Outbound connections that may be open at once."),
    Metric("delivery_slots_busy", G, "Outbound connections open or being opened."),
    Metric("connections_total", C, "Outbound connections, by result: opened, failed.", ("result",)),
    Metric(
        "deliveries_total",
        C,
        "Recipients attempted, by outcome (delivered, deferred, failed) and reason.",
        ("route", "outcome", "reason"),
    ),
    Metric(
        "delivery_latency_seconds",
        H,
        "Time from our 250 to the next server's, for each recipient delivered.",
        ("route",),
        (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400),
    ),
    Metric("dns_queries_total", C, "DNS questions sent, by result: answered, failed.", ("result",)),
    Metric("bounces_total", C, "Reports written: failure, delay, success, double.", ("kind",)),
    # The process
    Metric("ready", G, "1 when the relay takes mail, as /readyz says."),
    Metric("drain_remaining", G, "Messages that keep a draining relay from being empty."),
    Metric(
        "handoff_messages_total",
        C,
        "Messages handed between relays (in, out), by result: accepted, duplicate, refused.",
        ("direction", "result"),
    ),
    Metric("config_info", G, "1; the hash of the configuration in force is the label.", ("hash",)),
    Metric("config_last_load_success", G, "1 when the latest document was taken, 0 when it was refused."),
    Metric("config_last_load_timestamp_seconds", G, "When the configuration in force was taken (Unix time)."),
    Metric("log_dropped_total", C, "Log lines dropped because standard output was blocked."),
)

BY_NAME = {metric.name: metric for metric in CATALOGUE}
