"""Everything the plan of one pool depends on, as it was found: the argument of ``reconcile``.

Made by the gathering side with the readers of ``reading``; nothing here looks
anything up. What could not be read is said as a value (``problems``,
``forbidden``, an error text in place of a report), never left out silently.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waystation_operator.api.mailroute import ParentRef
from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.api.problem import Identity, Problem
from waystation_operator.plan.attach import Labels
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.report import RelayReport

Object = Mapping[str, Any]  # an object of the API server, as JSON has it


@dataclass(frozen=True, slots=True)
class Meta:
    """``deleting``: somebody has deleted the object and finalizers still hold it. Times in Unix seconds."""

    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    created: float = 0.0
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    annotations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedPool:
    """``pool`` is None when our models refuse what the API server took; ``problems`` then say why."""

    identity: Identity
    meta: Meta
    pool: RelayPool | None
    problems: tuple[Problem, ...] = ()
    status: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedRoute:
    """``parent_refs`` are there even when ``route`` is None: as far as they can be read."""

    identity: Identity
    meta: Meta
    route: MailRoute | None
    problems: tuple[Problem, ...] = ()
    parent_refs: tuple[ParentRef, ...] = ()
    status: Object = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """``trouble`` is the kubelet's or scheduler's reason why it does not run (ImagePullBackOff,
    CrashLoopBackOff, Unschedulable…), ``trouble_message`` their text. ``image_id`` is what really runs."""

    name: str
    ordinal: int
    phase: str = "Pending"
    ready: bool = False
    deleting: bool = False
    node: str = ""
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    image_id: str = ""
    trouble: str = ""
    trouble_message: str = ""
    restarts: int = 0
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class ObservedClaim:
    """``ordinal`` is of the pod it belongs to; ``size_bytes`` what is requested, ``capacity_bytes`` what
    there is (0: not told). ``trouble``: what stops its volume from growing to what is requested."""

    name: str
    ordinal: int
    uid: str = ""
    phase: str = "Pending"
    size_bytes: int = 0
    capacity_bytes: int = 0
    trouble: str = ""
    deleting: bool = False
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator was started with, and what this cluster offers.

    ``operator_labels`` select the operator's pods in ``operator_namespace``, for a NetworkPolicy; with
    none, admin ports are open to that whole namespace.
    """

    relay_image: str
    image_pull_policy: str = "IfNotPresent"
    operator_namespace: str = ""
    operator_labels: Labels = field(default_factory=dict)
    has_pod_monitors: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """One pool's world.

    ``routes``     every MailRoute that names the pool, or has an entry of ours about it in its status
                   (``reading.concerned`` tells)
    ``namespaces`` labels by namespace name
    ``secrets``    by ``namespace/name``: those of ``reading.secret_keys`` that there are
    ``forbidden``  those that the operator may not read
    ``children``   by (kind, name), what bears the name of an object of the pool, the pool's own or not:
                   StatefulSet, Service, Secret, ServiceAccount, PodDisruptionBudget, NetworkPolicy and
                   PodMonitor
    ``ungrown``    by claim name: why the API server refused to let it grow when last asked
    ``relays``     by pod name: its report, or why there is none
    ``admin_token`` the token in Secret P-admin, or a fresh random one when there is no such Secret
    ``now``        Unix seconds
    """

    pool: ObservedPool
    settings: Settings
    now: float
    admin_token: str = field(repr=False)
    routes: tuple[ObservedRoute, ...] = ()
    namespaces: Mapping[str, Labels] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    forbidden: frozenset[str] = frozenset()
    children: Mapping[tuple[str, str], Object] = field(default_factory=dict, repr=False)
    pods: tuple[ObservedPod, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    ungrown: Mapping[str, str] = field(default_factory=dict)
    relays: Mapping[str, RelayReport | str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
