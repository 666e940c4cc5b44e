"""``reconcile``: one pool's world as it was found → everything that is to be done about it. Pure."""

from collections.abc import Sequence

from waystation_operator.api.problem import Identity
from waystation_operator.plan.desired import Desired
from waystation_operator.plan.observed import Observed, ObservedRoute


def reconcile(observed: Observed) -> Desired:
    """What is to be done about a pool that exists."""
    return Desired()


def absent(pool: Identity, routes: Sequence[ObservedRoute], now: float) -> Desired:
    """What is to be done about routes that name a pool which does not exist: only their statuses."""
    return Desired()
