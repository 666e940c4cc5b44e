"""The tables of metrics and events, what the program does, and what the documents say: all the same."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.tables import DOCS, table

from waystation_relay.mail.outcome import Reason
from waystation_relay.observe.catalogue import CATALOGUE, PREFIX, Kind, Metric
from waystation_relay.observe.events import EVENTS, FIELDS
from waystation_relay.observe.metrics import Metrics

RELAY = Path(__file__).parents[2] / "relay" / "waystation_relay"
MODULES = {
    p.relative_to(RELAY).as_posix(): ast.parse(p.read_text("utf-8")) for p in sorted(RELAY.rglob("*.py"))
}
BY_NAME = {event.name: event for event in EVENTS}
ALWAYS = {"ts", "event", "pod"}


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    for module, tree in MODULES.items():
        yield from ((module, node) for node in ast.walk(tree) if isinstance(node, kind))


def strings(module: str) -> set[str]:
    return {
        n.value for n in ast.walk(MODULES[module]) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }


def emitted() -> Iterator[tuple[str, str, set[str]]]:
    """(where, event, fields) of each line the relay may write.

    What a call takes from elsewhere (``**fields``, an event from a table) is taken to be any of the
    events and fields that its module names.
    """
    for module, call in nodes(ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if name not in {"emit", "event", "_event"} or not call.args:
            continue
        first, *rest = call.args
        fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        for argument in rest:
            if isinstance(argument, ast.Dict):
                fields |= {str(getattr(key, "value", None)) for key in argument.keys}
        if any(keyword.arg is None for keyword in call.keywords):
            fields |= strings(module) & set(FIELDS) - ALWAYS
        events = {first.value} if isinstance(first, ast.Constant) else strings(module) & set(BY_NAME)
        for event in events:
            known = set(BY_NAME[event].fields) if event in BY_NAME and len(events) > 1 else fields
            yield f"{module}:{call.lineno}", str(event), fields & known
    for module, written in nodes(ast.Dict):  # the log's own lines
        line = {
            getattr(key, "value", None): value
            for key, value in zip(written.keys, written.values, strict=True)
        }
        if module != "observe/events.py" and isinstance(line.get("event"), ast.Constant):
            yield f"{module}:{written.lineno}", line["event"].value, {str(k) for k in line if k} - ALWAYS


def test_every_line_is_of_the_table() -> None:
    """No line of the log has an event or a field that the table does not know."""
    wrong = [
        (where, event, sorted(fields - set(BY_NAME[event].fields)) if event in BY_NAME else "no such event")
        for where, event, fields in emitted()
        if event not in BY_NAME or not fields <= set(BY_NAME[event].fields)
    ]
    assert wrong == []


def test_every_event_happens() -> None:
    """The table promises no event that nothing emits, and no field that nobody fills in."""
    seen: dict[str, set[str]] = {name: set() for name in BY_NAME}
    happens = set()
    for _, event, fields in emitted():
        happens.add(event)
        seen[event] |= fields
    assert set(BY_NAME) - happens == set()
    assert {event.name: left for event in EVENTS if (left := set(event.fields) - seen[event.name])} == {}


def test_every_field_is_explained() -> None:
    """Each field of an event has a line saying what it is, and there are no others."""
    used = {field for event in EVENTS for field in event.fields} | ALWAYS
    assert used == set(FIELDS)
    assert len(BY_NAME) == len(EVENTS)


def test_the_page_on_logging_shows_the_tables() -> None:
    """docs/logging.md has the events and fields of the program, in its order."""
    assert [tuple(row.values()) for row in table("logging.md", "event", "meaning", "fields")] == [
        (event.name, event.meaning, ", ".join(event.fields)) for event in EVENTS
    ]
    assert [tuple(row.values()) for row in table("logging.md", "field", "meaning")] == list(FIELDS.items())


def test_the_page_on_metrics_shows_the_catalogue() -> None:
    """docs/metrics.md has the metrics of the program, in its order."""
    assert [tuple(row.values()) for row in table("metrics.md", "metric", "kind", "labels", "meaning")] == [
        (PREFIX + m.name, m.kind.value, ", ".join(m.labels), m.help) for m in CATALOGUE
    ]


def test_the_page_on_metrics_knows_every_reason() -> None:
    """The reasons a delivery may be counted under are listed for who writes an alert."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in page] == []


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_metric_is_named_as_prometheus_wants_it(metric: Metric) -> None:
    """Counters end in _total and nothing else does; every metric says what it is."""
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.help.endswith(".")


def test_everything_that_is_counted_has_somebody_who_counts() -> None:
    """Each event that Metrics can be told of is told somewhere: no counter stays at 0 for ever."""
    told = {
        used.attr
        for _, used in nodes(ast.Attribute)
        if ast.unparse(used.value).lstrip("_").endswith("metrics")
    }
    telling = {"read", "render", "describe", "collect"}
    events = {name for name in vars(Metrics) if not name.startswith("_") and name not in telling}
    assert events >= {"accepted", "delivery", "batch"}
    assert events - told == set()
