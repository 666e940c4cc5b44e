"""The panels of the Grafana dashboards, as tables; ``dashboards`` makes JSON of them.

Every metric of the relay's and of the operator's catalogue is in some panel
(a test looks). In expressions ``$pod`` stands for the selection of pods.
"""

from typing import NamedTuple


class Query(NamedTuple):
    expr: str
    legend: str


class Panel(NamedTuple):
    """``width`` is of 24. ``kind`` is Grafana's name of the panel's type."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8


class Row(NamedTuple):
    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{$pod}}[$__rate_interval]))"


def _quantile(share: float, metric: str, *by: str) -> str:
    grouped = ", ".join(("le", *by))
    rate = f"sum by ({grouped}) (rate({metric}_bucket{{$pod}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rate})"


def _quantiles(metric: str) -> tuple[Query, ...]:
    return tuple(Query(_quantile(share, metric), f"{share:.0%}") for share in (0.5, 0.95, 0.99))


RELAYS: tuple[Row, ...] = (
    Row(
        "Is mail flowing?",
        (
            Panel("Ready pods", "none", (Query("sum(waystation_ready{$pod})", "ready"),), "stat", 4),
            Panel(
                "Waiting recipients",
                "short",
                (Query('sum(waystation_queue_recipients{$pod, status="waiting"})', "waiting"),),
                "stat",
                4,
            ),
            Panel(
                "Latest due mail",
                "s",
                (Query("max(waystation_queue_oldest_due_seconds{$pod})", "late"),),
                "stat",
                4,
            ),
            Panel(
                "Oldest mail", "s", (Query("max(waystation_queue_oldest_seconds{$pod})", "age"),), "stat", 4
            ),
            Panel(
                "Fullest queue",
                "percentunit",
                (Query("max(waystation_queue_bytes{$pod} / waystation_queue_limit_bytes{$pod})", "full"),),
                "stat",
                4,
            ),
            Panel(
                "Pods that take mail",
                "none",
                (Query("sum(waystation_spool_accepting{$pod})", "accepting"),),
                "stat",
                4,
            ),
            Panel(
                "In and out",
                "mps",
                (
                    Query(
                        "sum(rate(waystation_messages_accepted_total{$pod}[$__rate_interval]))", "accepted"
                    ),
                    Query(_rate("waystation_deliveries_total", "outcome"), "{{outcome}}"),
                ),
                width=12,
            ),
            Panel(
                "Why mail is not delivered",
                "mps",
                (
                    Query(
                        'sum by (route, reason) (rate(waystation_deliveries_total{$pod, outcome!="delivered"}'
                        "[$__rate_interval]))",
                        "{{route}} {{reason}}",
                    ),
                ),
                width=12,
            ),
        ),
    ),
    Row(
        "Receiving",
        (
            Panel(
                "Sessions",
                "none",
                (
                    Query("sum by (listener) (waystation_sessions_active{$pod})", "{{listener}}"),
                    Query("sum by (listener) (waystation_sessions_limit{$pod})", "{{listener}}, most"),
                ),
            ),
            Panel(
                "Connections",
                "cps",
                (
                    Query(_rate("waystation_sessions_total", "listener"), "{{listener}}"),
                    Query(
                        _rate("waystation_sessions_refused_total", "listener, reason"),
                        "{{listener}} turned away: {{reason}}",
                    ),
                ),
            ),
            Panel(
                "Refusals",
                "mps",
                (
                    Query(
                        _rate("waystation_messages_refused_total", "listener, reason"),
                        "{{listener}} {{reason}}",
                    ),
                ),
            ),
            Panel("Size of messages", "bytes", _quantiles("waystation_message_bytes")),
            Panel(
                "Messages in one commit",
                "none",
                _quantiles("waystation_spool_batch_messages"),
            ),
            Panel("Time of one commit", "s", _quantiles("waystation_spool_commit_seconds")),
        ),
    ),
    Row(
        "The queue",
        (
            Panel(
                "Messages",
                "short",
                (Query("sum by (state) (waystation_queue_messages{$pod})", "{{state}}"),),
            ),
            Panel(
                "Recipients",
                "short",
                (Query("sum by (status) (waystation_queue_recipients{$pod})", "{{status}}"),),
            ),
            Panel(
                "Bytes by pod",
                "bytes",
                (
                    Query("waystation_queue_bytes{$pod}", "{{pod}}"),
                    Query("waystation_spool_disk_bytes{$pod}", "{{pod}} on disk"),
                ),
            ),
            Panel("Lateness by pod", "s", (Query("waystation_queue_oldest_due_seconds{$pod}", "{{pod}}"),)),
            Panel("Oldest message by pod", "s", (Query("waystation_queue_oldest_seconds{$pod}", "{{pod}}"),)),
            Panel("Left to drain", "short", (Query("waystation_drain_remaining{$pod}", "{{pod}}"),)),
            Panel(
                "Handed from relay to relay, a second",
                "short",
                (
                    Query(
                        _rate("waystation_handoff_messages_total", "pod, direction, result"),
                        "{{pod}} {{direction}} {{result}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Delivering",
        (
            Panel(
                "Time until delivered, by route",
                "s",
                tuple(
                    Query(
                        _quantile(share, "waystation_delivery_latency_seconds", "route"),
                        f"{{{{route}}}} {share:.0%}",
                    )
                    for share in (0.5, 0.95)
                ),
            ),
            Panel(
                "Connections out",
                "none",
                (
                    Query("sum(waystation_delivery_slots_busy{$pod})", "open"),
                    Query("sum(waystation_delivery_slots{$pod})", "most"),
                ),
            ),
            Panel(
                "New connections out",
                "cps",
                (Query(_rate("waystation_connections_total", "result"), "{{result}}"),),
            ),
            Panel(
                "DNS questions",
                "cps",
                (Query(_rate("waystation_dns_queries_total", "result"), "{{result}}"),),
            ),
            Panel("Reports", "mps", (Query(_rate("waystation_bounces_total", "kind"), "{{kind}}"),)),
            Panel(
                "Log lines dropped",
                "short",
                (
                    Query(
                        "sum by (pod) (increase(waystation_log_dropped_total{$pod}[$__rate_interval]))",
                        "{{pod}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Configuration",
        (
            Panel(
                "Pods by configuration",
                "none",
                (Query("count by (hash) (waystation_config_info{$pod})", "{{hash}}"),),
            ),
            Panel(
                "Pods that refused the latest one",
                "none",
                (Query("sum by (pod) (1 - waystation_config_last_load_success{$pod})", "{{pod}}"),),
            ),
            Panel(
                "Age of the configuration in force",
                "s",
                (Query("time() - waystation_config_last_load_timestamp_seconds{$pod}", "{{pod}}"),),
            ),
        ),
    ),
)

OPERATOR: tuple[Row, ...] = (
    Row(
        "What it sees",
        (
            Panel(
                "Conditions that are not True",
                "none",
                (
                    Query(
                        'sum by (kind, type, status) (waystation_operator_conditions{$pod, status!="True"})',
                        "{{kind}} {{type}} {{status}}",
                    ),
                ),
                width=12,
            ),
            Panel(
                "Servers that do not work",
                "none",
                (
                    Query(
                        "count by (host, reason) (waystation_operator_probe_ok{$pod} == 0)",
                        "{{host}} {{reason}}",
                    ),
                ),
                width=12,
            ),
            Panel(
                "From change to Programmed",
                "s",
                tuple(
                    Query(
                        _quantile(share, "waystation_operator_programmed_seconds", "kind"),
                        f"{{{{kind}}}} {share:.0%}",
                    )
                    for share in (0.5, 0.95)
                ),
                width=12,
            ),
            Panel(
                "Events",
                "cps",
                (Query(_rate("waystation_operator_events_total", "reason"), "{{reason}}"),),
                width=12,
            ),
            Panel(
                "Objects written",
                "cps",
                (Query(_rate("waystation_operator_objects_applied_total", "kind"), "{{kind}}"),),
                width=12,
            ),
            Panel(
                "Calls of relays",
                "reqps",
                (
                    Query(
                        _rate("waystation_operator_relay_requests_total", "call, result"),
                        "{{call}} {{result}}",
                    ),
                ),
                width=12,
            ),
        ),
    ),
    Row(
        "Is it well?",
        (
            Panel("Leader", "none", (Query("waystation_operator_leader{$pod}", "{{pod}}"),)),
            Panel(
                "Passes over a pool",
                "cps",
                (Query(_rate("waystation_operator_reconciles_total", "result"), "{{result}}"),),
            ),
            Panel("Time of one pass", "s", _quantiles("waystation_operator_reconcile_seconds")),
            Panel(
                "Pools that wait",
                "none",
                (Query("sum by (pod) (waystation_operator_queue_depth{$pod})", "{{pod}}"),),
            ),
            Panel(
                "Longest wait",
                "s",
                (Query("max by (pod) (waystation_operator_queue_oldest_seconds{$pod})", "{{pod}}"),),
            ),
            Panel(
                "Since the last success, and the last full look",
                "s",
                (
                    Query(
                        "time() - waystation_operator_last_success_timestamp_seconds{$pod}", "{{pod}} success"
                    ),
                    Query(
                        "time() - waystation_operator_last_resync_timestamp_seconds{$pod}",
                        "{{pod}} full look",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "The API server",
        (
            Panel(
                "Requests",
                "reqps",
                (
                    Query(
                        _rate("waystation_operator_api_requests_total", "verb, resource, result"),
                        "{{verb}} {{resource}} {{result}}",
                    ),
                ),
                width=12,
            ),
            Panel(
                "Watches",
                "cps",
                (
                    Query(_rate("waystation_operator_watch_events_total", "kind"), "{{kind}}"),
                    Query(_rate("waystation_operator_watch_missed_total", "kind"), "{{kind}} missed"),
                    Query(_rate("waystation_operator_watch_restarts_total", "pod"), "begun anew"),
                ),
                width=12,
            ),
        ),
    ),
)
