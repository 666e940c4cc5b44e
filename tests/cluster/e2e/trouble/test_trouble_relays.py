"""Relays killed, rolled out, evicted: what was answered 250 arrives, and clients hear nothing but "later"."""

import subprocess

import pytest
from tests.cluster.client import Cluster, KubectlError
from tests.cluster.e2e.trouble.conftest import POOL
from tests.cluster.e2e.trouble.stage import Stage, exit_codes, identities

PODS = (f"{POOL}-0", f"{POOL}-1")


def test_killed_relays_lose_nothing(cluster: Cluster, stage: Stage) -> None:
    """kill -9 of one relay, of the other, and, with mail in the queues, of both at once."""
    # New pods, since the kubelet lets those wait that have been restarted often.
    stage.make_pool("killed", replicas=2)
    before = identities(stage.pods("killed"))
    with stage.mail("killed", "killed") as flow:
        for victim in before:
            flow.wait_for_arrived(40)
            kill(stage, victim)
        with stage.traffic.held():
            flow.wait_for_accepted(60)
            kill(stage, *before)
            flow.wait_for_accepted(40)
    assert flow.setbacks, "nobody noticed: the kills did not hit anything"
    assert identities(stage.pods("killed")) == before  # in the same pods, on the same claims
    cluster.delete("relaypool", "killed", stage.namespace)


def kill(stage: Stage, *pods: str) -> None:
    counts = {pod: stage.restarts(pod) for pod in pods}
    for pod in pods:
        stage.kill_process(pod)
    for pod, count in counts.items():
        stage.wait_for_restart(pod, count)


def test_new_image_is_rolled_out_under_load(cluster: Cluster, stage: Stage, images: dict[str, str]) -> None:
    """Pod by pod, each stops as it is asked to; its successor finds the queue on the same claim."""
    before = identities(stage.pods(POOL))
    other = f"{images['waystation-relay'].rpartition(':')[0]}:rolled-out"
    give_another_name(cluster, images["waystation-relay"], other)
    with exit_codes(cluster, stage.namespace) as codes, stage.mail("rollout", POOL) as flow:
        flow.wait_for_arrived(40)
        stage.change("relaypool", POOL, {"template": {"image": other}})
        for pod in reversed(PODS):
            stage.wait_until_ready(pod, but_not=before[pod])
        stage.wait_until_well(POOL)
        flow.wait_for_arrived(40)
        cluster.wait_for(lambda: set(codes()) >= set(PODS), "the pods' ends")
        ended = {pod: codes()[pod] for pod in PODS}
    assert ended == {pod: {"0"} for pod in PODS}
    assert {pod["spec"]["containers"][0]["image"] for pod in stage.pods(POOL).values()} == {other}


def give_another_name(cluster: Cluster, image: str, name: str) -> None:
    """The same image is another one to Kubernetes."""
    assert cluster.place is not None
    ctr = ["ctr", f"--address={cluster.place.containerd_socket}", "--namespace=k8s.io", "images", "tag"]
    subprocess.run([*ctr, "--force", image, name], check=True, capture_output=True, timeout=30)


def test_evicted_relay_comes_back_with_its_mail(cluster: Cluster, stage: Stage) -> None:
    """An eviction, as a node's drain does it, loses nothing; a second one at the same time is refused."""
    first, second = PODS
    before = stage.wait_until_ready(first)["metadata"]["uid"]
    claim = (cluster.get("pvc", f"queue-{first}", stage.namespace) or {})["metadata"]["uid"]
    with exit_codes(cluster, stage.namespace) as codes, stage.mail("evict", POOL) as flow:
        with stage.traffic.held():
            flow.wait_for_accepted(60)
            evict(stage, first)
            with pytest.raises(KubectlError, match="disruption budget"):
                evict(stage, second)
            stage.wait_until_ready(first, but_not=before)
        flow.wait_for_arrived(40)
        ended = codes()[first]
    assert ended == {"0"}
    assert (cluster.get("pvc", f"queue-{first}", stage.namespace) or {})["metadata"]["uid"] == claim
    stage.wait_until_well(POOL)


def evict(stage: Stage, pod: str) -> None:
    body = f'{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}"}}}}'
    where = f"/api/v1/namespaces/{stage.namespace}/pods/{pod}/eviction"
    stage.cluster.kubectl("create", f"--raw={where}", "--filename=-", stdin=body)
