"""Two replicas, one lease, a real API server."""

import time
from pathlib import Path

from tests.cluster.client import Cluster
from tests.cluster.lane.operators import pool, running

TAKES_OVER_S = 30.0
HANDS_OVER_S = 10.0


def test_another_replica_takes_over_when_the_leader_is_killed(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """kill -9 of the leading replica: the other one, idle until then, works on within half a minute."""
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}")
    with running(cluster, tmp_path, *options, name="first") as first:
        first.wait_for("watch.began")
        with running(cluster, tmp_path, *options, name="second") as second:
            second.wait_for("election.waiting")
            cluster.apply(pool("before", namespace))
            cluster.wait_for(
                lambda: cluster.get("statefulset", "before", namespace), "the pool's pods", within_s=10
            )
            assert [replica.get("/readyz")[0] for replica in (first, second)] == [200, 200]
            assert [replica.metric("leader") for replica in (first, second)] == [1, 0]
            assert second.writes() == 0
            first.kill()
            began = time.monotonic()
            cluster.apply(pool("after", namespace))
            cluster.wait_for(
                lambda: cluster.get("statefulset", "after", namespace),
                "the other replica's work",
                within_s=TAKES_OVER_S,
            )
            print(f"taken over within {time.monotonic() - began:.1f} s")
            assert second.metric("leader") == 1


def test_a_stopped_leader_hands_over(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """An update of the operator does not wait for a lease to run out."""
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}", "--lease-name=handed")
    with running(cluster, tmp_path, *options, name="first") as first:
        first.wait_for("watch.began")
        with running(cluster, tmp_path, *options, name="second") as second:
            second.wait_for("election.waiting")
            assert first.stop() == 0
            second.wait_for("start.synced", within_s=HANDS_OVER_S)


def test_a_leader_whose_lease_is_taken_ends_at_once(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Whoever finds another holder in the lease stops there and then, and says why."""
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}", "--lease-name=taken")
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        patch = '{"spec":{"holderIdentity":"somebody-else"}}'
        cluster.kubectl(
            "patch", "lease", "taken", f"--namespace={namespace}", "--type=merge", f"--patch={patch}"
        )
        assert operator.process.wait(15) == 1
        (lost,) = operator.lines("election.lost")
        assert lost["holder"] == "somebody-else"
