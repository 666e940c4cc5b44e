"""The table of alerts: what is wrong, how Prometheus sees it, what to do.

``files/alerts.yaml`` of the chart and a table of docs/install.md are made of
it. Figures are a pod's own unless the words say otherwise: an alert names the
pod to look at.
"""

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML

_HEADER = "# Made from charts/alerts.py by `python -m charts.generate`; edit that.\n"


class Alert(NamedTuple):
    """``lasting``: for how long ``expr`` has to hold. ``summary`` may use Prometheus' template language."""

    name: str
    severity: str  # critical: mail is not taken or not moving; warning: it soon will not be
    expr: str
    lasting: str
    summary: str
    remedy: str


_POD = "{{ $labels.namespace }}/{{ $labels.pod }}"

RELAY: tuple[Alert, ...] = (
    Alert(
        "WaystationMailIsLate",
        "critical",
        "waystation_queue_oldest_due_seconds > 900",
        "10m",
        f"{_POD} has mail that should have been tried {{{{ $value | humanizeDuration }}}} ago",
        "Look at `waystation queue list`: destinations that hang, or too few pods for the mail there is.",
    ),
    Alert(
        "WaystationNothingDelivered",
        "critical",
        'sum by (namespace, pod) (waystation_queue_recipients{status="waiting"}) > 0 '
        "unless on (namespace, pod) sum by (namespace, pod) "
        '(increase(waystation_deliveries_total{outcome="delivered"}[1h])) > 0',
        "1h",
        f"{_POD} has mail waiting and has delivered none for an hour",
        "The condition Delivering of its MailRoutes says why: `kubectl get mailroutes -A -o wide`.",
    ),
    Alert(
        "WaystationMailIsStuck",
        "warning",
        "waystation_queue_oldest_seconds > 86400",
        "15m",
        f"{_POD} holds mail that came {{{{ $value | humanizeDuration }}}} ago",
        "Look at `waystation queue list`; senders are told after warnAfter, mail bounces after expireAfter.",
    ),
    Alert(
        "WaystationQueueNearlyFull",
        "warning",
        "waystation_queue_bytes > 0.8 * waystation_queue_limit_bytes",
        "15m",
        f"{_POD} has used more than 80 % of its queue",
        "Enlarge spec.queue.size, add replicas, or find out why mail waits; a full queue answers 452.",
    ),
    Alert(
        "WaystationMailIsNotTaken",
        "critical",
        "waystation_spool_accepting == 0",
        "5m",
        f"{_POD} takes no mail: its queue is full or its volume fails",
        "The pod's condition Ready and its log name the reason; what is queued is still delivered.",
    ),
    Alert(
        "WaystationRelayNotReady",
        "warning",
        "waystation_ready == 0",
        "10m",
        f"{_POD} is not ready",
        "`/readyz` at its admin port, and status.pods of its RelayPool, name the reasons.",
    ),
    Alert(
        "WaystationConfigurationRefused",
        "warning",
        "waystation_config_last_load_success == 0",
        "5m",
        f"{_POD} refused its latest configuration and works with the one before",
        "`/config` at its admin port says why; different versions of operator and relay are a usual reason.",
    ),
    Alert(
        "WaystationDiskIsSlow",
        "warning",
        "histogram_quantile(0.99, sum by (namespace, pod, le) "
        "(rate(waystation_spool_commit_seconds_bucket[10m]))) > 0.5",
        "15m",
        f"{_POD} waits {{{{ $value | humanizeDuration }}}} for its volume before it can say 250",
        "Give the queue a faster StorageClass, or spread the pool over more pods.",
    ),
    Alert(
        "WaystationLogLinesDropped",
        "warning",
        "increase(waystation_log_dropped_total[15m]) > 0",
        "0m",
        f"{_POD} dropped lines of its log, since nobody took them from standard output",
        "See what keeps the node from writing container logs.",
    ),
)

OPERATOR: tuple[Alert, ...] = (
    Alert(
        "WaystationNoOperator",
        "warning",
        "absent(waystation_operator_leader == 1)",
        "10m",
        "No operator leads, or Prometheus does not see it: changes of pools and routes have no effect",
        "See the operator's pods and its Lease. Mail flows meanwhile.",
    ),
    Alert(
        "WaystationOperatorStalled",
        "warning",
        "time() - waystation_operator_last_resync_timestamp_seconds > 600 "
        "and on (namespace, pod) waystation_operator_leader == 1",
        "5m",
        f"The operator {_POD} has not looked at everything for {{{{ $value | humanizeDuration }}}}",
        "Its log says what it waits for, mostly the API server; deleting the pod does no harm.",
    ),
    Alert(
        "WaystationReconcilesFail",
        "warning",
        'sum by (namespace, pod) (increase(waystation_operator_reconciles_total{result="failed"}[15m])) > 3',
        "15m",
        f"The operator {_POD} keeps failing to do what a pool wants",
        "Its log names the pool and what the API server said; often a permission or a quota.",
    ),
    Alert(
        "WaystationNotProgrammed",
        "warning",
        'waystation_operator_conditions{type="Programmed", status!="True"} > 0',
        "10m",
        "{{ $value }} times {{ $labels.kind }}: what was applied is not in force in every pod",
        "`kubectl get relaypools,mailroutes -A -o wide` shows which, the condition Programmed why.",
    ),
    Alert(
        "WaystationNotAccepted",
        "warning",
        'waystation_operator_conditions{type=~"Accepted|ResolvedRefs", status="False"} > 0',
        "15m",
        "{{ $value }} times {{ $labels.kind }}: condition {{ $labels.type }} is False",
        "The condition's message says what to change: `kubectl get relaypools,mailroutes -A -o wide`.",
    ),
    Alert(
        "WaystationServerUnusable",
        "warning",
        "waystation_operator_probe_ok == 0",
        "10m",
        "{{ $labels.host }} cannot be used: {{ $labels.reason }}",
        "The condition Delivering of the routes that name it says what to change, docs/probes.md the rest.",
    ),
    Alert(
        "WaystationCertificateExpiresSoon",
        "warning",
        'waystation_operator_probe_ok{reason="CertificateExpiresSoon"} == 1',
        "1h",
        "The certificate of {{ $labels.host }} expires soon",
        "Have its owner renew it: routes that check certificates stop delivering there when it has expired.",
    ),
)

GROUPS: dict[str, tuple[Alert, ...]] = {"waystation-relays": RELAY, "waystation-operator": OPERATOR}


def alerts() -> Iterator[Alert]:
    for group in GROUPS.values():
        yield from group


def text() -> str:
    """``files/alerts.yaml``: the ``groups`` of a PrometheusRule."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # annotated as None alone
    yaml.width = 110
    out = io.StringIO()
    groups = [{"name": name, "rules": [_rule(alert) for alert in group]} for name, group in GROUPS.items()]
    yaml.dump({"groups": groups}, out)
    return _HEADER + out.getvalue()


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.remedy},
    }
