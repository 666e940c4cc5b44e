"""``status.parents`` of the routes of one pool.

Each parentRef that names the pool gets an entry of ours. Entries of other
pools and of other controllers stay as they are; ours for a parentRef that is
gone are taken out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from waystation_operator.api.mailroute import ParentRef
from waystation_operator.api.problem import Identity
from waystation_operator.plan import transition
from waystation_operator.plan.conditions import Condition
from waystation_operator.plan.desired import Event, RouteStatus
from waystation_operator.plan.manifests.names import CONTROLLER
from waystation_operator.plan.observed import ObservedRoute
from waystation_operator.plan.reading import conditions, mapping, ref_key, text


def status(
    pool: Identity, route: ObservedRoute, judgements: Mapping[int, Sequence[Condition]], now: float
) -> tuple[RouteStatus | None, list[Event]]:
    """The route's whole status, or None when it is as it should be; and the Events of what changed."""
    before = [x for x in _entries(route.status) if isinstance(x, Mapping)]
    ours = {_ref(x): x for x in before if _is_ours(x, pool, route)}
    entries = [x for x in before if not _is_ours(x, pool, route)]
    events: list[Event] = []
    for n, found in judgements.items():
        ref = route.parent_refs[n]
        old = conditions(ours.get(_key(ref), {}))
        entries.append(_entry(ref, transition.written(found, old, route.meta.generation, now)))
        events += transition.events(found, old, route.identity, route.meta.uid, f"RelayPool {pool.key}: ")
    order = {_key(ref): n for n, ref in enumerate(route.parent_refs)}
    entries.sort(key=lambda entry: order.get(_ref(entry), len(order)))
    new = {"observedGeneration": route.meta.generation, "parents": entries}
    if transition.same(new, route.status):
        return None, []
    return RouteStatus(route.meta.resource_version, new), list(dict.fromkeys(events))


def _entries(status: Mapping[str, Any]) -> list[Any]:
    found = status.get("parents")
    return found if isinstance(found, list) else []


def _is_ours(entry: Mapping[str, Any], pool: Identity, route: ObservedRoute) -> bool:
    name, namespace, _ = _ref(entry)
    return entry.get("controllerName") == CONTROLLER and ref_key(name, namespace, route.identity) == pool.key


def _ref(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    ref = mapping(entry, "parentRef")
    return text(ref, "name"), text(ref, "namespace"), text(ref, "sectionName")


def _key(ref: ParentRef) -> tuple[str, str, str]:
    return ref.name, ref.namespace, ref.section_name


def _entry(ref: ParentRef, written: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "parentRef": ref.model_dump(by_alias=True),
        "controllerName": CONTROLLER,
        "conditions": written,
    }
