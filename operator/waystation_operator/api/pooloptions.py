"""The groups of a RelayPool's spec beside listeners and retry: queue, delivery, what only a cluster needs."""

import enum
from typing import ClassVar, Literal

from pydantic import Field

from waystation_operator.api import units
from waystation_operator.api.group import Broken, Group, Rule
from waystation_operator.api.wire import (
    Amount,
    Count,
    DNSServer,
    Duration,
    FreeForm,
    ObjectName,
    OptionalIP,
    OptionalObjectName,
    Quantity,
)


class Queue(Group):
    size_bytes: Quantity = Field(
        default=10 * 2**30,
        alias="size",
        description="Size of each relay's queue; in a cluster, of its volume. It may grow, never shrink.",
    )
    storage_class_name: OptionalObjectName = Field(
        default="", description="StorageClass of the volumes; empty: the cluster's default. Cluster only."
    )
    full_at_percent: int = Field(
        default=90,
        ge=1,
        le=100,
        description="Filling, in percent of size, from which new mail is asked to come again (452). What "
        "has been accepted stays and is delivered.",
    )

    RULES: ClassVar = (
        Rule(
            subject="size",
            cel="quantity(self.size).compareTo(quantity('16Mi')) >= 0",
            problem="is below 16Mi",
            remedy="give the queue at least 16Mi, room for a few messages and the index",
            broken=lambda x: [("size", units.quantity(x.size_bytes))] if x.size_bytes < 16 * 2**20 else [],
        ),
    )
    SIZE_TRANSITION: ClassVar = (
        "quantity(self).compareTo(quantity(oldSelf)) >= 0",
        "must not shrink: a volume cannot; make a new pool and drain this one",
    )


class Delivery(Group):
    connections_per_destination: Count = Field(
        default=20,
        description="Most connections at once to one destination, per pod. Fewer are used while it answers "
        "badly.",
    )
    messages_per_connection: Count = Field(
        default=1000, description="Messages sent over one connection before it is closed."
    )
    bind_address: OptionalIP = Field(
        default="", description="Source address of outgoing connections; empty: the system chooses."
    )
    dns_servers: tuple[DNSServer, ...] = Field(
        default=(), max_length=8, description="Resolvers to ask, in this order; empty: the system's."
    )


class Claims(enum.StrEnum):
    DELETE_WHEN_DRAINED = "DeleteWhenDrained"
    RETAIN = "Retain"


class ScaleDown(Group):
    drain_timeout_s: Duration = Field(
        default=3600.0,
        alias="drainTimeout",
        description="How long a pod to be removed may take to empty its queue before the pool reports that "
        "it is stalled. No mail is dropped then. Cluster only.",
    )
    claims: Claims = Field(
        default=Claims.DELETE_WHEN_DRAINED,
        description="What becomes of a removed pod's volume, once its queue is proven empty. Cluster only.",
    )


class AutoscalingMode(enum.StrEnum):
    NONE = "None"
    BUILTIN = "Builtin"
    HPA = "HPA"
    KEDA = "KEDA"


def _min_above_max(scaling: "Autoscaling") -> Broken:
    if scaling.min_replicas > scaling.max_replicas:
        yield "minReplicas", scaling.min_replicas


class Autoscaling(Group):
    mode: AutoscalingMode = Field(
        default=AutoscalingMode.NONE,
        description="Who writes spec.replicas: nobody, the operator, an HPA or KEDA. Cluster only.",
    )
    min_replicas: Count = Field(default=1, description="Fewest pods. Cluster only.")
    max_replicas: Count = Field(default=10, description="Most pods. Cluster only.")
    target_lateness_s: Duration = Field(
        default=60.0,
        alias="targetLateness",
        description="How late due mail may be before pods are added. Cluster only.",
    )

    RULES: ClassVar = (
        Rule(
            subject="minReplicas",
            cel="self.minReplicas <= self.maxReplicas",
            problem="is above maxReplicas",
            remedy="lower minReplicas or raise maxReplicas",
            broken=_min_above_max,
        ),
    )


class NetworkPolicy(Group):
    enabled: bool = Field(
        default=False,
        description="Whether to make a NetworkPolicy: SMTP ports open to all, the admin port only to the "
        "operator, the pool's own pods and the namespaces of monitoring. Cluster only.",
    )
    monitoring: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of the namespaces whose pods may reach the admin port too, for Prometheus; "
        "empty: of none. Cluster only.",
    )


class Service(Group):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service that clients connect to. Cluster only."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict, description="Annotations of that Service. Cluster only."
    )
    external_traffic_policy: Literal["Local", "Cluster"] = Field(
        default="Local",
        description="With NodePort and LoadBalancer. Local keeps the client's address, which clients.cidrs "
        "judge; Cluster shows a node's address in its place. Cluster only.",
    )


class Monitoring(Group):
    pod_monitor: bool = Field(
        default=False, description="Whether to make a PodMonitor for the Prometheus operator. Cluster only."
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Further labels of the PodMonitor, by which a Prometheus chooses it. Cluster only.",
    )


class Resources(Group):
    requests: dict[str, Amount] = Field(
        default_factory=dict, description="What is reserved, such as cpu: 500m."
    )
    limits: dict[str, Amount] = Field(default_factory=dict, description="What is never exceeded.")


class Toleration(Group):
    """A Kubernetes toleration, field by field."""

    key: str = Field(
        default="", max_length=317, description="The taint's key; empty with operator Exists: every taint."
    )
    operator: Literal["Equal", "Exists"] = Field(
        default="Equal", description="How the taint's value is compared."
    )
    value: str = Field(default="", max_length=63, description="The taint's value, with operator Equal.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="", description="The taint's effect; empty: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2**31, description="With NoExecute: seconds to stay; absent: for good."
    )


class Template(Group):
    image: str = Field(
        default="",
        max_length=512,
        description="The relay's image; empty: the operator's own version. Cluster only.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="Further labels of the pods. Cluster only."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict, description="Further annotations of the pods. Cluster only."
    )
    resources: Resources = Field(
        default=Resources(), description="Resources of the relay's container. Cluster only."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the nodes to run on. Cluster only."
    )
    affinity: FreeForm = Field(
        default_factory=dict, description="A Kubernetes affinity, passed on as it is. Cluster only."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=32, description="Taints the pods tolerate. Cluster only."
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field(
        default=(),
        max_length=16,
        description="Secrets with logins of image registries, in the pool's namespace. Cluster only.",
    )
    priority_class_name: OptionalObjectName = Field(
        default="", description="PriorityClass of the pods. Cluster only."
    )
