"""How long a change takes from being noticed to being in force in every pod. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from waystation_operator.cluster.kinds import MAIL_ROUTE, RELAY_POOL, Kind
from waystation_operator.cluster.store import Object, key_of, uid
from waystation_operator.plan.reading import conditions

MOST = 10_000  # changes under way that are remembered; beyond it the oldest are not measured


class Latency:
    """``observe`` gets the kind and the seconds of each change that arrived."""

    def __init__(self, observe: Callable[[str, float], None]) -> None:
        self._observe = observe
        self._since: dict[tuple[str, tuple[str, str]], tuple[object, float]] = {}

    def wished(self, kind: Kind, body: Object, now: float) -> None:
        """A version was noticed; only a new generation of a pool or route counts."""
        if kind not in (RELAY_POOL, MAIL_ROUTE) or is_programmed(kind, body):
            return
        change = (uid(body), body["metadata"].get("generation"))
        key = (kind.kind, key_of(body))
        if key in self._since and self._since[key][0] == change:
            return
        self._since[key] = change, now
        while len(self._since) > MOST:
            del self._since[next(iter(self._since))]

    def written(self, kind: Kind, body: Object, now: float) -> None:
        """A status was written."""
        key = (kind.kind, key_of(body))
        began = self._since.get(key)
        if began is None or not is_programmed(kind, body):
            return
        del self._since[key]
        if began[0] == (uid(body), body["metadata"].get("generation")):
            self._observe(kind.kind, now - began[1])


def is_programmed(kind: Kind, body: Object) -> bool:
    """Whether its latest generation is said to be in force everywhere."""
    generation = body["metadata"].get("generation")
    found = [c for c in _conditions(kind, body) if c.get("type") == "Programmed"]
    return bool(found) and all(
        c.get("status") == "True" and c.get("observedGeneration") == generation for c in found
    )


def _conditions(kind: Kind, body: Object) -> Iterator[Mapping[str, Any]]:
    status = body.get("status") or {}
    groups = [status] if kind is RELAY_POOL else status.get("parents") or []
    for group in groups:
        yield from conditions(group)


def reported(kind: Kind, body: Object) -> Iterator[tuple[str, str, str]]:
    """(kind, type, status) of each condition that the object has, for the metric."""
    for condition in _conditions(kind, body):
        yield kind.kind, str(condition.get("type")), str(condition.get("status"))
