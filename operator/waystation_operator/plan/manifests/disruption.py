"""The PodDisruptionBudget: a node's drain takes one relay of a pool at a time.

Its claim comes back with the pod, so an eviction loses nothing; the bound is
for the mail that clients want to hand in meanwhile. Pods that are not ready
may always be evicted: a budget that protects a broken pod blocks the drain of
its node for nothing.
"""

from typing import Any

from waystation_operator.api.problem import Identity
from waystation_operator.plan.manifests import names


def disruption_budget(pool: Identity, uid: str) -> dict[str, Any]:
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": names.selector(pool.name)},
    }
    return {**names.owned("policy/v1", "PodDisruptionBudget", pool.name, pool, uid), "spec": spec}
