"""Specs for tests: the smallest valid ones, and how to write them a little differently."""

import copy
from typing import Any

from waystation_operator.api import crds
from waystation_operator.api.objects import API_VERSION, Object
from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Problem, steps

Body = dict[str, Any]

POOL: Body = {
    "hostname": "relay.example.com",
    "listeners": [{"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}}],
}
ROUTE: Body = {"parentRefs": [{"name": "outbound"}], "backends": [{"mx": {}}]}
SPECS = {"RelayPool": POOL, "MailRoute": ROUTE}
ABSENT = object()


def schema(kind: str) -> Body:
    """The schema of the kind's whole object, as its definition has it."""
    definition = crds.relay_pool() if kind == "RelayPool" else crds.mail_route()
    found: Body = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def spec_schema(kind: str) -> Body:
    found: Body = schema(kind)["properties"]["spec"]
    return found


def spec(kind: str, changes: dict[str, Any]) -> Body:
    """The smallest valid spec with each field (``listeners[0].port``) set to its value, or ``ABSENT``."""
    changed = copy.deepcopy(SPECS[kind])
    for field, value in changes.items():
        *way, last = steps(field)
        at: Any = changed
        for step in way:
            at = at[step] if isinstance(step, int) else at.setdefault(step, {})
        if value is ABSENT:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return changed


def parsed(kind: str, body: Body) -> tuple[Object | None, list[Problem]]:
    """What we make of an object with this spec."""
    metadata = {"name": "outbound", "namespace": "mail"}
    return parse({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": body})
