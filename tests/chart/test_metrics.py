"""Alerts and dashboards ask for metrics that there are, by labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts import alerts, dashboards

from waystation_operator.cluster import metrics as operator
from waystation_relay.observe import catalogue as relay

LABELS = {
    prefix + metric.name: frozenset(metric.labels)
    for prefix, table in ((operator.PREFIX, operator.CATALOGUE), (relay.PREFIX, relay.CATALOGUE))
    for metric in table
}
HISTOGRAMS = {
    *(operator.PREFIX + row.name for row in operator.CATALOGUE if row.type is operator.Type.HISTOGRAM),
    *(relay.PREFIX + metric.name for metric in relay.CATALOGUE if metric.kind is relay.Kind.HISTOGRAM),
}
SCRAPED = {"namespace", "pod"}  # labels that Prometheus adds
BOARDS = {name: json.loads(text) for name, text in dashboards.texts().items()}


def queries(board: str) -> Iterator[tuple[str, str]]:
    for panel in BOARDS[board]["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


QUERIES = [
    *(pytest.param(alert.expr, id=alert.name) for alert in alerts.alerts()),
    *(pytest.param(expr, id=f"{board} {title}") for board in BOARDS for title, expr in queries(board)),
]


def metrics(expr: str) -> Iterator[tuple[str, str]]:
    """(metric as the catalogue has it, its selection) of each place where one is asked for."""
    for name, selection in re.findall(r"\b(waystation_\w+)(\{[^}]*\})?", expr):
        if name in LABELS:
            assert name not in HISTOGRAMS, f"{name} is a histogram: ask for its _bucket, _sum or _count"
            yield name, selection
        else:
            yield re.sub(r"_(bucket|sum|count)\Z", "", name), selection


@pytest.mark.parametrize("expr", QUERIES)
def test_metric_exists(expr: str) -> None:
    """No alert waits for a metric that nobody exposes, or for a label that it does not have."""
    asked = list(metrics(expr))
    assert asked
    for name, selection in asked:
        assert name in LABELS
        assert set(re.findall(r"(\w+)\s*[=!]", selection)) <= LABELS[name] | SCRAPED


@pytest.mark.parametrize("expr", QUERIES)
def test_grouping_is_by_labels_that_are_there(expr: str) -> None:
    """A sum by a label that no metric has would be one sum of everything."""
    there = set().union(*(LABELS[name] for name, _ in metrics(expr))) | SCRAPED | {"le"}
    assert {label for by in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr) for label in by.split(", ")} <= there


def test_every_metric_is_on_a_dashboard() -> None:
    """What is worth counting is worth showing."""
    shown = {name for board in BOARDS for _, expr in queries(board) for name, _ in metrics(expr)}
    assert set(LABELS) - shown == set()


@pytest.mark.parametrize("board", BOARDS)
def test_panels_do_not_overlap(board: str) -> None:
    """Every panel has its own place of 24 columns, and its own number."""
    panels = BOARDS[board]["panels"]
    cells = [
        (place["x"] + column, place["y"] + line)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["w"])
        for line in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("alert", list(alerts.alerts()), ids=lambda alert: alert.name)
def test_alert_says_where_and_what_to_do(alert: alerts.Alert) -> None:
    """It names what it is about by labels that its query leaves, and ends with a remedy."""
    assert alert.severity in {"critical", "warning"}
    assert alert.remedy.endswith(".")
    named = set(re.findall(r"\$labels\.(\w+)", alert.summary))
    grouped = re.match(r"(?:histogram_quantile\([^,]*, )?sum by \(([^)]*)\)", alert.expr)
    left = (
        set(grouped[1].split(", "))
        if grouped
        else set().union(*(LABELS[m] for m, _ in metrics(alert.expr)), SCRAPED)
    )
    assert named <= left


def test_templates_in_alerts_reach_prometheus() -> None:
    """Helm does not take Prometheus' braces for its own: the file is read, not rendered."""
    template = Path(__file__).parents[2] / "charts/waystation/templates/monitoring/prometheusrule.yaml"
    assert '$.Files.Get "files/alerts.yaml"' in template.read_text(encoding="utf-8")
    assert "tpl " not in template.read_text(encoding="utf-8")
