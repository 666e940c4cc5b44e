"""The StatefulSet of a pool: equal relays, each with a claim that outlives it.

What Kubernetes lets nobody change is kept as it was made: claim templates
(claims themselves are expanded), the selector, the Service's name and the
order of starting. ``replicas`` is decided by ``scaling``, never here.
"""

import copy
from typing import Any

from waystation_operator.api import units
from waystation_operator.api.objects import RelayPool
from waystation_operator.plan.manifests import names
from waystation_operator.plan.manifests.podtemplate import pod_template
from waystation_operator.plan.observed import Object, Settings
from waystation_operator.plan.reading import mapping

_UNCHANGEABLE = ("volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy")


def stateful_set(
    pool: RelayPool, uid: str, settings: Settings, replicas: int, existing: Object | None
) -> dict[str, Any]:
    name = pool.identity.name
    spec: dict[str, Any] = {
        "replicas": replicas,
        "serviceName": names.headless_service(name),
        "podManagementPolicy": "Parallel",  # in order, one broken pod would keep all others away
        "updateStrategy": {"type": "RollingUpdate"},
        "minReadySeconds": 5,
        "revisionHistoryLimit": 5,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "selector": {"matchLabels": names.selector(name)},
        "template": pod_template(pool, settings),
        "volumeClaimTemplates": [_claim(pool)],
    }
    made = mapping(existing or {}, "spec")
    kept = {field: copy.deepcopy(made[field]) for field in _UNCHANGEABLE if field in made}
    return {**names.owned("apps/v1", "StatefulSet", name, pool.identity, uid), "spec": {**spec, **kept}}


def resized(existing: Object, replicas: int) -> dict[str, Any]:
    """What there is, with another number of pods: for a pool whose spec cannot be read any more."""
    metadata = mapping(existing, "metadata")
    head = {key: copy.deepcopy(metadata[key]) for key in _HEAD if key in metadata}
    spec = {**copy.deepcopy(dict(mapping(existing, "spec"))), "replicas": replicas}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": head, "spec": spec}


_HEAD = ("name", "namespace", "labels", "ownerReferences")


def _claim(pool: RelayPool) -> dict[str, Any]:
    queue = pool.spec.queue
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": units.quantity(queue.size_bytes)}},
    }
    if queue.storage_class_name:
        spec["storageClassName"] = queue.storage_class_name
    labels = names.labels(pool.identity.name)
    return {"metadata": {"name": names.CLAIM_TEMPLATE, "labels": labels}, "spec": spec}
