"""The Service that clients send mail to, and the headless one that gives every pod a name."""

from typing import Any

from waystation_contract.model import ListenerTLS
from waystation_operator.api.listener import Listener
from waystation_operator.api.objects import RelayPool
from waystation_operator.api.relaypool import container_port
from waystation_operator.plan.manifests import names

_BY_PORT = {587: "submission", 465: "submissions"}


def smtp(pool: RelayPool, uid: str) -> dict[str, Any]:
    """Its ports lead to numbers rather than names: a listener that is added reaches running pods."""
    service = pool.spec.service
    annotations = {"annotations": dict(service.annotations)} if service.annotations else {}
    spec: dict[str, Any] = {
        "type": service.type,
        "selector": names.active_selector(pool.identity.name),
        "ports": [_port(listener) for listener in pool.spec.listeners],
    }
    if service.type != "ClusterIP":
        spec["externalTrafficPolicy"] = service.external_traffic_policy
    head = names.owned("v1", "Service", pool.identity.name, pool.identity, uid, annotations)
    return {**head, "spec": spec}


def _port(listener: Listener) -> dict[str, Any]:
    protocol = "submissions" if listener.tls.mode is ListenerTLS.IMPLICIT else "smtp"
    return {
        "name": listener.name,
        "port": listener.port,
        "targetPort": container_port(listener.port),
        "protocol": "TCP",
        "appProtocol": _BY_PORT.get(listener.port, protocol),
    }


def headless(pool: RelayPool, uid: str) -> dict[str, Any]:
    """For the StatefulSet and the operator: pods have a name before they are ready, and while they drain."""
    port = {
        "name": names.ADMIN_PORT_NAME,
        "port": names.ADMIN_PORT,
        "targetPort": names.ADMIN_PORT_NAME,
        "protocol": "TCP",
        "appProtocol": "http",
    }
    name = names.headless_service(pool.identity.name)
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": names.selector(pool.identity.name),
        "ports": [port],
    }
    return {**names.owned("v1", "Service", name, pool.identity, uid), "spec": spec}
