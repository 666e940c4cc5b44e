"""The PodMonitor, by which a Prometheus operator finds a pool's pods: draining ones too."""

from typing import Any

from waystation_operator.api.objects import RelayPool
from waystation_operator.plan.manifests import names


def pod_monitor(pool: RelayPool, uid: str) -> dict[str, Any]:
    name = pool.identity.name
    labels = {"labels": {**pool.spec.monitoring.labels, **names.labels(name)}}
    spec = {
        "selector": {"matchLabels": names.selector(name)},
        "podTargetLabels": [names.POOL_LABEL],
        "podMetricsEndpoints": [{"port": names.ADMIN_PORT_NAME, "path": "/metrics"}],
    }
    head = names.owned("monitoring.coreos.com/v1", "PodMonitor", name, pool.identity, uid, labels)
    return {**head, "spec": spec}
