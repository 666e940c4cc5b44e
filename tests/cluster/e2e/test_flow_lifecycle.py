"""Upgrading, uninstalling and installing again; pools that go. Queues stay, and mail flows meanwhile."""

import pytest
from tests.cluster.client import Cluster
from tests.cluster.e2e.peers import Peers
from tests.cluster.e2e.release import CRDS, DEPLOYMENT, Release
from tests.cluster.e2e.resources import pool, route, smarthost
from tests.cluster.e2e.status import wait_for_route

POOLS = ("outbound", "kept")


@pytest.fixture(scope="module")
def server(cluster: Cluster, mail: str, peers: Peers) -> str:
    """The Service of a pool with a route; a second pool keeps its claims when it goes."""
    cluster.apply(
        [
            pool("outbound"),
            pool("kept", scaleDown={"claims": "Retain"}),
            route("all", smarthost(peers.host("smarthost"))),
            route("hold", {"quarantine": {}}, match={"recipients": ["*@hold.test"]}),
        ],
        mail,
    )
    for name in POOLS:
        cluster.wait_for_condition("relaypool", name, mail, "Ready", within_s=120)
    for name in ("all", "hold"):
        wait_for_route(cluster, mail, name, "Programmed")
    return f"outbound.{mail}.svc"


def uids(cluster: Cluster, namespace: str) -> set[str]:
    """Of everything that holds mail or takes it."""
    kinds = ("pods", "persistentvolumeclaims", "relaypools", "services")
    return {body["metadata"]["uid"] for kind in kinds for body in cluster.items(kind, namespace)}


def test_upgrade_leaves_relays_alone(
    cluster: Cluster, release: Release, server: str, mail: str, peers: Peers
) -> None:
    """helm upgrade replaces the operator; relays whose image is the same run on, with their queues."""
    peers.send(server, f"{mail} held", to="ann@hold.test")
    before = uids(cluster, mail)
    release.install(operator={"logLevel": "debug"})
    peers.send(server, f"{mail} after the upgrade")
    peers.wait_for_mail(f"{mail} after the upgrade", "postfix")
    assert uids(cluster, mail) == before


def test_mail_outlives_the_release(
    cluster: Cluster, release: Release, server: str, mail: str, peers: Peers
) -> None:
    """helm uninstall takes the operator and nothing else; installed again, it takes over what there is."""
    before = uids(cluster, mail)
    release.uninstall()
    cluster.wait_for(
        lambda: not cluster.items("pods", release.namespace, "app.kubernetes.io/component=operator"),
        "the operator to go",
        within_s=90,
    )
    try:
        for name in CRDS:
            assert cluster.get("crd", name)
        peers.send(server, f"{mail} without an operator")
        peers.wait_for_mail(f"{mail} without an operator", "postfix")
        assert uids(cluster, mail) == before
    finally:
        release.install()
    assert DEPLOYMENT
    cluster.apply(route("all", smarthost(peers.host("smarthost")), retry={"first": "2s"}), mail)
    wait_for_route(cluster, mail, "all", "Programmed", within_s=90)
    assert uids(cluster, mail) == before


def test_pool_with_mail_is_not_deleted(cluster: Cluster, server: str, mail: str) -> None:
    """kubectl delete of a pool that has mail waits until it has none, and says what it waits for."""
    assert server
    cluster.delete("relaypool", "outbound", mail, wait=False)
    found = cluster.wait_for_condition("relaypool", "outbound", mail, "ScalingDown", within_s=75)
    assert found["reason"] == "Draining"
    assert cluster.get("statefulset", "outbound", mail)
    shown = cluster.exec("outbound-0", mail, "waystation", "queue", "list", container="relay")
    assert "ann@hold.test" in shown


@pytest.mark.parametrize(
    ("name", "claims"),
    [pytest.param("kept", 1, id="Retain")],
)
def test_empty_pool_goes_with_all_it_had(
    cluster: Cluster, server: str, mail: str, name: str, claims: int
) -> None:
    """Its objects are gone; its claims are what scaleDown.claims says."""
    assert server
    cluster.delete("relaypool", name, mail, wait=False)
    cluster.wait_for(
        lambda: cluster.get("relaypool", name, mail) is None, f"{name} to go", within_s=120, namespace=mail
    )
    mine = f"waystation.dev/pool={name}"
    for kind in ("statefulsets", "services", "secrets", "poddisruptionbudgets", "serviceaccounts"):
        cluster.wait_for(
            lambda kind=kind: not cluster.items(kind, mail, mine), f"{kind} of {name} to go", namespace=mail
        )
    assert len(cluster.items("persistentvolumeclaims", mail, mine)) == claims
