"""The kinds of objects that the operator deals with, and the paths they have at the API server.

The table is the whole of it: nothing is discovered, so nothing needs the
permission to look around. Each row says whether the operator watches the kind
(and with which label, so that the server sends ours alone).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from waystation_operator.api.objects import GROUP, VERSION
from waystation_operator.plan.manifests.names import POOL_LABEL


@dataclass(frozen=True, slots=True)
class Kind:
    """``selector``: of what is watched; ``watched`` False: read and written by name only."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    watched: bool = False
    selector: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/" + "/".join(filter(None, [*parts, self.plural, name, subresource]))


RELAY_POOL = Kind(GROUP, VERSION, "RelayPool", "relaypools", watched=True)
MAIL_ROUTE = Kind(GROUP, VERSION, "MailRoute", "mailroutes", watched=True)
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False, watched=True)
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets", watched=True, selector=POOL_LABEL)
SERVICE = Kind("", "v1", "Service", "services", watched=True, selector=POOL_LABEL)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts", watched=True, selector=POOL_LABEL)
DISRUPTION_BUDGET = Kind(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", watched=True, selector=POOL_LABEL
)
NETWORK_POLICY = Kind(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", watched=True, selector=POOL_LABEL
)
POD = Kind("", "v1", "Pod", "pods", watched=True, selector=POOL_LABEL)
CLAIM = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", watched=True, selector=POOL_LABEL)
SECRET = Kind("", "v1", "Secret", "secrets")
POD_MONITOR = Kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
EVENT = Kind("events.k8s.io", "v1", "Event", "events")

KINDS = (
    RELAY_POOL,
    MAIL_ROUTE,
    NAMESPACE,
    STATEFUL_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    POD,
    CLAIM,
    SECRET,
    POD_MONITOR,
    LEASE,
    EVENT,
)
CHILDREN = (STATEFUL_SET, SERVICE, SERVICE_ACCOUNT, DISRUPTION_BUDGET, NETWORK_POLICY)

_BY_NAME = {(kind.api_version, kind.kind): kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the operator works: in these namespaces, or, with none named, in the whole cluster."""

    namespaces: tuple[str, ...] = ()

    def watched(self) -> tuple[Kind, ...]:
        """The kinds that can be watched there: who may not look at the cluster sees no Namespaces."""
        return tuple(k for k in KINDS if k.watched and (k.namespaced or not self.namespaces))

    def places(self, kind: Kind) -> tuple[str, ...]:
        """The namespaces to list it in; the empty one means all."""
        return self.namespaces if kind.namespaced and self.namespaces else ("",)


def of(api_version: str, kind: str) -> Kind:
    """Raises ``KeyError`` for a kind that is not in the table."""
    return _BY_NAME[api_version, kind]


def of_object(body: Mapping[str, Any]) -> Kind:
    return of(body["apiVersion"], body["kind"])
