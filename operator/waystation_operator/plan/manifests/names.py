"""What everything of a pool is called and labelled, and to whom it belongs."""

from collections.abc import Mapping
from typing import Any

from waystation_operator.api.objects import API_VERSION
from waystation_operator.api.problem import Identity

MANAGED_BY = "waystation-operator"
CONTROLLER = "waystation.dev/operator"
FINALIZER = "waystation.dev/drain"
FORCE_DELETE = "waystation.dev/force-delete"
POOL_LABEL = "waystation.dev/pool"
ROLE_LABEL = "waystation.dev/role"
ACTIVE, DRAINING = "active", "draining"
CONFIG_ANNOTATION = "waystation.dev/config"  # on a pod: the hash it was last told of

CLAIM_TEMPLATE = "queue"
CONTAINER = "relay"
ADMIN_PORT = 8025
ADMIN_PORT_NAME = "admin"
USER = 65532

CONFIG_FOLDER = "/etc/waystation/config"
ADMIN_FOLDER = "/etc/waystation/admin"
DATA_FOLDER = "/var/lib/waystation"
DOCUMENT = "config.json"
TOKEN = "token"  # noqa: S105 -- the key of the Secret, no token


def config_secret(pool: str) -> str:
    return f"{pool}-config"


def admin_secret(pool: str) -> str:
    return f"{pool}-admin"


def headless_service(pool: str) -> str:
    return f"{pool}-pods"


def pod(pool: str, ordinal: int) -> str:
    return f"{pool}-{ordinal}"


def claim(pool: str, ordinal: int) -> str:
    return f"{CLAIM_TEMPLATE}-{pool}-{ordinal}"


def labels(pool: str) -> dict[str, str]:
    """On everything."""
    return {
        "app.kubernetes.io/name": "waystation",
        "app.kubernetes.io/instance": pool,
        "app.kubernetes.io/component": "relay",
        "app.kubernetes.io/managed-by": MANAGED_BY,
        POOL_LABEL: pool,
    }


def selector(pool: str) -> dict[str, str]:
    """Which pods are the pool's."""
    return {POOL_LABEL: pool}


def active_selector(pool: str) -> dict[str, str]:
    """Which of them take mail."""
    return {POOL_LABEL: pool, ROLE_LABEL: ACTIVE}


def owned(
    api_version: str, kind: str, name: str, pool: Identity, uid: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The head of an object that goes when its pool goes."""
    owner = {
        "apiVersion": API_VERSION,
        "kind": "RelayPool",
        "name": pool.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "namespace": pool.namespace,
        "labels": labels(pool.name),
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": {**metadata, **(more or {})}}
