"""Bodies of the API server → the values of ``observed``; and what is to be gathered for a pool.

Total: any body gives a value. What is missing or of an odd form in what
Kubernetes owns counts as absent; in our own resources it is a problem, which
the plan reports on the object.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from waystation_operator.api import units
from waystation_operator.api.mailroute import ParentRef
from waystation_operator.api.objects import MailRoute, RelayPool, timestamp
from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Identity, Problem
from waystation_operator.plan.manifests.names import CONTAINER, CONTROLLER
from waystation_operator.plan.observed import (
    Meta,
    Object,
    ObservedClaim,
    ObservedPod,
    ObservedPool,
    ObservedRoute,
)

_NOT_YET = ("ContainerCreating", "PodInitializing", "")  # what a container waits for without trouble


def pool(body: Object) -> ObservedPool:
    found, problems = parse(dict(body))
    valid = found if isinstance(found, RelayPool) else None
    return ObservedPool(_identity(body), meta(body), valid, tuple(problems), mapping(body, "status"))


def route(body: Object) -> ObservedRoute:
    found, problems = parse(dict(body))
    valid = found if isinstance(found, MailRoute) else None
    refs = valid.spec.parent_refs if valid else tuple(_parent_refs(mapping(body, "spec").get("parentRefs")))
    return ObservedRoute(_identity(body), meta(body), valid, tuple(problems), refs, mapping(body, "status"))


def concerned(route: ObservedRoute) -> frozenset[str]:
    """``namespace/name`` of every pool that the route names, or that we reported about in its status."""
    entries = route.status.get("parents")
    reported = (
        mapping(entry, "parentRef")
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping) and entry.get("controllerName") == CONTROLLER
    )
    return named_pools(route).union(
        ref_key(text(ref, "name"), text(ref, "namespace"), route.identity) for ref in reported
    )


def named_pools(route: ObservedRoute) -> frozenset[str]:
    """``namespace/name`` of every pool in its parentRefs."""
    return frozenset(ref_key(ref.name, ref.namespace, route.identity) for ref in route.parent_refs)


def ref_key(name: str, namespace: str, route: Identity) -> str:
    return f"{namespace or route.namespace}/{name}"


def secret_keys(pool: ObservedPool, routes: Iterable[ObservedRoute]) -> frozenset[str]:
    """``namespace/name`` of every Secret that the pool and these routes refer to."""
    keys: set[str] = set()
    if pool.pool is not None:
        names = (listener.tls.secret_name for listener in pool.pool.spec.listeners)
        keys.update(f"{pool.identity.namespace}/{name}" for name in names if name)
    for observed in routes:
        if observed.route is not None:
            hosts = (backend.smart_host for backend in observed.route.spec.backends)
            names = (host.auth_secret_name for host in hosts if host is not None)
            keys.update(f"{observed.identity.namespace}/{name}" for name in names if name)
    return frozenset(keys)


def pod(body: Object) -> ObservedPod:
    metadata, status = mapping(body, "metadata"), mapping(body, "status")
    name = text(metadata, "name")
    container = _container(status)
    trouble, message = _trouble(status, container)
    return ObservedPod(
        name=name,
        ordinal=_ordinal(name),
        phase=text(status, "phase") or "Pending",
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions(status)),
        deleting=bool(metadata.get("deletionTimestamp")),
        node=text(mapping(body, "spec"), "nodeName"),
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
        image_id=text(container, "imageID"),
        trouble=trouble,
        trouble_message=message,
        restarts=_number(container, "restartCount"),
        created=timestamp(text(metadata, "creationTimestamp")),
    )


def claim(body: Object) -> ObservedClaim:
    metadata = mapping(body, "metadata")
    name = text(metadata, "name")
    size = text(mapping(mapping(mapping(body, "spec"), "resources"), "requests"), "storage")
    return ObservedClaim(
        name=name,
        ordinal=_ordinal(name),
        uid=text(metadata, "uid"),
        phase=text(mapping(body, "status"), "phase") or "Pending",
        size_bytes=size_or_zero(size),
        capacity_bytes=size_or_zero(text(mapping(mapping(body, "status"), "capacity"), "storage")),
        trouble=_resize_trouble(mapping(body, "status")),
        deleting=bool(metadata.get("deletionTimestamp")),
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
    )


def meta(body: Object) -> Meta:
    metadata = mapping(body, "metadata")
    finalizers = metadata.get("finalizers")
    return Meta(
        uid=text(metadata, "uid"),
        generation=_number(metadata, "generation"),
        resource_version=text(metadata, "resourceVersion"),
        created=timestamp(text(metadata, "creationTimestamp")),
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(str(x) for x in finalizers) if isinstance(finalizers, list) else (),
        annotations=_texts(metadata, "annotations"),
    )


def conditions(status: Object) -> list[Mapping[str, Any]]:
    found = status.get("conditions")
    return [c for c in found if isinstance(c, Mapping)] if isinstance(found, list) else []


def mapping(body: Object, key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}


def text(body: Object, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def size_or_zero(quantity: str) -> int:
    try:
        return units.size_bytes(quantity)
    except ValueError:
        return 0


def _number(body: Object, key: str) -> int:
    value = body.get(key)
    return value if isinstance(value, int) else 0


def _texts(body: Object, key: str) -> dict[str, str]:
    return {str(k): v for k, v in mapping(body, key).items() if isinstance(v, str)}


def _identity(body: Object) -> Identity:
    metadata = mapping(body, "metadata")
    return Identity(text(body, "kind"), text(metadata, "namespace") or "default", text(metadata, "name"))


def _ordinal(name: str) -> int:
    """Of ``outbound-0`` and ``queue-outbound-0``; -1 for a name that no StatefulSet gives."""
    number = name.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else -1


def _parent_refs(given: Any) -> Iterable[ParentRef]:
    for entry in given if isinstance(given, list) else []:
        try:
            yield ParentRef.model_validate(entry)
        except ValidationError:
            continue  # it is among the problems


def _container(status: Object) -> Mapping[str, Any]:
    found = status.get("containerStatuses")
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, Mapping) and entry.get("name") == CONTAINER:
            return entry
    return {}


def _trouble(status: Object, container: Mapping[str, Any]) -> tuple[str, str]:
    """The container's trouble before the scheduler's before the pod's: the most precise one first."""
    waiting = mapping(mapping(container, "state"), "waiting")
    if (reason := text(waiting, "reason")) not in _NOT_YET:
        ended = mapping(mapping(container, "lastState"), "terminated")
        parts = [text(waiting, "message"), _ending(ended)]
        return reason, "; ".join(filter(None, parts))
    ended = mapping(mapping(container, "state"), "terminated")
    if ended:
        return text(ended, "reason") or "Terminated", _ending(ended)
    for condition in conditions(status):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return text(condition, "reason") or "Unschedulable", text(condition, "message")
    return text(status, "reason"), text(status, "message")


def _ending(terminated: Mapping[str, Any]) -> str:
    if not terminated:
        return ""
    code = terminated.get("exitCode")
    said = text(terminated, "message").strip()
    return f"it ended with exit code {code}" + (f": {said}" if said else "")


# The resizer's and the kubelet's words: what they have tried, and what they will not try again.
_RESIZE_ERRORS = ("ControllerResizeError", "NodeResizeError")
_RESIZE_INFEASIBLE = ("ControllerResizeInfeasible", "NodeResizeInfeasible")


def _resize_trouble(status: Object) -> str:
    for condition in conditions(status):
        if condition.get("type") in _RESIZE_ERRORS and condition.get("status") == "True":
            return ": ".join(filter(None, [text(condition, "type"), text(condition, "message")]))
    infeasible = text(mapping(status, "allocatedResourceStatuses"), "storage")
    return infeasible if infeasible in _RESIZE_INFEASIBLE else ""


def problems_text(problems: Iterable[Problem]) -> str:
    """Several problems of one resource as one message of a condition."""
    return "; ".join(dict.fromkeys(problem.below for problem in problems))
