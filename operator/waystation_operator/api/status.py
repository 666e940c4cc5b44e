"""What the operator reports in ``status``: the shape that the CRDs declare.

Conditions are Kubernetes' own (metav1.Condition). Everything is optional: a
status is written piece by piece, and read by people who may meet it half done.
"""

from typing import Annotated, Literal

from pydantic import Field

from waystation_operator.api.group import Group
from waystation_operator.api.wire import Wire

Text = Annotated[str, Field(max_length=32768)]
Time = Annotated[str, Wire("time", {"type": "string", "format": "date-time"})]
Figure = Annotated[int, Field(ge=0), Wire("integer", {"type": "integer", "format": "int64", "minimum": 0})]


class Condition(Group):
    type: str = Field(max_length=316, description="What is judged, such as Accepted.")
    status: Literal["True", "False", "Unknown"] = Field(description="The judgement.")
    reason: str = Field(max_length=1024, description="Why, in one CamelCase word.")
    message: Text = Field(description="Why, and what to do, for people.")
    last_transition_time: Time = Field(description="When status last changed.")
    observed_generation: Figure | None = Field(default=None, description="The generation that was judged.")


class QueueStatus(Group):
    messages: Figure | None = Field(default=None, description="Messages in all queues of the pool.")
    held: Figure | None = Field(default=None, description="Of these, messages held for a person.")
    size_bytes: Figure | None = Field(
        default=None, alias="sizeBytes", description="What they occupy, in bytes."
    )
    oldest_due_seconds: Figure | None = Field(
        default=None, description="By how many seconds the latest due message is late."
    )
    oldest_arrival_time: Time | None = Field(default=None, description="When the oldest of them arrived.")


class ListenerStatus(Group):
    name: str = Field(max_length=63, description="The listener.")
    attached_routes: Figure | None = Field(default=None, description="Routes attached to it.")
    conditions: tuple[Condition, ...] = Field(default=(), max_length=8, description="Its conditions.")


class PodStatus(Group):
    ordinal: Figure = Field(description="The pod's number.")
    phase: str = Field(
        default="",
        max_length=63,
        description="Active, Draining, Empty, Full, Starting, NotReady, Failing, Unreachable or Stopping.",
    )
    queued: Figure | None = Field(default=None, description="Messages in its queue.")
    config: str = Field(default="", max_length=64, description="Hash of the configuration it runs.")
    message: Text = Field(default="", description="What is the matter with it, if anything.")


class RelayPoolStatus(Group):
    observed_generation: Figure | None = Field(
        default=None, description="The generation this status is about."
    )
    replicas: Figure | None = Field(default=None, description="Pods there are, draining ones included.")
    ready_replicas: Figure | None = Field(default=None, description="Pods that take mail.")
    selector: str = Field(
        default="", max_length=1024, description="Label selector of the active pods, for autoscalers."
    )
    queue: QueueStatus | None = Field(default=None, description="Figures of all queues together.")
    listeners: tuple[ListenerStatus, ...] = Field(default=(), max_length=16, description="By listener.")
    pods: tuple[PodStatus, ...] = Field(default=(), max_length=1000, description="By pod.")
    orphaned_claims: tuple[str, ...] = Field(
        default=(),
        max_length=1000,
        description="Volumes of pods that no longer exist and were not proven empty.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Accepted, ResolvedRefs, Programmed, Ready, QueueHealthy, ScalingDown, Reachable.",
    )


class ParentStatusRef(Group):
    name: str = Field(max_length=253, description="The RelayPool.")
    namespace: str = Field(default="", max_length=63, description="Its namespace.")
    section_name: str = Field(default="", max_length=63, description="The listener, if one is named.")


class ParentStatus(Group):
    parent_ref: ParentStatusRef = Field(description="The parent, as the route names it.")
    controller_name: str = Field(default="", max_length=253, description="Who wrote this entry.")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=8, description="Accepted, ResolvedRefs, Programmed, Reachable, Delivering."
    )


class MailRouteStatus(Group):
    observed_generation: Figure | None = Field(
        default=None, description="The generation this status is about."
    )
    parents: tuple[ParentStatus, ...] = Field(default=(), max_length=16, description="By parent.")
