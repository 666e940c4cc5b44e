"""Does what a plan says, and nothing when all is as it says.

Invariants
    An object is written only when ``difference`` finds something to write.
    Statuses and the finalizer are written only over the version they were made
    from; when somebody was faster, nothing is overwritten and the pass is done
    again.
    One object that is refused does not keep the others, or the statuses that
    tell of it, from being written.
Errors
    ``Unreachable`` and ``NotLeading`` end the pass where it is.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.announce import Announcer
from waystation_operator.cluster.client import Client, Object, Refused
from waystation_operator.cluster.difference import differences
from waystation_operator.cluster.kinds import CLAIM, MAIL_ROUTE, POD, RELAY_POOL, Kind, of, of_object
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.relays import Relays
from waystation_operator.cluster.store import Store
from waystation_operator.plan.desired import Desired, Event, Finalizer
from waystation_operator.plan.manifests.names import FINALIZER
from waystation_operator.plan.observed import Meta
from waystation_operator.plan.reading import conditions

REFUSED = "ObjectRefused"  # the one event that no plan can foresee
_SHOWN = 6  # differing paths named in a log line

Noticed = Callable[[Kind, Object], None]


@dataclass(slots=True)
class Outcome:
    """``again``: somebody changed an object meanwhile. ``refusals`` by (kind, name)."""

    again: bool = False
    refusals: dict[tuple[str, str], str] = field(default_factory=dict)


class Actor:
    """``written`` is told of each object whose status was written."""

    def __init__(
        self,
        store: Store,
        client: Client,
        relays: Relays,
        announcer: Announcer,
        metrics: Metrics,
        log: Log,
        written: Noticed = lambda _kind, _body: None,
    ) -> None:
        self._store, self._client, self._relays, self._announcer = store, client, relays, announcer
        self._metrics, self._log, self._written = metrics, log, written
        # What the API server makes of an object in its own way, so that it never equals what was applied.
        self._settled: dict[tuple[str, str, str], bytes] = {}

    async def act(
        self,
        namespace: str,
        name: str,
        desired: Desired,
        *,
        meta: Meta,
        children: Mapping[tuple[str, str], Mapping[str, Any]],
        unreadable: frozenset[tuple[str, str]] = frozenset(),
        addresses: Mapping[str, str],
        token: str,
    ) -> Outcome:
        outcome = Outcome()
        version = await self._finalizer(namespace, name, desired, meta, outcome)
        if version is None:
            return outcome
        await self._objects(desired, children, unreadable, outcome)
        await self._claims(namespace, desired, outcome)
        await self._pods(namespace, desired, outcome)
        await self._statuses(namespace, name, desired, version, outcome)
        await self._deletions(desired, outcome)
        await self._calls(desired, addresses, token)
        for event in (*desired.events, *_told(namespace, name, meta.uid, outcome, unreadable)):
            await self._announcer.announce(event)
        return outcome

    async def _finalizer(
        self, namespace: str, name: str, desired: Desired, meta: Meta, outcome: Outcome
    ) -> str | None:
        """The version that the pool's status may be written over: empty when the pool is gone, None when
        the finalizer could not be set, and nothing more may be done."""
        others = [finalizer for finalizer in meta.finalizers if finalizer != FINALIZER]
        match desired.finalizer:
            case Finalizer.KEEP:
                return desired.pool_version
            case Finalizer.ADD:
                finalizers = [*others, FINALIZER]
            case Finalizer.REMOVE:
                finalizers = others
        change: list[Object] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": finalizers},
        ]
        try:
            body = await self._client.patch(RELAY_POOL, namespace, name, change)
        except Refused as refused:
            await self._stumble(RELAY_POOL, namespace, name, refused, outcome)
            return None
        what = desired.finalizer.value.lower()
        self._log.emit("finalizer.set", pool=f"{namespace}/{name}", action=what, finalizer=FINALIZER)
        if desired.finalizer is Finalizer.REMOVE and meta.deleting and not finalizers:
            self._store.drop(RELAY_POOL, namespace, name)
            return ""
        self._store.put(RELAY_POOL, body)
        return str(body["metadata"]["resourceVersion"])

    async def _objects(
        self,
        desired: Desired,
        children: Mapping[tuple[str, str], Mapping[str, Any]],
        unreadable: frozenset[tuple[str, str]],
        outcome: Outcome,
    ) -> None:
        for wanted in desired.objects:
            kind, name = of_object(wanted), wanted["metadata"]["name"]
            if (kind.kind, name) in unreadable:
                outcome.refusals[kind.kind, name] = "the operator may not read it, so it does not write it"
                continue
            found = children.get((kind.kind, name))
            why = differences(found, wanted) if found is not None else ["absent"]
            place = (kind.kind, wanted["metadata"]["namespace"], name)
            if not why or (found is not None and self._settled.get(place) == _settlement(wanted, found, why)):
                continue
            try:
                written = await self._client.apply(wanted)
            except Refused as refused:
                self._refuse(kind, wanted["metadata"]["namespace"], name, refused, outcome)
                continue
            self._metrics.applied(kind.kind)
            shown = why[:_SHOWN] + ([f"and {len(why) - _SHOWN} more"] if len(why) > _SHOWN else [])
            self._log.emit("object.applied", kind=kind.kind, namespace=place[1], name=name, why=shown)
            if kind.watched:
                self._store.put(kind, written)
            left = differences(written, wanted)
            self._settled.pop(place, None)
            if left:
                self._settled[place] = _settlement(wanted, written, left)

    async def _claims(self, namespace: str, desired: Desired, outcome: Outcome) -> None:
        for claim in desired.claim_sizes:
            change: Object = {"spec": {"resources": {"requests": {"storage": claim.size}}}}
            try:
                body = await self._client.merge(CLAIM, namespace, claim.name, change)
            except Refused as refused:
                await self._stumble(CLAIM, namespace, claim.name, refused, outcome)
                self._store.refuse(
                    CLAIM, namespace, claim.name, outcome.refusals.get((CLAIM.kind, claim.name), "")
                )
                continue
            self._store.refuse(CLAIM, namespace, claim.name, "")
            self._store.put(CLAIM, body)
            self._log.emit("claim.grown", namespace=namespace, name=claim.name, size=claim.size)

    async def _pods(self, namespace: str, desired: Desired, outcome: Outcome) -> None:
        for mark in desired.pod_patches:
            metadata = {"labels": dict(mark.labels), "annotations": dict(mark.annotations)}
            change: Object = {"metadata": {key: value for key, value in metadata.items() if value}}
            try:
                body = await self._client.merge(POD, namespace, mark.name, change)
            except Refused as refused:
                await self._stumble(POD, namespace, mark.name, refused, outcome)
                continue
            self._store.put(POD, body)
            self._log.emit("pod.marked", namespace=namespace, name=mark.name, **change["metadata"])

    async def _statuses(
        self, namespace: str, name: str, desired: Desired, version: str, outcome: Outcome
    ) -> None:
        if desired.pool_status is not None and version:
            await self._status(RELAY_POOL, namespace, name, version, desired.pool_status, outcome)
        for key, route in desired.route_statuses.items():
            where, _, which = key.partition("/")
            await self._status(MAIL_ROUTE, where, which, route.resource_version, route.status, outcome)

    async def _status(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        version: str,
        status: Mapping[str, Any],
        outcome: Outcome,
    ) -> None:
        change: list[Object] = [
            # The server compares it with the latest and answers 409 when they differ.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        try:
            body = await self._client.patch(kind, namespace, name, change, "status")
        except Refused as refused:
            await self._stumble(kind, namespace, name, refused, outcome)
            return
        self._store.put(kind, body)
        self._written(kind, body)
        self._log.emit(
            "status.written", kind=kind.kind, namespace=namespace, name=name, conditions=summary(status)
        )

    async def _deletions(self, desired: Desired, outcome: Outcome) -> None:
        for gone in (*desired.deletions, *desired.claims_deleted):
            kind = of(gone.api_version, gone.kind)
            try:
                if await self._client.delete(kind, gone.namespace, gone.name, gone.uid):
                    self._log.emit("object.deleted", kind=kind.kind, namespace=gone.namespace, name=gone.name)
            except Refused as refused:
                self._refuse(kind, gone.namespace, gone.name, refused, outcome)

    async def _calls(self, desired: Desired, addresses: Mapping[str, str], token: str) -> None:
        calls = (
            ("reload", desired.pokes, self._relays.reload),
            ("drain", desired.drains, self._relays.drain),
            ("undrain", desired.undrains, self._relays.undrain),
        )
        for call, pods, ask in calls:
            for pod in pods:
                problem = await ask(addresses.get(pod, ""), token)
                if problem:
                    self._log.emit("relay.silent", pod=pod, call=call, error=problem)
                else:
                    self._log.emit("relay.called", pod=pod, call=call)

    async def _stumble(
        self, kind: Kind, namespace: str, name: str, refused: Refused, outcome: Outcome
    ) -> None:
        """Somebody was faster, or the object is gone: look again. Anything else is a refusal."""
        if refused.is_conflict or refused.is_absent:
            outcome.again = True
            body = await self._client.get(kind, namespace, name)
            if body is None:
                self._store.drop(kind, namespace, name)
            else:
                self._store.put(kind, body)
            return
        self._refuse(kind, namespace, name, refused, outcome)

    def _refuse(self, kind: Kind, namespace: str, name: str, refused: Refused, outcome: Outcome) -> None:
        outcome.refusals[kind.kind, name] = str(refused)
        self._log.emit("object.refused", kind=kind.kind, namespace=namespace, name=name, error=str(refused))


def _told(
    namespace: str, name: str, uid: str, outcome: Outcome, unreadable: Collection[tuple[str, str]]
) -> list[Event]:
    """What the API server refused, for who looks at the pool. What may not be read is in its conditions."""
    pool = Identity(RELAY_POOL.kind, namespace, name)
    return [
        Event(pool, uid, "Warning", REFUSED, f"{kind} {which} was refused by the API server: {text}")
        for (kind, which), text in outcome.refusals.items()
        if uid and (kind, which) not in unreadable
    ]


def summary(status: Mapping[str, Any]) -> dict[str, str]:
    """Conditions in a word each: ``{"Accepted": "True", "Programmed": "False (Pending)"}``."""
    found: dict[str, str] = {}
    parents = status.get("parents") or ()
    for prefix, group in [("", status), *((_parent(entry), entry) for entry in parents)]:
        for condition in conditions(group):
            judged, reason = str(condition.get("status")), condition.get("reason")
            said = judged if judged == "True" else f"{judged} ({reason})"
            found[prefix + str(condition.get("type"))] = said
    return found


def _parent(entry: Mapping[str, Any]) -> str:
    ref = entry.get("parentRef") or {}
    return "/".join(filter(None, [ref.get("namespace"), ref.get("name"), ref.get("sectionName")])) + ": "


def _settlement(wanted: Mapping[str, Any], found: Mapping[str, Any], paths: list[str]) -> bytes:
    """What was wanted and how it was found, where they differ: applying it again would change nothing."""
    spec = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    metadata = {key: found["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences")}
    encoded = msgspec.json.encode([wanted, paths, spec, metadata])
    return hashlib.sha256(encoded).digest()
