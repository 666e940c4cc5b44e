"""A queue that is made larger where its storage does not let it, on a real API server."""

from pathlib import Path

from tests.cluster.client import Body, Cluster
from tests.cluster.lane.operators import condition, pool, running

SOON_S = 30.0


def storage(namespace: str, *, expandable: bool) -> Body:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": f"fixed-{namespace}"},
        "provisioner": "kubernetes.io/no-provisioner",
        "allowVolumeExpansion": expandable,
    }


def volume(namespace: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"fixed-{namespace}"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"fixed-{namespace}",
            "hostPath": {"path": "/nowhere"},
        },
    }


def test_a_claim_that_its_storage_class_does_not_let_grow_is_told(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """The pool says which claim, and the API server's own reason, until the class lets it grow."""
    queue = {"size": "1Gi", "storageClassName": f"fixed-{namespace}"}

    def healthy() -> Body:
        return condition(cluster.get("relaypool", "fixed", namespace), "QueueHealthy") or {}

    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        try:
            cluster.apply([storage(namespace, expandable=False), volume(namespace)])
            cluster.apply(pool("fixed", namespace, queue=queue))
            cluster.wait_for(
                lambda: (
                    (cluster.get("pvc", "queue-fixed-0", namespace) or {}).get("status", {}).get("phase")
                    == "Bound"
                ),
                "the claim's volume",
                within_s=SOON_S,
            )
            cluster.apply(pool("fixed", namespace, queue=queue | {"size": "2Gi"}))
            cluster.wait_for(
                lambda: healthy().get("reason") == "ClaimNotGrown", "the pool to tell", within_s=SOON_S
            )
            message = healthy()["message"]
            assert message.startswith("queue-fixed-0 cannot grow to 2Gi: ")
            assert "must support resize" in message
            assert "allowVolumeExpansion" in message
            cluster.apply(storage(namespace, expandable=True))
            cluster.wait_for(
                lambda: healthy().get("reason") == "Unreported", "the trouble to end", within_s=120
            )
            claim = cluster.get("pvc", "queue-fixed-0", namespace)
            assert claim is not None
            assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
        finally:
            for kind in ("storageclass", "persistentvolume"):
                cluster.kubectl("delete", kind, f"fixed-{namespace}", "--ignore-not-found", "--wait=false")
