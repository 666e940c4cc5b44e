"""Pools and routes for tests of the plan, from the specs of tests/api/specs.py with a few changes."""

from typing import Any

from tests.api.specs import spec

from waystation_operator.api.objects import API_VERSION, MailRoute, RelayPool, Secret
from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Identity


def _made(kind: str, name: str, changes: dict[str, Any], created: str | None = None) -> Any:
    namespace, _, name = name.rpartition("/")
    metadata = {"name": name, "namespace": namespace or "mail", "creationTimestamp": created}
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec(kind, changes)}
    found, problems = parse(body)
    assert problems == []
    return found


def pool(name: str = "outbound", **changes: Any) -> RelayPool:
    """Keyword arguments with ``__`` for a dot: ``retry__first="1h"``."""
    found: RelayPool = _made("RelayPool", name, {k.replace("__", "."): v for k, v in changes.items()})
    return found


def route(name: str = "all", *, created: str | None = None, **changes: Any) -> MailRoute:
    fields = {k.replace("__", "."): v for k, v in changes.items()}
    found: MailRoute = _made("MailRoute", name, fields, created)
    return found


def secret(name: str, **data: str) -> dict[str, Secret]:
    """``namespace/name`` → Secret; keys with ``_`` for a dot: ``tls_crt``."""
    namespace, _, short = name.rpartition("/")
    identity = Identity("Secret", namespace or "mail", short)
    return {identity.key: Secret(identity, {k.replace("_", "."): v.encode() for k, v in data.items()})}


def listeners(**names_and_from: Any) -> list[dict[str, Any]]:
    """One listener for each name, with its ``allowedRoutes.namespaces``."""
    return [
        {"name": name, "port": 2000 + n, "allowedRoutes": {"namespaces": namespaces}}
        for n, (name, namespaces) in enumerate(names_and_from.items())
    ]
