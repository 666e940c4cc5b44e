"""Pools and routes of several namespaces under one operator of the whole cluster."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.client import Body, Cluster
from tests.cluster.lane.operators import Operator, pool, route, running

SOON_S = 15.0
OPEN = {
    "name": "smtp",
    "port": 25,
    "clients": {"cidrs": ["10.0.0.0/8"]},
    "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"mail": "on"}}}},
}


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """One operator of the whole cluster."""
    with running(cluster, tmp_path_factory.mktemp("operator"), "--no-leader-election") as started:
        started.wait_for("watch.began")
        yield started


def accepted(body: Body | None) -> dict[str, str]:
    """Whether each parent of a route accepts it, by the parent's name."""
    parents = (body or {}).get("status", {}).get("parents", [])
    return {
        entry["parentRef"]["name"]: found["status"]
        for entry in parents
        for found in entry["conditions"]
        if found["type"] == "Accepted"
    }


def test_a_namespace_is_let_in_by_its_label(cluster: Cluster, namespace: str, operator: Operator) -> None:
    """A tenant's route is refused until somebody labels the namespace, and taken at once afterwards."""
    with cluster.namespace(f"{namespace}-shop") as shop:
        refs = [{"name": "chosen", "namespace": namespace}]
        cluster.apply(
            [pool("chosen", namespace, listeners=[OPEN]), route("r", shop, "chosen", parentRefs=refs)]
        )
        cluster.wait_for(
            lambda: accepted(cluster.get("mailroute", "r", shop)) == {"chosen": "False"}, "refused"
        )
        cluster.kubectl("label", "namespace", shop, "mail=on")
        cluster.wait_for(
            lambda: accepted(cluster.get("mailroute", "r", shop)) == {"chosen": "True"},
            "taken",
            within_s=SOON_S,
        )


def test_a_route_of_two_pools_has_the_report_of_each(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    """Pools that write into one route's status never undo one another, however often the route changes."""
    names = ["one", "two", "three", "four"]
    refs = [{"name": name} for name in names]
    cluster.apply([pool(name, namespace) for name in names])
    for generation in range(1, 6):
        recipients = [f"*@g{generation}.example"]
        cluster.apply(route("both", namespace, "one", parentRefs=refs, match={"recipients": recipients}))

        def reported(generation: int = generation) -> bool:
            body = cluster.get("mailroute", "both", namespace) or {}
            found = [
                condition["observedGeneration"]
                for entry in body.get("status", {}).get("parents", [])
                for condition in entry["conditions"]
                if condition["type"] == "Accepted"
            ]
            return found == [generation] * len(names)

        cluster.wait_for(
            reported, f"all reports of generation {generation}", within_s=SOON_S, namespace=namespace
        )
    cluster.apply(route("both", namespace, "one", parentRefs=refs[:1]))
    cluster.wait_for(
        lambda: accepted(cluster.get("mailroute", "both", namespace)) == {"one": "True"},
        "the reports of parents that are no longer named gone",
        within_s=SOON_S,
    )


def test_a_namespace_with_a_pool_can_be_deleted(cluster: Cluster, namespace: str, operator: Operator) -> None:
    """The finalizer of a pool whose pods are gone does not hold the namespace for ever."""
    with cluster.namespace(f"{namespace}-gone") as gone:
        cluster.apply([pool("p", gone), route("r", gone, "p")])
        cluster.wait_for(lambda: cluster.get("statefulset", "p", gone), "the pool's pods", within_s=SOON_S)
        cluster.delete("namespace", gone, wait=False)
        cluster.wait_for(
            lambda: cluster.get("namespace", gone) is None, "the namespace gone", within_s=90, namespace=gone
        )
    mistakes = [line for line in operator.lines("pool.failed") if "trace" in json.dumps(line)]
    assert mistakes == []


def test_a_pool_that_comes_back_is_made_again(
    cluster: Cluster, namespace: str, operator: Operator, tmp_path: Path
) -> None:
    """Deleted and applied once more under the same name: the new pool's objects belong to the new pool."""
    cluster.apply(pool("again", namespace))
    cluster.wait_for(lambda: cluster.get("statefulset", "again", namespace), "pods", within_s=SOON_S)
    cluster.kubectl(
        "annotate", "relaypool", "again", f"--namespace={namespace}", "waystation.dev/force-delete=true"
    )
    cluster.delete("relaypool", "again", namespace)
    cluster.apply(pool("again", namespace))
    uid = (cluster.get("relaypool", "again", namespace) or {})["metadata"]["uid"]

    def belongs() -> bool:
        body = cluster.get("statefulset", "again", namespace) or {"metadata": {}}
        return [owner["uid"] for owner in body["metadata"].get("ownerReferences", [])] == [uid]

    cluster.wait_for(belongs, "the new pool's StatefulSet", within_s=60, namespace=namespace)


def test_what_the_api_server_refuses_is_told_on_the_pool(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    """A quota that lets no Service be made: kubectl describe of the pool says so, and all else is made."""
    with cluster.namespace(f"{namespace}-poor") as poor:
        quota = {"metadata": {"name": "q", "namespace": poor}, "spec": {"hard": {"services": "0"}}}
        cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", **quota})
        cluster.wait_for(
            lambda: (cluster.get("resourcequota", "q", poor) or {})["status"].get("used"), "the quota"
        )
        cluster.apply(pool("p", poor))
        cluster.wait_for(lambda: cluster.get("statefulset", "p", poor), "the pods", within_s=SOON_S)
        told = cluster.wait_for(
            lambda: [event for event in cluster.items("events", poor) if event["reason"] == "ObjectRefused"],
            "the event",
            within_s=SOON_S,
        )
        assert any("exceeded quota" in event["message"] for event in told)
        cluster.delete("resourcequota", "q", poor)
        cluster.wait_for(
            lambda: cluster.get("service", "p", poor), "the Service, without the quota", within_s=65
        )
