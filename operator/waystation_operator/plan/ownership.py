"""Which objects with our names are ours. Server-side apply with force would take over any other."""

from collections.abc import Mapping
from typing import Any

from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Object, Observed
from waystation_operator.plan.reading import mapping


def foreign(observed: Observed) -> list[tuple[str, str]]:
    """(kind, name) of what is in the way.

    Ours is what this very pool controls, and what nobody controls but bears our labels: the rest of a pool
    of this name that was deleted without what belonged to it.
    """
    pool = observed.pool
    return sorted(
        key
        for key, body in observed.children.items()
        if not _is_ours(body, pool.identity.name, pool.meta.uid)
    )


def has_pods(observed: Observed) -> bool:
    """Whether there is a StatefulSet of the pool, which may have pods with mail."""
    key = ("StatefulSet", observed.pool.identity.name)
    return key in observed.children and key not in foreign(observed)


def _is_ours(body: Object, pool: str, uid: str) -> bool:
    metadata = mapping(body, "metadata")
    owner = _controller(metadata)
    if owner is not None:
        return owner.get("uid") == uid
    labels = mapping(metadata, "labels")
    return (
        labels.get(names.POOL_LABEL) == pool
        and labels.get("app.kubernetes.io/managed-by") == names.MANAGED_BY
    )


def _controller(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else []:
        if isinstance(owner, Mapping) and owner.get("controller"):
            return owner
    return None
