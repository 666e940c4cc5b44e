"""Where the parts of a local run listen. Pure: the ports are only computed here.

Service port p is 127.0.0.1:(base + p), as all pools share one address; admin
ports count up from base + 5500, the sink's from base + 2525, each past what
is taken already.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from waystation_operator.api.problem import Problem
from waystation_operator.plan.relayconfig import Plan

ADDRESS = "127.0.0.1"
PORT_BASE = 2500
ADMIN_OFFSET = 5500
SINK_OFFSET = 2525
HIGHEST = 65535
MOST_PODS = 50  # of one pool: a bound against a figure that was meant for a cluster


@dataclass(frozen=True, slots=True)
class Pod:
    """One relay: ``ordinal`` counts within its pool."""

    name: str
    plan: Plan
    ordinal: int
    admin_port: int


@dataclass(frozen=True, slots=True)
class Placement:
    pods: tuple[Pod, ...]
    sink_port: int | None
    problems: tuple[Problem, ...]


def place(
    plans: Sequence[Plan], base: int, *, sink: bool, admin_ports: Mapping[str, int] | None = None
) -> Placement:
    """The pods of all pools with their admin ports, and what cannot be placed on one address.

    ``admin_ports`` are those of pods that run already, by name: they keep them where they can.
    """
    taken: dict[int, str] = {}
    problems: list[Problem] = []
    names: set[str] = set()
    for plan in plans:
        identity = plan.pool.identity
        if identity.name in names:
            problem = (
                "is the name of a pool in another namespace too, and local pods are named after their pool"
            )
            problems.append(
                Problem(identity, ("metadata", "name"), identity.name, problem, "rename one of the two")
            )
        names.add(identity.name)
        if (replicas := plan.pool.spec.replicas) > MOST_PODS:
            problem = f"is more than the {MOST_PODS} relays a pool may have on one machine"
            problems.append(
                Problem(identity, ("spec", "replicas"), str(replicas), problem, "lower it for local mode")
            )
        for n, listener in enumerate(plan.pool.spec.listeners):
            path, port = ("spec", "listeners", n, "port"), base + listener.port
            if port > HIGHEST:
                problem = f"would be {ADDRESS}:{port}, above {HIGHEST}"
                remedy = f"use --port-base {HIGHEST - listener.port} or lower"
                problems.append(Problem(identity, path, str(listener.port), problem, remedy))
            elif port in taken:
                problem = f"is also {taken[port]}; in local mode all pools share {ADDRESS}"
                problems.append(Problem(identity, path, str(listener.port), problem, "choose another port"))
            taken.setdefault(port, f"listener {listener.name} of {identity}")
    sink_port = _free(base + SINK_OFFSET, taken) if sink else None
    if sink_port is not None:
        taken[sink_port] = "the sink"
    kept = {name: port for name, port in (admin_ports or {}).items() if port not in taken}
    pods: list[Pod] = []
    for plan in plans:
        for ordinal in range(plan.pool.spec.replicas):
            name = f"{plan.pool.identity.name}-{ordinal}"
            port = kept.get(name) or _free(base + ADMIN_OFFSET, taken.keys() | set(kept.values()))
            taken[port] = "admin"
            pods.append(Pod(name, plan, ordinal, port))
    return Placement(tuple(pods), sink_port, tuple(problems))


def _free(port: int, taken: Collection[int]) -> int:
    while port in taken:
        port += 1
    return port
