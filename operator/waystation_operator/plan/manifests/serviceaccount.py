"""The ServiceAccount of a pool's pods. It may do nothing, and no token of it is mounted."""

from typing import Any

from waystation_operator.api.problem import Identity
from waystation_operator.plan.manifests import names


def service_account(pool: Identity, uid: str) -> dict[str, Any]:
    head = names.owned("v1", "ServiceAccount", pool.name, pool, uid)
    return {**head, "automountServiceAccountToken": False}
