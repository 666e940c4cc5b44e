"""Who may connect to a pool's pods, when the pool asks for a NetworkPolicy.

SMTP ports are open to all: who may relay is decided by the relay, from the
same addresses, and it answers the others in words. The admin port is for the
operator, for the pool's other pods and for the namespaces of monitoring.
Probes of the kubelet come from the node, which network policies leave alone.
Nothing is said of what pods connect to: mail goes to anywhere.
"""

from typing import Any

from waystation_operator.api.objects import RelayPool
from waystation_operator.api.relaypool import container_port
from waystation_operator.plan.attach import NAME_LABEL
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Settings


def network_policy(pool: RelayPool, uid: str, settings: Settings) -> dict[str, Any]:
    smtp = [{"protocol": "TCP", "port": container_port(listener.port)} for listener in pool.spec.listeners]
    admin = [{"protocol": "TCP", "port": names.ADMIN_PORT}]
    spec = {
        "podSelector": {"matchLabels": names.selector(pool.identity.name)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": smtp}, {"ports": admin, "from": _peers(pool, settings)}],
    }
    head = names.owned("networking.k8s.io/v1", "NetworkPolicy", pool.identity.name, pool.identity, uid)
    return {**head, "spec": spec}


def _peers(pool: RelayPool, settings: Settings) -> list[dict[str, Any]]:
    peers: list[dict[str, Any]] = [{"podSelector": {"matchLabels": names.selector(pool.identity.name)}}]
    if settings.operator_namespace:
        peers.append(
            {
                "namespaceSelector": {"matchLabels": {NAME_LABEL: settings.operator_namespace}},
                "podSelector": {"matchLabels": dict(settings.operator_labels)},
            }
        )
    if pool.spec.network_policy.monitoring:
        peers.append({"namespaceSelector": {"matchLabels": dict(pool.spec.network_policy.monitoring)}})
    return peers
