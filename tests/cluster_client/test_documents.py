"""The operator's tables and what the documents and the chart make of them: all the same."""

import ast
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.support.tables import DOCS, table

from waystation_operator.cluster import permissions
from waystation_operator.cluster.log import LINES, LOGGERS
from waystation_operator.cluster.metrics import CATALOGUE, PREFIX, Metrics, Row, Type
from waystation_operator.cluster.permissions import Rule

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator" / "waystation_operator"
SOURCES = [
    ast.parse(file.read_text("utf-8"))
    for part in ("cluster", "handlers", "cli")
    for file in sorted((OPERATOR / part).glob("*.py"))
]


def test_the_page_shows_every_metric() -> None:
    """docs/operator-metrics.md has the metrics of the program, in its order."""
    rows = table("operator-metrics.md", "metric", "kind", "labels", "meaning")
    assert [tuple(row.values()) for row in rows] == [
        (PREFIX + row.name, row.type.value, ", ".join(row.labels), row.help) for row in CATALOGUE
    ]


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_metric_is_named_as_prometheus_wants_it(row: Row) -> None:
    """Counters end in _total and nothing else does; every metric says what it is."""
    assert row.name.endswith("_total") == (row.type is Type.COUNTER)
    assert row.help.endswith(".")


def test_every_metric_is_rendered() -> None:
    """Each is in the answer of /metrics, from the first scrape on, with its help."""
    text = Metrics().render().decode()
    for row in CATALOGUE:
        assert f"# HELP {PREFIX}{row.name} {row.help}" in text


def test_everything_that_is_counted_has_somebody_who_counts() -> None:
    """No counter stays at 0 for ever."""
    told = {
        node.attr
        for tree in SOURCES
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).lstrip("_").endswith("metrics")
    }
    told |= {"programmed"} if any("metrics.programmed" in ast.unparse(tree) for tree in SOURCES) else set()
    events = {name for name in vars(Metrics) if not name.startswith("_")} - {"read", "render", "value"}
    assert events - told == set()


def test_the_page_shows_every_line_of_the_log() -> None:
    """docs/operator.md has the events of the program, in its order."""
    assert [tuple(row.values()) for row in table("operator.md", "event", "level", "meaning")] == [
        (line.event, logging.getLevelName(line.level).lower(), line.meaning) for line in LINES
    ]


def test_every_line_of_the_log_is_written_somewhere() -> None:
    """The table promises no line that nothing writes, and nothing writes another."""
    written = {
        call.args[0].value
        for tree in SOURCES
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "emit"
        if call.args and isinstance(call.args[0], ast.Constant)
    }
    assert written | {"library", *LOGGERS.values()} == {line.event for line in LINES}


PERMISSIONS = (
    permissions.WATCHED,
    permissions.CLUSTER,
    permissions.NAMESPACED,
    permissions.lease("waystation-operator"),
    permissions.POOL_SECRETS,
    permissions.SECRET_READER,
)


def named(rule: Rule) -> str:
    """As kubectl names resources: ``relaypools.waystation.dev/status``."""
    parts = [resource.partition("/") for resource in rule.resources]
    suffix = f".{rule.group}" if rule.group else ""
    return ", ".join(f"{head}{suffix}{slash}{tail}" for head, slash, tail in parts)


def test_the_page_shows_every_permission() -> None:
    """docs/operator.md has the permissions of the table, in its order."""
    lines = (DOCS / "operator.md").read_text(encoding="utf-8").split("## Permissions")[1].split("\n## ")[0]
    shown = [
        tuple(cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
        for line in lines.splitlines()
        if line.startswith("| ") and not line.startswith("| resource ")
    ]
    assert shown == [
        (named(rule), ", ".join(rule.verbs), rule.why.replace("`", ""))
        for rules in PERMISSIONS
        for rule in rules
    ]


def chart_rules(name: str) -> list[dict[str, Any]]:
    """The rules of a definition in the chart, which has no template inside."""
    text = (ROOT / "charts/waystation/templates/rbac/_rules.tpl").read_text(encoding="utf-8")
    found = re.search(rf'define "waystation.{name}" -}}}}(.*?){{{{- end', text, re.DOTALL)
    assert found, name
    plain = re.sub(r"\{\{-? /\*.*?\*/\}\}", "", found[1], flags=re.DOTALL)
    rules: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(plain)
    return rules


def flat(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(
    ("name", "rules"),
    [("rules", permissions.WATCHED), ("poolSecretRules", permissions.POOL_SECRETS)],
    ids=["watched", "pool-secrets"],
)
def test_the_chart_grants_what_is_needed_and_no_more(name: str, rules: tuple[Rule, ...]) -> None:
    """The chart's roles are the table's: what is missing breaks the operator, what is too much is a risk."""
    assert flat(chart_rules(name)) == flat([rule.manifest() for rule in rules])
