"""One pool's world, looked up: what the store knows, what is read by name, what its relays say."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.cluster.client import Client, Refused
from waystation_operator.cluster.kinds import (
    CHILDREN,
    CLAIM,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    POD_MONITOR,
    RELAY_POOL,
    SECRET,
    SERVICE,
    Kind,
)
from waystation_operator.cluster.relays import Relays
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.secrets import Secrets, decoded
from waystation_operator.cluster.store import Object, Store
from waystation_operator.plan import reading
from waystation_operator.plan.attach import Labels
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed, ObservedPool, Settings
from waystation_operator.plan.report import RelayReport

_ENDED = ("Succeeded", "Failed")


class Clock(Protocol):
    def now(self) -> float: ...


class Prober(Protocol):
    """Whoever tries out the outside world for a pool."""

    def want(
        self,
        pool: RelayPool,
        routes: Sequence[MailRoute],
        namespaces: Mapping[str, Labels],
        secrets: Mapping[str, Secret],
        reports: Sequence[RelayReport] = (),
    ) -> None: ...
    def forget(self, pool_key: str) -> None: ...
    def findings_for(self, pool_key: str) -> tuple[Finding, ...]: ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """``unreadable`` are objects of ours that we may not read, so must not write either: we would not
    know what we replace. ``addresses`` are of the pods that may be called."""

    observed: Observed
    unreadable: frozenset[tuple[str, str]] = frozenset()
    addresses: Mapping[str, str] = field(default_factory=dict)


class Gatherer:
    def __init__(
        self,
        store: Store,
        routes: Routes,
        client: Client,
        secrets: Secrets,
        relays: Relays,
        settings: Settings,
        clock: Clock,
        prober: Prober,
    ) -> None:
        self._store, self._routes, self._client = store, routes, client
        self._secrets, self._relays, self._clock = secrets, relays, clock
        self._prober = prober
        self.settings = settings

    async def gather(self, namespace: str, name: str) -> Gathered | None:
        """None when there is no such pool."""
        body = self._store.get(RELAY_POOL, namespace, name)
        key = f"{namespace}/{name}"
        if body is None:
            self._prober.forget(key)
            return None
        pool = reading.pool(body)
        routes = self._routes.concerning(key)
        found, forbidden = await self._secrets.gather(reading.secret_keys(pool, routes))
        children = {
            (kind.kind, child["metadata"]["name"]): child
            for kind in CHILDREN
            for child in self._of_pool(kind, namespace, name)
        }
        unreadable = await self._by_name(children, pool)
        pods = self._of_pool(POD, namespace, name)
        token = admin_token(children.get((SECRET.kind, names.admin_secret(name))))
        addresses = {pod["metadata"]["name"]: address(pod) for pod in pods}
        reports = await self._relays.statuses(addresses, token) if token else {}
        namespaces = {
            body["metadata"]["name"]: dict(body["metadata"].get("labels") or {})
            for body in self._store.all(NAMESPACE)
        }
        if pool.pool is not None:
            valid = [route.route for route in routes if route.route is not None]
            told = [report for report in reports.values() if isinstance(report, RelayReport)]
            self._prober.want(pool.pool, valid, namespaces, found, told)
        observed = Observed(
            pool=pool,
            settings=self.settings,
            now=self._clock.now(),
            admin_token=token or secrets.token_urlsafe(32),
            routes=routes,
            namespaces=namespaces,
            secrets=found,
            forbidden=forbidden | {f"{namespace}/{x}" for kind, x in unreadable if kind == SECRET.kind},
            children=children,
            pods=tuple(sorted(map(reading.pod, pods), key=lambda pod: pod.ordinal)),
            claims=tuple(
                sorted(
                    map(reading.claim, self._of_pool(CLAIM, namespace, name)), key=lambda claim: claim.ordinal
                )
            ),
            ungrown=self._store.refusals(CLAIM, namespace),
            relays=reports,
            findings=self._prober.findings_for(key),
        )
        return Gathered(observed, unreadable, addresses)

    async def look_around(self) -> None:
        """Finds out what this cluster offers."""
        path = f"/apis/{POD_MONITOR.api_version}"
        self.settings = replace(self.settings, has_pod_monitors=await self._client.exists(path))

    def _of_pool(self, kind: Kind, namespace: str, name: str) -> list[Object]:
        return [
            body
            for body in self._store.all(kind, namespace)
            if (body["metadata"].get("labels") or {}).get(names.POOL_LABEL) == name
        ]

    async def _by_name(
        self, children: dict[tuple[str, str], Object], pool: ObservedPool
    ) -> frozenset[tuple[str, str]]:
        """Adds the children that are not watched, and what has the name of one that is not there: it bears
        no label of ours, so it is somebody else's and must not be replaced. Returns what may not be read."""
        namespace, name = pool.identity.namespace, pool.identity.name
        wanted = [(SECRET, names.config_secret(name)), (SECRET, names.admin_secret(name))]
        if self.settings.has_pod_monitors:
            wanted.append((POD_MONITOR, name))
        asks = pool.pool is not None and pool.pool.spec.network_policy.enabled
        made = [(kind, name) for kind in CHILDREN if kind is not NETWORK_POLICY or asks]
        made.append((SERVICE, names.headless_service(name)))
        wanted += [(kind, child) for kind, child in made if (kind.kind, child) not in children]
        unreadable: set[tuple[str, str]] = set()
        for kind, child in wanted:
            try:
                body = await self._client.get(kind, namespace, child)
            except Refused as refused:
                if not refused.is_forbidden:
                    raise
                unreadable.add((kind.kind, child))
            else:
                if body is not None:
                    children[kind.kind, child] = body
        return frozenset(unreadable)


def admin_token(secret: Object | None) -> str:
    """The token in it; empty when there is none to speak of."""
    data = (secret or {}).get("data") or {}
    return decoded(data.get(names.TOKEN, "")).decode("ascii", "ignore").strip()


def address(pod: Object) -> str:
    """Where its relay may be called; empty when nobody would answer."""
    status = pod.get("status") or {}
    return "" if status.get("phase") in _ENDED else str(status.get("podIP") or "")
