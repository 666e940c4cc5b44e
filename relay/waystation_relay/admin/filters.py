"""Which messages a call means: the filters of a URL or a JSON body, as a ``Query``.

The names are those of the options of ``waystation queue``. A duration is a
number of seconds, or of a unit: ``90``, ``90s``, ``15m``, ``2h``, ``5d``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from waystation_relay.admin.problem import Problem
from waystation_relay.mail.message import Status
from waystation_relay.spool.values import Query

MOST_IDS = 1000
LONGEST_TEXT = 1000
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([smhdw]?)\Z")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT:
        raise Problem(400, f"{name}: {value!r:.80} is not a text", f"give {name} a value, or leave it out")
    return value


def _duration_s(name: str, value: object) -> float:
    found = _DURATION.match(str(value)) if isinstance(value, str | int | float) else None
    if found is None:
        raise Problem(
            400, f"{name}: {value!r:.80} is not a duration", "write a number of seconds, or 90s, 15m, 2h, 5d"
        )
    return float(found[1]) * UNITS_S[found[2]]


def _status(name: str, value: object) -> Status:
    try:
        return Status[str(value).upper()]
    except KeyError:
        raise Problem(400, f"{name}: {value!r:.80} is not a status", "write waiting or held") from None


def _ids(name: str, value: object) -> tuple[str, ...]:
    ids = value if isinstance(value, list) else [value]
    if not 0 < len(ids) <= MOST_IDS:
        raise Problem(400, f"{name}: {len(ids)} queue ids", f"name 1 to {MOST_IDS} in one call")
    return tuple(_text(name, each) for each in ids)


FILTERS: dict[str, tuple[str, Callable[[str, object], Any]]] = {
    "id": ("queue_ids", _ids),
    "domain": ("domain", _text),
    "recipient": ("recipient", _text),
    "sender": ("sender", lambda name, value: "" if value in ("", "<>") else _text(name, value)),
    "sender-domain": ("sender_domain", _text),
    "older-than": ("older_than_s", _duration_s),
    "younger-than": ("younger_than_s", _duration_s),
    "reason": ("reason", _text),
    "status": ("status", _status),
}


def query_of(filters: Mapping[str, object]) -> Query:
    """Raises ``Problem`` for a filter that does not exist or a value that makes no sense."""
    wanted: dict[str, Any] = {}
    for name, value in filters.items():
        known = FILTERS.get(name)
        if known is None:
            raise Problem(400, f"{name!r:.80} is no filter", f"use some of {', '.join(FILTERS)}")
        field, read = known
        wanted[field] = read(name, value)
    return Query(**wanted)
