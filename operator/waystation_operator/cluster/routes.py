"""The MailRoutes of the store, read once a version, and which pools each concerns."""

from collections.abc import Iterator

from waystation_operator.cluster.kinds import MAIL_ROUTE
from waystation_operator.cluster.store import Key, Object, Store, key_of
from waystation_operator.plan import reading
from waystation_operator.plan.observed import ObservedRoute

Read = tuple[Object, ObservedRoute, frozenset[str]]


class Routes:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[Key, Read] = {}

    def concerning(self, pool: str) -> tuple[ObservedRoute, ...]:
        """Those that name the pool ``namespace/name``, or bear a status of ours about it."""
        return tuple(route for _, route, pools in self._all() if pool in pools)

    def pools(self) -> frozenset[str]:
        """``namespace/name`` of every pool that some route concerns."""
        return frozenset(pool for _, _, pools in self._all() for pool in pools)

    def _all(self) -> Iterator[Read]:
        kept: dict[Key, Read] = {}
        for body in self._store.all(MAIL_ROUTE):
            key = key_of(body)
            entry = self._read.get(key)
            if entry is None or entry[0] is not body:
                entry = read(body)
            kept[key] = entry
        self._read = kept
        yield from kept.values()


def read(body: Object) -> Read:
    route = reading.route(body)
    return body, route, reading.concerned(route)
