"""The table of log events and their fields. docs/logging.md shows the same (a test compares)."""

from typing import NamedTuple


class Event(NamedTuple):
    """``fields`` beside ``ts``, ``event`` and ``pod``; each may be missing where it makes no sense."""

    name: str
    meaning: str
    fields: tuple[str, ...]


FIELDS: dict[str, str] = {
    "ts": "when, ISO 8601 in UTC with milliseconds",
    "event": "the event's name",
    "pod": "the relay's name, where it was given one",
}
EVENTS: tuple[Event, ...] = ()
