"""Queues that cannot be emptied: full ones, and those of pods that are to be removed."""

from tests.cluster.client import Body, Cluster
from tests.cluster.e2e.trouble.stage import Stage, is_ready

from waystation_operator.api.relaypool import container_port

LARGE_BYTES = 64_000


def test_full_queue_takes_no_more_and_recovers(cluster: Cluster, stage: Stage) -> None:
    """Clients are asked to come again, the pool says why, and when mail leaves again all of it arrives."""
    stage.make_pool("small", queue={"size": "16Mi", "fullAtPercent": 50})
    address = stage.pods("small")["small-0"]["status"]["podIP"]
    with stage.traffic.flow(
        "full",
        address,
        port=container_port(25),
        size_bytes=LARGE_BYTES,
        queued=lambda: stage.queued("small"),
    ) as flow:  # to the pod itself: the Service leaves it out when it is full
        with stage.traffic.held():
            stage.wait_for_reason("small", "QueueHealthy", "Full")
            stage.wait_for_reason("small", "Ready", "QueueFull")
            assert not is_ready(stage.pods("small")["small-0"])
            assert flow.setbacks["452"], str(flow)
        flow.wait_for_accepted(40)
        stage.wait_for_reason("small", "QueueHealthy", "Healthy")
        stage.wait_until_well("small")
    assert set(flow.setbacks) <= {"452", "421"}, str(flow)
    cluster.delete("relaypool", "small", stage.namespace)


def test_pod_with_mail_is_not_removed(cluster: Cluster, stage: Stage) -> None:
    """Fewer replicas: pods stay, and the condition says what they wait for, until their queues are empty."""
    stage.make_pool("elastic", replicas=1)
    with stage.mail("elastic", "elastic") as flow:
        flow.wait_for_arrived(20)
        stage.change("relaypool", "elastic", {"replicas": 3})
        stage.wait_until_ready("elastic-2")
        stage.wait_until_well("elastic")
        with stage.traffic.held():
            flow.wait_for_accepted(60)
            stage.change("relaypool", "elastic", {"replicas": 1})
            condition = stage.wait_for_reason("elastic", "ScalingDown", "Draining")
            cluster.wait_for(lambda: roles(stage) == ["active", "draining", "draining"], "pods that drain")
            flow.wait_for_accepted(60)  # by the one that stays
            assert set(stage.pods("elastic")) == {"elastic-0", "elastic-1", "elastic-2"}
            assert "messages left" in condition["message"]
        cluster.wait_for(
            lambda: set(stage.pods("elastic")) == {"elastic-0"},
            "the others to go",
            within_s=150,
            namespace=stage.namespace,
        )
        stage.wait_for_reason("elastic", "ScalingDown", "Settled")
    cluster.delete("relaypool", "elastic", stage.namespace)


def roles(stage: Stage) -> list[str]:
    found: dict[str, Body] = stage.pods("elastic")
    return [found[name]["metadata"]["labels"]["waystation.dev/role"] for name in sorted(found)]
