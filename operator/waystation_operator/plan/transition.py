"""Conditions as they were and as they are judged now → those to write, and the Events to tell of it.

``lastTransitionTime`` changes with the status and with nothing else; Events
come from what changed, so that the same state never tells twice. Conditions
that are judged no more are gone.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from waystation_operator.api.problem import Identity
from waystation_operator.plan.conditions import BY_NAME, REASONS, ROWS, Condition
from waystation_operator.plan.desired import Event

EVENT_REASONS = REASONS  # an Event's reason is that of the condition that changed


def iso(unix: float) -> str:
    """Unix seconds as metav1.Time writes them."""
    return datetime.datetime.fromtimestamp(unix, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(
    judged: Sequence[Condition], before: Sequence[Mapping[str, Any]], generation: int, now: float
) -> list[dict[str, Any]]:
    """The conditions for the status, in the order in which they were judged."""
    old = {str(condition.get("type")): condition for condition in before}
    return [_written(condition, old.get(condition.type, {}), generation, now) for condition in judged]


def _written(condition: Condition, before: Mapping[str, Any], generation: int, now: float) -> dict[str, Any]:
    since = before.get("lastTransitionTime") if before.get("status") == condition.status else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since if isinstance(since, str) and since else iso(now),
        "observedGeneration": generation,
    }


def events(
    judged: Sequence[Condition],
    before: Sequence[Mapping[str, Any]],
    regarding: Identity,
    uid: str,
    about: str = "",
) -> list[Event]:
    """One for each condition that has come to another judgement; what passes by itself is not told.

    ``about`` begins the message where an object has the same condition several times.
    """
    old = {str(condition.get("type")): condition for condition in before}
    found = [_event(condition, old.get(condition.type), regarding, uid, about) for condition in judged]
    return [event for event in found if event is not None]


def _event(
    condition: Condition, before: Mapping[str, Any] | None, regarding: Identity, uid: str, about: str
) -> Event | None:
    row = condition.row
    if row.quiet or (before is not None and _judgement(before) == (condition.status, condition.reason)):
        return None
    if condition.is_good and not row.remedy and not _was_trouble(condition.type, before):
        return None
    kind = "Warning" if row.remedy else "Normal"
    message = f"{about}{condition.type} is {condition.status}: {condition.message}"
    return Event(regarding, uid, "Warning" if kind == "Warning" else "Normal", condition.reason, message)


def same(new: Any, old: Any) -> bool:
    """Whether two statuses say the same; the API server fills in what is empty by its defaults."""
    return bool(new == old or _filled(new) == _filled(old))


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, "", [], {})}
    return [_filled(item) for item in value] if isinstance(value, list | tuple) else value


def _judgement(before: Mapping[str, Any]) -> tuple[object, object]:
    return before.get("status"), before.get("reason")


def _was_trouble(type_: str, before: Mapping[str, Any] | None) -> bool:
    """Whether it was said by an Event: only then is its end worth one."""
    if before is None:
        return False
    status, reason = str(before.get("status")), str(before.get("reason"))
    row = ROWS.get((type_, status, reason))  # type: ignore[arg-type] # whatever an older version wrote
    return row is None or (not row.quiet and (bool(row.remedy) or status != BY_NAME[type_].good))
