"""What is to be done about one pool: the answer of ``reconcile``. Acting on it twice does no harm.

The acting side works from top to bottom: finalizer, objects in their order,
claims, pods, statuses, deletions, events. A step that fails leaves the rest
for the next time.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from waystation_operator.api.problem import Identity


class Finalizer(enum.Enum):
    ADD = "Add"
    REMOVE = "Remove"
    KEEP = "Keep"


@dataclass(frozen=True, slots=True)
class Reference:
    """One object of ours to delete, by name and, so that no successor is hit, by ``uid``."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class ClaimSize:
    """A claim whose request for storage is to grow to ``size`` (a quantity)."""

    name: str
    size: str


@dataclass(frozen=True, slots=True)
class PodPatch:
    """Labels and annotations to set on a running pod.

    A changed annotation makes the kubelet look at the pod, and so refresh the Secrets mounted into it,
    at once rather than at its next round.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """``reason`` is one of ``events.REASONS``; ``regarding`` a pool or a route, ``uid`` its uid."""

    regarding: Identity
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """The whole ``status`` of a MailRoute, to be written only while ``resource_version`` still holds."""

    resource_version: str
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Desired:
    """
    ``objects``        for server-side apply, in this order
    ``deletions``      objects of ours that are no longer wanted
    ``claim_sizes``    claims to expand
    ``claims_deleted`` claims to delete, their queues proven empty
    ``pod_patches``    labels and annotations of running pods
    ``pokes``          pods to ask for ``POST /config/reload``: their hash is not the planned one
    ``drains``         pods to ask for ``POST /drain``; ``undrains``: for ``DELETE /drain``
    ``pool_status``    the pool's whole status, or None when it is as it should be
    ``pool_version``   the resourceVersion that ``pool_status`` was made from
    ``route_statuses`` by ``namespace/name``, only those that differ
    ``events``         of transitions, so never the same one twice for the same state
    ``config_hash``    of the planned document; empty when there is none
    ``requeue_after_s`` look again after this time even if nothing happens
    """

    finalizer: Finalizer = Finalizer.KEEP
    objects: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    deletions: tuple[Reference, ...] = ()
    claim_sizes: tuple[ClaimSize, ...] = ()
    claims_deleted: tuple[Reference, ...] = ()
    pod_patches: tuple[PodPatch, ...] = ()
    pokes: tuple[str, ...] = ()
    drains: tuple[str, ...] = ()
    undrains: tuple[str, ...] = ()
    pool_status: Mapping[str, Any] | None = None
    pool_version: str = ""
    route_statuses: Mapping[str, RouteStatus] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    config_hash: str = ""
    requeue_after_s: float = 60.0
