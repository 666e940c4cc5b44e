"""What the operator makes of a pool, and keeps as it made it, on a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.client import Body, Cluster
from tests.cluster.lane.operators import Operator, condition, pool, route, running

CHILDREN = (
    ("statefulset", "{}"),
    ("service", "{}"),
    ("service", "{}-pods"),
    ("secret", "{}-config"),
    ("secret", "{}-admin"),
    ("serviceaccount", "{}"),
    ("poddisruptionbudget", "{}"),
    ("networkpolicy", "{}"),
)
SOON_S = 10.0


@pytest.fixture(scope="module")
def operator(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """One operator of this namespace, without a rival."""
    folder = tmp_path_factory.mktemp("operator")
    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    with running(cluster, folder, *options) as started:
        started.wait_for("watch.began")
        yield started


@pytest.fixture(scope="module")
def outbound(cluster: Cluster, namespace: str, operator: Operator) -> str:
    """A pool with everything a pool can have, and a route."""
    cluster.apply(
        [pool("outbound", namespace, networkPolicy={"enabled": True}), route("all", namespace, "outbound")]
    )
    for kind, pattern in CHILDREN:
        name = pattern.format("outbound")
        cluster.wait_for(
            lambda kind=kind, name=name: cluster.get(kind, name, namespace),
            f"{kind} {name}",
            within_s=SOON_S,
            namespace=namespace,
        )
    return "outbound"


def settled(cluster: Cluster, namespace: str, operator: Operator) -> float:
    """How many writes there have been, once passes make no more of them. No volume is ever made here, which
    the pool says after a while: that is the last of them."""

    def told() -> bool:
        status = (cluster.get("relaypool", "outbound", namespace) or {}).get("status", {})
        return any(condition["reason"] == "ClaimPending" for condition in status.get("conditions", ()))

    cluster.wait_for(told, "the pool that has no volume", within_s=75)

    def still() -> bool:
        before, passes = operator.writes(), operator.passes()
        cluster.wait_for(lambda: operator.passes() >= passes + 2, "two passes", within_s=75)
        return operator.writes() == before

    cluster.wait_for(still, "passes that write nothing", within_s=200)
    return operator.writes()


def test_a_pool_and_a_route_become_objects_that_belong_to_the_pool(
    cluster: Cluster, namespace: str, outbound: str
) -> None:
    """kubectl apply of a pool makes all that it needs, and each goes with the pool; claims do not."""
    uid = (cluster.get("relaypool", outbound, namespace) or {})["metadata"]["uid"]
    for kind, pattern in CHILDREN:
        body = cluster.get(kind, pattern.format(outbound), namespace) or {}
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("RelayPool", uid, True)
        assert body["metadata"]["labels"]["waystation.dev/pool"] == outbound
    claim = cluster.wait_for(
        lambda: cluster.get("persistentvolumeclaim", f"queue-{outbound}-0", namespace), "the claim"
    )
    assert "ownerReferences" not in claim["metadata"]


def test_what_became_of_them_is_said(cluster: Cluster, namespace: str, outbound: str) -> None:
    """The pool and the route have conditions for their own generation; the finalizer is on the pool alone."""
    accepted = cluster.wait_for_condition("relaypool", outbound, namespace, "Accepted", within_s=SOON_S)
    assert accepted["observedGeneration"] == 1
    found = cluster.wait_for(
        lambda: condition(cluster.get("mailroute", "all", namespace), "Accepted"),
        "the route's condition",
        within_s=SOON_S,
    )
    assert (found["status"], found["observedGeneration"]) == ("True", 1)
    bodies = {
        kind: cluster.get(kind, name, namespace)
        for kind, name in [("relaypool", outbound), ("mailroute", "all")]
    }
    marks = {kind: (body or {})["metadata"].get("finalizers") for kind, body in bodies.items()}
    assert marks == {"relaypool": ["waystation.dev/drain"], "mailroute": None}
    assert not [
        key
        for body in bodies.values()
        for key in (body or {})["metadata"].get("annotations", {})
        if "kopf" in key or "waystation" in key
    ]


DRIFT: list[tuple[str, str, str, str]] = [
    ("service", "outbound", '{"spec":{"selector":{"waystation.dev/role":"other"}}}', "spec.selector"),
    ("statefulset", "outbound", '{"spec":{"replicas":0}}', "spec.replicas"),
    ("statefulset", "outbound", '{"metadata":{"labels":{"waystation.dev/pool":null}}}', "metadata.labels"),
    ("poddisruptionbudget", "outbound", '{"spec":{"maxUnavailable":5}}', "spec.maxUnavailable"),
    ("networkpolicy", "outbound", '{"spec":{"ingress":[{}]}}', "spec.ingress"),
    ("serviceaccount", "outbound", '{"automountServiceAccountToken":true}', "automountServiceAccountToken"),
]


@pytest.mark.parametrize(
    ("kind", "name", "patch", "field"), DRIFT, ids=[f"{kind}-{field}" for kind, _, _, field in DRIFT]
)
def test_what_somebody_changes_is_put_back(
    cluster: Cluster, namespace: str, outbound: str, kind: str, name: str, patch: str, field: str
) -> None:
    """A child that is edited by hand is as planned again within seconds."""

    def value() -> object:
        at: object = cluster.get(kind, name, namespace)
        for step in field.split("."):
            at = at.get(step) if isinstance(at, dict) else None
        return at

    before = value()
    cluster.kubectl("patch", kind, name, f"--namespace={namespace}", "--type=merge", f"--patch={patch}")
    cluster.wait_for(lambda: value() == before, f"{field} of {kind} {name} put back", within_s=SOON_S)


@pytest.mark.parametrize(("kind", "pattern"), CHILDREN, ids=[f"{k}-{p}" for k, p in CHILDREN])
def test_what_somebody_deletes_is_made_again(
    cluster: Cluster, namespace: str, outbound: str, kind: str, pattern: str
) -> None:
    """A child that is deleted by hand is there again: within seconds, a Secret within a minute."""
    name = pattern.format(outbound)
    uid = (cluster.get(kind, name, namespace) or {})["metadata"]["uid"]
    cluster.delete(kind, name, namespace)

    def again() -> bool:
        body: Body | None = cluster.get(kind, name, namespace)
        return body is not None and body["metadata"]["uid"] != uid

    cluster.wait_for(again, f"{kind} {name} made again", within_s=65 if kind == "secret" else SOON_S)


def test_when_nothing_changes_nothing_is_written(
    cluster: Cluster, namespace: str, operator: Operator, outbound: str
) -> None:
    """Passes over a settled pool send the API server no write at all."""
    before, passes = settled(cluster, namespace, operator), operator.passes()
    cluster.wait_for(lambda: operator.passes() >= passes + 3, "three passes", within_s=190)
    assert operator.writes() == before


def test_a_new_operator_writes_nothing_over_what_the_old_one_made(
    cluster: Cluster, namespace: str, operator: Operator, outbound: str, tmp_path: Path
) -> None:
    """A restart or an update of the operator is no storm of writes, and restarts no pod."""
    settled(cluster, namespace, operator)
    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    with running(cluster, tmp_path, *options, name="second") as second:
        cluster.wait_for(lambda: second.passes() >= 1, "a pass of the new one", within_s=30)
        assert second.lines("object.applied") == []
        assert second.writes() == 0
        assert second.stop() == 0


def test_a_pool_that_cannot_be_made_holds_up_no_other(
    cluster: Cluster, namespace: str, outbound: str
) -> None:
    """One tenant's mistake is reported on that pool; the others go on."""
    listener = {
        "name": "tls",
        "port": 465,
        "clients": {"cidrs": ["10.0.0.0/8"]},
        "tls": {"mode": "Implicit", "secretName": "missing"},
    }
    cluster.apply([pool("broken", namespace, listeners=[listener]), pool("sound", namespace)])
    cluster.wait_for(
        lambda: cluster.get("statefulset", "sound", namespace), "the sound pool's pods", within_s=SOON_S
    )
    resolved = cluster.wait_for_condition(
        "relaypool", "broken", namespace, "ResolvedRefs", "False", within_s=SOON_S
    )
    assert "missing" in resolved["message"]


def test_somebody_elses_object_is_not_taken_over(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    """A Service that has the pool's name already belongs to whoever made it, and the pool says so."""
    ports = [{"port": 80}]
    service = {"kind": "Service", "metadata": {"name": "taken", "namespace": namespace}}
    cluster.apply([{"apiVersion": "v1", **service, "spec": {"selector": {"app": "shop"}, "ports": ports}}])
    cluster.apply([pool("taken", namespace)])
    accepted = cluster.wait_for_condition(
        "relaypool", "taken", namespace, "Accepted", "False", within_s=SOON_S
    )
    assert accepted["reason"] == "NameTaken"
    found = cluster.get("service", "taken", namespace) or {}
    assert found["spec"]["selector"] == {"app": "shop"}
    assert cluster.get("statefulset", "taken", namespace) is None


def test_a_deleted_pool_takes_its_objects_with_it_and_leaves_claims(
    cluster: Cluster, namespace: str, outbound: str
) -> None:
    """With the force annotation a pool goes although nobody proved its queues empty; its volumes stay."""
    mark = "waystation.dev/force-delete=true"
    cluster.kubectl("annotate", "relaypool", outbound, f"--namespace={namespace}", mark)
    cluster.delete("relaypool", outbound, namespace, wait=False)
    cluster.wait_for(
        lambda: cluster.get("relaypool", outbound, namespace) is None, "the pool gone", within_s=30
    )
    for kind, pattern in CHILDREN:
        name = pattern.format(outbound)
        cluster.wait_for(
            lambda kind=kind, name=name: cluster.get(kind, name, namespace) is None,
            f"{kind} {name} collected",
            within_s=60,
        )
    assert cluster.get("persistentvolumeclaim", f"queue-{outbound}-0", namespace) is not None
    found = cluster.wait_for(
        lambda: condition(cluster.get("mailroute", "all", namespace), "Accepted"), "the route's condition"
    )
    cluster.wait_for(
        lambda: (
            (condition(cluster.get("mailroute", "all", namespace), "Accepted") or {})["status"] == "False"
        ),
        f"the route to say that its pool is gone (said {found})",
        within_s=SOON_S,
    )
