"""What is heard of the cluster → the store, and the pools to look at because of it."""

from collections.abc import Callable, Iterable
from typing import Any

from waystation_operator.api.problem import Identity
from waystation_operator.cluster import routes
from waystation_operator.cluster.kinds import MAIL_ROUTE, NAMESPACE, RELAY_POOL, Kind
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.secrets import Secrets
from waystation_operator.cluster.store import Change, Object, Store
from waystation_operator.handlers.latency import Latency
from waystation_operator.handlers.workqueue import Cause, WorkQueue
from waystation_operator.plan.manifests.names import POOL_LABEL

# What people write; all else is written by machines, often by us.
_WISHES = (RELAY_POOL, MAIL_ROUTE, NAMESPACE)

DELETED = "DELETED"


class Inbox:
    """``wake`` is called after something was added to the queue."""

    def __init__(
        self,
        store: Store,
        known: Routes,
        queue: WorkQueue[Identity],
        secrets: Secrets,
        latency: Latency,
        metrics: Metrics,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._known, self._queue, self._secrets = store, known, queue, secrets
        self._latency, self._metrics, self._monotonic, self._wake = latency, metrics, monotonic, wake

    def hear(self, kind: Kind, event: str | None, body: dict[str, Any]) -> None:
        """An event of a watch; None stands for what was there when the watch began."""
        self._metrics.watched(kind.kind)
        whole = {"apiVersion": kind.api_version, "kind": kind.kind} | body
        if event == DELETED:
            change = self._store.remove(kind, whole)
        else:
            change = self._store.put(kind, whole, heard=True)
        if change is not Change.NOTHING:
            self._notice(kind, whole, change)

    def take(self, kind: Kind, namespace: str, items: Iterable[Object], version: int) -> int:
        """A whole list. Returns how many changes in it no watch had told."""
        missed = self._store.sync(kind, namespace, items, version)
        for body in missed:
            self._notice(kind, body, Change.WISH)
        return len(missed)

    def everything(self) -> None:
        """Look at every pool, and at every pool that a route speaks of."""
        now = self._monotonic()
        for pool in self._pools():
            self._queue.add(pool, now, Cause.ECHO)
        self._wake()

    def _pools(self) -> set[Identity]:
        found = {pool_of(body) for body in self._store.all(RELAY_POOL)}
        return found | set(map(pool_named, self._known.pools()))

    def _notice(self, kind: Kind, body: Object, change: Change) -> None:
        wish = kind in _WISHES and change is Change.WISH
        now = self._monotonic()
        if wish:
            self._secrets.expire(body["metadata"].get("namespace", ""))
            self._latency.wished(kind, body, now)
        for pool in self._concerned(kind, body):
            self._queue.add(pool, now, Cause.WISH if wish else Cause.ECHO)
        self._wake()

    def _concerned(self, kind: Kind, body: Object) -> Iterable[Identity]:
        if kind is RELAY_POOL:
            return [pool_of(body)]
        if kind is MAIL_ROUTE:
            return map(pool_named, routes.read(body)[2])
        if kind is NAMESPACE:
            name = body["metadata"]["name"]
            there = (routes.read(route)[2] for route in self._store.all(MAIL_ROUTE, name))
            return {pool_named(pool) for pools in there for pool in pools}
        pool = (body["metadata"].get("labels") or {}).get(POOL_LABEL)
        return [pool_named(f"{body['metadata'].get('namespace', '')}/{pool}")] if pool else []


def pool_of(body: Object) -> Identity:
    return Identity(RELAY_POOL.kind, body["metadata"]["namespace"], body["metadata"]["name"])


def pool_named(key: str) -> Identity:
    namespace, _, name = key.partition("/")
    return Identity(RELAY_POOL.kind, namespace, name)
