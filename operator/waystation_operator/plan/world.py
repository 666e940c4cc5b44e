"""All objects together → a plan for each pool, and everything that does not fit together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from waystation_operator.api.objects import MailRoute, Namespace, Object, RelayPool, Secret
from waystation_operator.api.problem import Problem
from waystation_operator.api.relaypool import container_port
from waystation_operator.plan.attach import Labels, dangling
from waystation_operator.plan.relayconfig import Place, Plan, plan_pool


@dataclass(frozen=True, slots=True)
class World:
    """What there is, by kind. Pools and routes keep the order in which they were given."""

    pools: tuple[RelayPool, ...]
    routes: tuple[MailRoute, ...]
    secrets: Mapping[str, Secret]
    namespaces: Mapping[str, Labels]


def gather(objects: Iterable[Object]) -> World:
    """Sorts objects by kind."""
    found = list(objects)
    return World(
        tuple(x for x in found if isinstance(x, RelayPool)),
        tuple(x for x in found if isinstance(x, MailRoute)),
        {x.identity.key: x for x in found if isinstance(x, Secret)},
        {x.identity.name: x.labels for x in found if isinstance(x, Namespace)},
    )


def plan_world(world: World, place: Place = container_port) -> tuple[list[Plan], list[Problem]]:
    """The plans in the pools' order, and all problems of all of them, each once."""
    plans = [plan_pool(pool, world.routes, world.namespaces, world.secrets, place) for pool in world.pools]
    problems: Sequence[Problem] = [
        *dangling(world.routes, world.pools),
        *(problem for plan in plans for problem in plan.problems),
    ]
    return plans, list(dict.fromkeys(problems))
