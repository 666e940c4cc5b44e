"""The operator while the API server is away, or while it was stopped itself."""

import os
import signal
import time
from pathlib import Path

from tests.cluster.client import Cluster
from tests.cluster.lane.operators import pool, running


def test_an_api_server_that_is_away_is_waited_for(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """While the API server is down the operator says so once and deletes nothing; afterwards it works on."""
    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        cluster.apply(pool("before", namespace))
        cluster.wait_for(lambda: cluster.get("statefulset", "before", namespace), "pods", within_s=10)
        cluster.kill("apiserver")
        try:
            operator.wait_for("api.unreachable")
            time.sleep(5)  # the outage's length, in which nothing may pile up
            assert operator.process.poll() is None
            assert operator.get("/livez")[0] == 200
        finally:
            cluster.start("apiserver")
        cluster.wait_for(lambda: cluster.apply(pool("after", namespace)) is None, "the API server")
        cluster.wait_for(
            lambda: cluster.get("statefulset", "after", namespace), "work done afterwards", within_s=60
        )
        assert len(operator.lines("api.unreachable")) == 1
        assert len(operator.lines("api.reachable")) == 1
        assert operator.lines("object.deleted") == []
        assert operator.lines("watch.failed") == []
        assert len(operator.lines()) < 200
        assert operator.stop() == 0


def test_a_leader_without_api_server_ends_and_waits_as_a_candidate(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """A leader that cannot renew its lease ends once; started again it waits, and does not end again."""
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}")
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        cluster.kill("apiserver")
        try:
            assert operator.process.wait(20) == 1
            assert len(operator.lines("election.lost")) == 1
            with running(cluster, tmp_path, *options, name="again") as again:
                again.wait_for("election.waiting")
                cluster.start("apiserver")
                again.wait_for("watch.began", within_s=45)
        finally:
            cluster.start("apiserver")


def test_a_stopped_process_does_not_write_when_it_wakes_up(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """SIGSTOP for longer than the lease: another leads meanwhile, and the sleeper ends when it wakes up."""
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}", "--lease-name=asleep")
    with (
        running(cluster, tmp_path, *options, name="sleeper") as sleeper,
        running(cluster, tmp_path, *options, name="other") as other,
    ):
        sleepers = [sleeper, other]
        leader = cluster.wait_for(
            lambda: next((one for one in sleepers if one.lines("watch.began")), None), "a leader"
        )
        rest = other if leader is sleeper else sleeper
        os.kill(leader.process.pid, signal.SIGSTOP)
        try:
            rest.wait_for("watch.began", within_s=40)
            before = len(leader.lines("status.written")) + len(leader.lines("object.applied"))
            cluster.apply(pool("while-asleep", namespace))
            cluster.wait_for(
                lambda: cluster.get("statefulset", "while-asleep", namespace), "pods", within_s=10
            )
        finally:
            os.kill(leader.process.pid, signal.SIGCONT)
        assert leader.process.wait(15) == 1
        after = len(leader.lines("status.written")) + len(leader.lines("object.applied"))
        assert after == before
