"""RelayPool: where mail comes in and waits. A pool is a number of equal relays with a queue each."""

from typing import ClassVar

from pydantic import Field

from waystation_operator.api.group import Broken, Group, Rule
from waystation_operator.api.listener import Listener
from waystation_operator.api.pooloptions import (
    Autoscaling,
    Delivery,
    Monitoring,
    NetworkPolicy,
    Queue,
    ScaleDown,
    Service,
    Template,
)
from waystation_operator.api.retry import Retry
from waystation_operator.api.wire import HostName, OptionalAddress

PRIVILEGED_OFFSET = 2500


def container_port(port: int) -> int:
    """Where a relay listens for Service port ``port``: above 1024, so that it needs no privilege."""
    return port if port >= 1024 else port + PRIVILEGED_OFFSET


def _repeated_names(spec: "RelayPoolSpec") -> Broken:
    seen: set[str] = set()
    for n, listener in enumerate(spec.listeners):
        if listener.name in seen:
            yield f"listeners[{n}].name", listener.name
        seen.add(listener.name)


def _repeated_ports(spec: "RelayPoolSpec") -> Broken:
    seen: set[int] = set()
    for n, listener in enumerate(spec.listeners):
        port = container_port(listener.port)
        if port in seen:
            yield f"listeners[{n}].port", listener.port
        seen.add(port)


def _cel_port(of: str) -> str:
    return f"({of}.port < 1024 ? {of}.port + {PRIVILEGED_OFFSET} : {of}.port)"


class RelayPoolSpec(Group):
    replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Number of relays, each with a queue of its own. People or an autoscaler write it.",
    )
    hostname: HostName = Field(
        description="The pool's name in the greeting, EHLO, Received lines and bounces. It should resolve "
        "to the address that the mail comes from."
    )
    postmaster: OptionalAddress = Field(
        default="",
        description="Where bounces go that cannot be delivered themselves; empty: they are held in the "
        "queue.",
    )
    listeners: tuple[Listener, ...] = Field(
        min_length=1, max_length=16, description="Where mail comes in; names and ports are unique."
    )
    queue: Queue = Field(default=Queue(), description="Each relay's queue on disk.")
    retry: Retry = Field(default=Retry(), description="When deferred mail is tried again.")
    delivery: Delivery = Field(default=Delivery(), description="How mail leaves.")
    scale_down: ScaleDown = Field(default=ScaleDown(), description="How relays are removed.")
    autoscaling: Autoscaling = Field(default=Autoscaling(), description="Who changes replicas.")
    service: Service = Field(default=Service(), description="The Service in front of the pool.")
    network_policy: NetworkPolicy = Field(default=NetworkPolicy(), description="Who may connect to the pods.")
    monitoring: Monitoring = Field(default=Monitoring(), description="Prometheus.")
    template: Template = Field(default=Template(), description="The pods.")

    RULES: ClassVar = (
        Rule(
            subject="a listener's name",
            cel="self.listeners.all(l, self.listeners.exists_one(m, m.name == l.name))",
            problem="is the name of another listener too",
            remedy="give every listener of the pool a name of its own",
            broken=_repeated_names,
        ),
        Rule(
            subject="a listener's port",
            cel=f"self.listeners.all(l, self.listeners.exists_one(m, {_cel_port('m')} == {_cel_port('l')}))",
            problem="collides with another listener's port (ports below 1024 are served 2500 higher)",
            remedy="choose another port",
            broken=_repeated_ports,
        ),
    )
