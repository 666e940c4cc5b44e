"""The operator is away or dies: mail does not need it, and what it missed it makes up for."""

import time

from tests.cluster.client import Cluster
from tests.cluster.e2e.trouble.conftest import POOL
from tests.cluster.e2e.trouble.stage import Stage, identities

TAKEN_OVER_WITHIN_S = 40.0


def test_mail_flows_without_an_operator(cluster: Cluster, stage: Stage) -> None:
    """No operator: mail flows, a killed relay comes back; what was changed meanwhile is put right later."""
    with stage.mail("alone", POOL) as flow:
        flow.wait_for_arrived(40)
        stage.scale_operator(0)
        pods = identities(stage.pods(POOL))
        count = stage.restarts(f"{POOL}-1")
        stage.kill_process(f"{POOL}-1")
        cluster.delete("poddisruptionbudget", POOL, stage.namespace)
        cluster.kubectl(
            "label",
            "service",
            f"{POOL}-pods",
            f"--namespace={stage.namespace}",
            "--overwrite",
            "waystation.dev/pool=x",
        )
        stage.change("relaypool", POOL, {"delivery": {"messagesPerConnection": 998}})
        stage.wait_for_restart(f"{POOL}-1", count)
        flow.wait_for_arrived(80)
        stage.scale_operator(2)
        stage.wait_until_well(POOL)
        cluster.wait_for(
            lambda: cluster.get("poddisruptionbudget", POOL, stage.namespace),
            "the budget",
            namespace=stage.namespace,
        )
        cluster.wait_for(
            lambda: pool_of_service(cluster, stage) == POOL, "the label", namespace=stage.namespace
        )
        assert identities(stage.pods(POOL)) == pods


def pool_of_service(cluster: Cluster, stage: Stage) -> str:
    body = cluster.get("service", f"{POOL}-pods", stage.namespace) or {}
    found: str = body["metadata"]["labels"]["waystation.dev/pool"]
    return found


def test_other_operator_takes_over_from_one_that_is_killed(cluster: Cluster, stage: Stage) -> None:
    """kill -9 of the leader: the other leads, and a change is live, within 40 seconds."""
    leader = cluster.wait_for(stage.leader, "an operator that leads")
    stage.kill_process(leader, stage.release.namespace)
    began = time.monotonic()
    stage.change("relaypool", POOL, {"delivery": {"messagesPerConnection": 997}})
    stage.wait_until_well(POOL, within_s=120)
    took_s = time.monotonic() - began
    assert stage.leader() not in ("", leader)
    assert took_s < TAKEN_OVER_WITHIN_S
