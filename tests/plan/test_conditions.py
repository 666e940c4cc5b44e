"""The table of conditions, the page that shows it, and how conditions change."""

from pathlib import Path
from typing import Any

import pytest
from tests.plan import golden

from waystation_operator.api.problem import Identity
from waystation_operator.plan import conditionspage, diagnosis, transition
from waystation_operator.plan.conditions import BY_NAME, REASONS, ROWS, TYPES, Condition, judged

PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"
ME = Identity("RelayPool", "mail", "outbound")


def test_page_shows_the_table() -> None:
    """docs/conditions.md has every type, status and reason; `python -m waystation_operator.cli.generate`."""
    page = PAGE.read_text(encoding="utf-8")
    assert conditionspage.fill(page) == page
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")][: len(TYPES)] == [
        type_.name for type_ in TYPES
    ]
    for reason in REASONS:
        assert f"| `{reason}` |" in page


def test_whoever_is_told_of_trouble_is_told_what_to_do() -> None:
    """No judgement that asks something of somebody leaves them without a remedy."""
    troubled = [
        row for row in ROWS.values() if row.status != BY_NAME[row.type].good and row.reason != "NoMailYet"
    ]
    lacking = [row for row in troubled if not row.remedy and row.reason not in ("Deleting", "Draining")]
    assert lacking == []


def test_every_finding_of_a_probe_has_its_row() -> None:
    """What probes find can be said in a condition, whatever it is."""
    for case, row in diagnosis.TABLE.items():
        assert ("Reachable", "True" if row.ok else "False", row.reason) in ROWS, case


def test_a_reason_that_nobody_declared_is_refused() -> None:
    """A condition with a reason of its own invention would be in no documentation."""
    with pytest.raises(KeyError):
        judged("Accepted", "True", "Fine")


def test_goldens_use_declared_reasons() -> None:
    """The examples show what the table says: no judgement comes from anywhere else."""
    used = {word for path in golden.WORLDS.glob("*.json") for word in _reasons(path)}
    assert used - set(REASONS) == {"Whatever"}  # of another controller, in an example


def _reasons(path: Path) -> set[str]:
    import json

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if "lastTransitionTime" in value:
                yield value["reason"]
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    return set(walk(json.loads(path.read_text(encoding="utf-8"))))


def condition(reason: str, status: str = "True", since: str = "2030-01-01T00:00:00Z") -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": since}


@pytest.mark.parametrize(
    ("before", "now", "since"),
    [
        pytest.param([condition("Ready")], judged("Ready", "True", "Ready"), "2030-01-01", id="same"),
        pytest.param(
            [condition("Ready")], judged("Ready", "True", "Degraded"), "2030-01-01", id="reason alone"
        ),
        pytest.param([condition("Ready")], judged("Ready", "False", "NoPods"), "2030-03-17", id="status"),
        pytest.param([], judged("Ready", "True", "Ready"), "2030-03-17", id="first time"),
        pytest.param(
            [{"type": "Ready", "status": "True"}], judged("Ready", "True", "Ready"), "2030-03-17", id="half"
        ),
    ],
)
def test_the_time_is_of_the_status(before: list[dict[str, Any]], now: Condition, since: str) -> None:
    """`lastTransitionTime` answers since when it is so, whatever the reason was meanwhile."""
    (written,) = transition.written([now], before, 7, 1_900_000_000.0)
    assert written["lastTransitionTime"].startswith(since)
    assert written["observedGeneration"] == 7


@pytest.mark.parametrize(
    ("before", "now", "events"),
    [
        pytest.param([], judged("Ready", "True", "Ready"), [], id="well from the start"),
        pytest.param([], judged("Ready", "False", "Starting"), [], id="passes by itself"),
        pytest.param(
            [], judged("Ready", "False", "CrashLooping"), [("Warning", "CrashLooping")], id="trouble"
        ),
        pytest.param(
            [condition("CrashLooping", "False")], judged("Ready", "False", "CrashLooping"), [], id="the same"
        ),
        pytest.param(
            [condition("CrashLooping", "False")],
            judged("Ready", "False", "QueueFull"),
            [("Warning", "QueueFull")],
            id="another trouble",
        ),
        pytest.param(
            [condition("CrashLooping", "False")],
            judged("Ready", "True", "Ready"),
            [("Normal", "Ready")],
            id="the end of trouble",
        ),
        pytest.param(
            [condition("Starting", "False")], judged("Ready", "True", "Ready"), [], id="the end of a start"
        ),
        pytest.param(
            [condition("FromTheFuture", "False")],
            judged("Ready", "True", "Ready"),
            [("Normal", "Ready")],
            id="the end of what another version said",
        ),
    ],
)
def test_events_tell_of_changes_alone(
    before: list[dict[str, Any]], now: Condition, events: list[tuple[str, str]]
) -> None:
    """An Event is written when trouble begins, changes or ends; never for what passes by itself."""
    told = transition.events([now], before, ME, "uid")
    assert [(event.type, event.reason) for event in told] == events


def test_what_the_api_server_fills_in_is_no_difference() -> None:
    """Empty text and lists come back from the API server where nothing was written: no reason to write."""
    stored = {"selector": "", "pods": [{"ordinal": 0, "phase": "", "message": ""}], "listeners": []}
    assert transition.same({"pods": [{"ordinal": 0}]}, stored)
    assert not transition.same({"pods": [{"ordinal": 1}]}, stored)
