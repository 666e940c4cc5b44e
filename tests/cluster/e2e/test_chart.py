"""`helm test`: a mail is seen to arrive where it can, and missed where it cannot."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.client import Cluster
from tests.cluster.lane import helm as charts
from tests.cluster.lane.helm import CHART, Helm, HelmError

RELEASE = "waystation"
POD = "waystation-test"
PODS_NETWORK = "198.18.0.0/15"


def image(reference: str) -> dict[str, Any]:
    repository, _, tag = reference.rpartition(":")
    return {"image": {"repository": repository, "tag": tag, "pullPolicy": "Never"}}


@pytest.fixture(scope="module")
def helm(
    cluster: Cluster, namespace: str, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Helm]:
    """The chart is installed; it works in the module's namespace alone, so beside whatever else there is."""
    helm = charts.for_cluster(cluster, tmp_path_factory.mktemp("helm"))
    values = {
        "watchNamespaces": [namespace],
        "relay": image(images["waystation-relay"]),
        "operator": image(images["waystation-operator"]),
        "test": {"clients": [PODS_NETWORK], "timeoutSeconds": 120},
    }
    options = (f"--namespace={namespace}", "--take-ownership", "--wait", "--timeout=3m")
    helm("install", RELEASE, str(CHART), *options, values=values, within_s=200)
    yield helm
    helm("uninstall", RELEASE, f"--namespace={namespace}", "--wait", within_s=200)


def run(helm: Helm, namespace: str) -> str:
    return helm("test", RELEASE, f"--namespace={namespace}", "--timeout=3m", within_s=240)


def changed(helm: Helm, namespace: str, **test: Any) -> None:
    options = (f"--namespace={namespace}", "--reuse-values", "--wait", "--timeout=2m")
    helm("upgrade", RELEASE, str(CHART), *options, values={"test": test}, within_s=150)


def test_a_mail_arrives(cluster: Cluster, namespace: str, helm: Helm) -> None:
    """From an installed chart alone: a pool is made, a mail goes through it, and nothing of it stays."""
    assert "Phase:          Succeeded" in run(helm, namespace)
    for kind in ("relaypools", "mailroutes"):
        assert cluster.items(kind, namespace) == [], kind
    assert cluster.get("pod", POD, namespace) is None
    # Kubernetes collects what a pool owned in its own time.
    cluster.wait_for(lambda: cluster.items("statefulsets", namespace) == [], "the pool's StatefulSet gone")


def test_a_mail_arrives_through_a_pool_that_was_there(cluster: Cluster, namespace: str, helm: Helm) -> None:
    """What people use is what is tested: the test adds a route to a pool of theirs, and takes it away."""
    listener = {"name": "smtp", "port": 2500, "clients": {"cidrs": [PODS_NETWORK]}}
    spec = {"hostname": "relay.test", "listeners": [listener], "queue": {"size": "64Mi"}}
    cluster.apply(
        {
            "apiVersion": "waystation.dev/v1alpha1",
            "kind": "RelayPool",
            "metadata": {"name": "outbound"},
            "spec": spec,
        },
        namespace,
    )
    cluster.wait_for_condition("relaypool", "outbound", namespace, "Ready", within_s=120)
    changed(helm, namespace, pool="outbound", port=2500)
    run(helm, namespace)
    assert cluster.items("mailroutes", namespace) == []
    assert [pool["metadata"]["name"] for pool in cluster.items("relaypools", namespace)] == ["outbound"]
    cluster.delete("relaypool", "outbound", namespace)


def test_a_mail_that_does_not_arrive_is_missed(cluster: Cluster, namespace: str, helm: Helm) -> None:
    """Pods may not relay here, so the test fails, and the logs of its pod say why."""
    changed(helm, namespace, pool="", port=25, clients=["192.0.2.0/24"], timeoutSeconds=45)
    with pytest.raises(HelmError, match="failed"):
        run(helm, namespace)
    assert "waystation send: " in cluster.logs(POD, namespace, "--container=sender")
    assert "1 of 1 messages did not come" in cluster.logs(POD, namespace, "--container=mailbox")
