"""Everything that the operator may do, and why: the table the chart's roles and docs/operator.md agree with.

Nothing is allowed that no line of the code does. Secrets are a role of their
own, bound in one namespace at a time by whoever owns it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_API = "rbac.authorization.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Rule:
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()

    def manifest(self) -> dict[str, Any]:
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


# Wherever pools and routes are: in a ClusterRole, or in a Role of each watched namespace.
WATCHED: tuple[Rule, ...] = (
    Rule(
        "waystation.dev",
        ("relaypools",),
        ("get", "list", "watch", "patch"),
        "they are what to do; patch sets the finalizer",
    ),
    Rule("waystation.dev", ("mailroutes",), ("get", "list", "watch"), "they are what to do"),
    Rule("waystation.dev", ("relaypools/status", "mailroutes/status"), ("patch",), "what became of them"),
    Rule(
        "waystation.dev",
        ("relaypools/finalizers",),
        ("update",),
        "to own objects that go with the pool, where the API server demands it",
    ),
    Rule("apps", ("statefulsets",), ("get", "list", "watch", "create", "patch"), "the relays of a pool"),
    Rule(
        "",
        ("services", "serviceaccounts"),
        ("get", "list", "watch", "create", "patch"),
        "the address of a pool, and of each relay; the relays' account, which may do nothing",
    ),
    Rule(
        "policy",
        ("poddisruptionbudgets",),
        ("get", "list", "watch", "create", "patch"),
        "relays are not evicted all at once",
    ),
    Rule(
        "networking.k8s.io",
        ("networkpolicies",),
        ("get", "list", "watch", "create", "patch", "delete"),
        "where a pool asks for one",
    ),
    Rule(
        "monitoring.coreos.com",
        ("podmonitors",),
        ("get", "create", "patch", "delete"),
        "where a pool asks for one",
    ),
    Rule(
        "",
        ("pods",),
        ("get", "list", "watch", "patch"),
        "their state and addresses; patch marks those that drain, and hastens a new configuration",
    ),
    Rule(
        "",
        ("persistentvolumeclaims",),
        ("get", "list", "watch", "patch", "delete"),
        "queues: they grow, and go when they are proven empty",
    ),
    Rule("events.k8s.io", ("events",), ("create", "patch"), "what happened, for `kubectl describe`"),
)

# In the cluster scope only.
CLUSTER: tuple[Rule, ...] = (
    Rule("", ("namespaces",), ("list", "watch"), "a listener's allowedRoutes chooses them by label"),
)

# In each watched namespace, when there are any.
NAMESPACED: tuple[Rule, ...] = (
    Rule("", ("namespaces",), ("get",), "a listener's allowedRoutes chooses them by label"),
)

# In each namespace of pools.
POOL_SECRETS: tuple[Rule, ...] = (
    Rule(
        "",
        ("secrets",),
        ("get", "create", "patch"),
        "certificates and credentials are read by name; the pool's own two are written",
    ),
)

# In each other namespace of routes that name Secrets.
SECRET_READER: tuple[Rule, ...] = (
    Rule("", ("secrets",), ("get",), "credentials that routes name, by name; nothing is listed"),
)


def lease(name: str) -> tuple[Rule, ...]:
    """In the operator's own namespace."""
    group, resources = "coordination.k8s.io", ("leases",)
    return (
        Rule(group, resources, ("get", "update"), "which replica leads", (name,)),
        Rule(group, resources, ("create",), "what does not exist has no name to be allowed by"),
    )


def role(name: str, rules: Sequence[Rule], namespace: str = "") -> dict[str, Any]:
    """A Role in ``namespace``, or a ClusterRole."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    kind = "Role" if namespace else "ClusterRole"
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": metadata,
        "rules": [rule.manifest() for rule in rules],
    }
