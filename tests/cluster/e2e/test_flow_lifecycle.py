"""Upgrading, uninstalling and installing again; pools that go. Queues stay, and mail flows meanwhile."""

import pytest
from tests.cluster.client import Cluster
from tests.cluster.e2e.peers import Peers
from tests.cluster.e2e.release import CRDS, Release
from tests.cluster.e2e.resources import pool, route, smarthost
from tests.cluster.e2e.status import wait_for_route


@pytest.fixture(scope="module")
def server(cluster: Cluster, mail: str, peers: Peers) -> str:
    """The Service of a pool that sends mail on, holds some, and retains its claims when it goes."""
    cluster.apply(
        [
            pool("outbound", scaleDown={"claims": "Retain"}),
            route("all", smarthost(peers.host("smarthost"))),
            route("hold", {"quarantine": {}}, match={"recipients": ["*@hold.test"]}),
        ],
        mail,
    )
    cluster.wait_for_condition("relaypool", "outbound", mail, "Ready", within_s=120)
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
    cluster.apply(route("all", smarthost(peers.host("smarthost")), retry={"first": "2s"}), mail)
    wait_for_route(cluster, mail, "all", "Programmed", within_s=90)
    assert uids(cluster, mail) == before


def test_pool_is_deleted_when_its_queue_is_empty(cluster: Cluster, server: str, mail: str) -> None:
    """kubectl delete waits for the last mail, and says so. Then all that the pool had goes, except its claims
    where it retains them."""
    assert server
    mine = "waystation.dev/pool=outbound"
    cluster.delete("relaypool", "outbound", mail, wait=False)
    found = cluster.wait_for_condition("relaypool", "outbound", mail, "ScalingDown", within_s=75)
    assert (found["reason"], "1" in found["message"]) == ("Draining", True), found["message"]
    queue = ("waystation", "queue")
    assert "ann@hold.test" in cluster.exec("outbound-0", mail, *queue, "list", container="relay")
    cluster.exec("outbound-0", mail, *queue, "delete", "--domain", "hold.test", container="relay")
    cluster.wait_for(
        lambda: cluster.get("relaypool", "outbound", mail) is None,
        "the pool to go",
        within_s=120,
        namespace=mail,
    )
    kinds = "statefulsets,services,secrets,poddisruptionbudgets,serviceaccounts"
    cluster.wait_for(lambda: not cluster.items(kinds, mail, mine), "all it had to go", namespace=mail)
    assert len(cluster.items("persistentvolumeclaims", mail, mine)) == 1
