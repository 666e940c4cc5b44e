"""The cluster itself breaks: a node that loses power, an API server and an etcd that are away."""

from tests.cluster.client import Body, Cluster
from tests.cluster.e2e.trouble.conftest import POOL
from tests.cluster.e2e.trouble.stage import Stage, identities, restarts


def test_rebooted_node_brings_its_mail_back(cluster: Cluster, stage: Stage) -> None:
    """Kubelet, containerd and all pods' processes killed at once: what was accepted is on the claims."""
    claims = objects(cluster, stage, "pvc")
    with stage.mail("reboot", POOL) as flow:
        with stage.traffic.held():
            flow.wait_for_accepted(60)
            counts = {name: restarts(pod) for name, pod in stage.pods(POOL).items()}
            cluster.crash_node()
            cluster.restart_node()
            for pod, count in counts.items():
                stage.wait_for_restart(pod, count)
        flow.wait_for_arrived(100)
    assert identities(objects(cluster, stage, "pvc")) == identities(claims)
    stage.wait_until_well(POOL)


def test_mail_flows_without_an_api_server(cluster: Cluster, stage: Stage) -> None:
    """API server and etcd killed: mail does not notice. When they are back the operator is, too, and it has
    deleted nothing and made nothing anew."""
    kinds = ("statefulset", "service", "secret", "pvc", "pod", "poddisruptionbudget")
    before = {kind: identities(objects(cluster, stage, kind)) for kind in kinds}
    generation = generation_of(cluster, stage)
    counts = {name: restarts(pod) for name, pod in stage.operators().items()}
    with stage.mail("api", POOL, per_s=20) as flow:
        flow.wait_for_arrived(20)
        cluster.kill("apiserver")
        cluster.kill("etcd")
        try:
            flow.wait_for_arrived(300)  # at 20/s for longer than a leader stays one without its lease
            setbacks = dict(flow.setbacks)
        finally:
            cluster.start("etcd")
            cluster.start("apiserver")
        assert setbacks == {}
        stage.change("relaypool", POOL, {"service": {"annotations": {"example.com/after": "outage"}}})
        cluster.wait_for(
            lambda: annotations(cluster, stage).get("example.com/after") == "outage",
            "the operator to work again",
            within_s=120,
            namespace=stage.namespace,
        )
        stage.wait_until_well(POOL)
    assert {kind: identities(objects(cluster, stage, kind)) for kind in kinds} == before
    assert generation_of(cluster, stage) == generation
    more = {name: restarts(pod) - counts.get(name, 0) for name, pod in stage.operators().items()}
    assert set(more) == set(counts)
    assert max(more.values()) <= 1, f"operators were restarted again and again: {more}"


def objects(cluster: Cluster, stage: Stage, kind: str) -> dict[str, Body]:
    return {body["metadata"]["name"]: body for body in cluster.items(kind, stage.namespace)}


def annotations(cluster: Cluster, stage: Stage) -> dict[str, str]:
    body = cluster.get("service", POOL, stage.namespace) or {}
    found: dict[str, str] = body["metadata"].get("annotations", {})
    return found


def generation_of(cluster: Cluster, stage: Stage) -> int:
    found: int = (cluster.get("statefulset", POOL, stage.namespace) or {})["metadata"]["generation"]
    return found
