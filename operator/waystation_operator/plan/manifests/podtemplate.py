"""The pod of a relay: what runs, with which rights, and how the kubelet judges it.

It passes the Pod Security Standard ``restricted``, writes nowhere but to its
claim, and holds no token of the API server. Nothing in it depends on routes,
listeners or certificates: those reach a running relay through its Secret, so
that a change of them never restarts a pod.
"""

from typing import Any

from waystation_operator.api.objects import RelayPool
from waystation_operator.api.pooloptions import Template, Toleration
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Settings

# Told to end, a relay serves on until endpoints have forgotten it, then lets sessions and deliveries in hand
# finish for at most 45 s, and closes its queue.
STOP_GRACE_S = 5
GRACE_S = STOP_GRACE_S + 45 + 25

REQUESTS = {"cpu": "100m", "memory": "192Mi"}  # what a small relay needs; docs/performance.md has more

_TOKEN_FILE = f"{names.ADMIN_FOLDER}/{names.TOKEN}"

# A million queued mails are read in seconds; recovery after a crash reads every segment.
_STARTUP = {"periodSeconds": 2, "failureThreshold": 300, "timeoutSeconds": 2}
_LIVENESS = {"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 5}
_READINESS = {"periodSeconds": 3, "failureThreshold": 2, "timeoutSeconds": 2}


def pod_template(pool: RelayPool, settings: Settings) -> dict[str, Any]:
    name, template = pool.identity.name, pool.spec.template
    metadata: dict[str, Any] = {
        "labels": {**template.labels, **names.labels(name), names.ROLE_LABEL: names.ACTIVE}
    }
    annotations = {"kubectl.kubernetes.io/default-container": names.CONTAINER, **template.annotations}
    spec: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.USER,
            "runAsGroup": names.USER,
            "fsGroup": names.USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            _spread(name, "topology.kubernetes.io/zone"),
            _spread(name, "kubernetes.io/hostname"),
        ],
        "containers": [_container(template, settings)],
        "volumes": [
            _secret_volume("config", names.config_secret(name)),
            _secret_volume("admin", names.admin_secret(name)),
        ],
    }
    return {"metadata": metadata | {"annotations": annotations}, "spec": spec | _placement(template)}


def _placement(template: Template) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "nodeSelector": dict(template.node_selector),
        "affinity": dict(template.affinity),
        "tolerations": [_toleration(x) for x in template.tolerations],
        "priorityClassName": template.priority_class_name,
        "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets],
    }
    return {field: value for field, value in chosen.items() if value}


def _toleration(toleration: Toleration) -> dict[str, Any]:
    given = toleration.model_dump(by_alias=True)
    return {field: value for field, value in given.items() if value not in ("", None)}


def _spread(pool: str, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.selector(pool)},
    }


def _container(template: Template, settings: Settings) -> dict[str, Any]:
    given = template.resources
    resources: dict[str, Any] = {"requests": {**REQUESTS, **given.requests}}
    if given.limits:
        resources["limits"] = dict(given.limits)
    return {
        "name": names.CONTAINER,
        "image": template.image or settings.relay_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": _arguments(),
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            # So that `kubectl exec POD -- waystation queue list` needs no options.
            {"name": "WAYSTATION_TOKEN_FILE", "value": _TOKEN_FILE},
        ],
        "ports": [{"name": names.ADMIN_PORT_NAME, "containerPort": names.ADMIN_PORT, "protocol": "TCP"}],
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": _probe("/livez", _STARTUP),
        "livenessProbe": _probe("/livez", _LIVENESS),
        "readinessProbe": _probe("/readyz", _READINESS),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": names.CLAIM_TEMPLATE, "mountPath": names.DATA_FOLDER},
            {"name": "config", "mountPath": names.CONFIG_FOLDER, "readOnly": True},
            {"name": "admin", "mountPath": names.ADMIN_FOLDER, "readOnly": True},
        ],
    }


def _arguments() -> list[str]:
    options = {
        "--config": f"{names.CONFIG_FOLDER}/{names.DOCUMENT}",
        "--data": names.DATA_FOLDER,
        "--bind": "::",
        "--admin": f"[::]:{names.ADMIN_PORT}",
        "--admin-token-file": _TOKEN_FILE,
        "--pod": "$(POD_NAME)",
        "--stop-grace": str(STOP_GRACE_S),
    }
    return ["relay", *(part for option in options.items() for part in option)]


def _probe(path: str, timing: dict[str, int]) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": names.ADMIN_PORT_NAME}, **timing}


def _secret_volume(name: str, secret: str) -> dict[str, Any]:
    return {"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}}
