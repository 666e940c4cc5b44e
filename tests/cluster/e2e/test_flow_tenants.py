"""One pool, several teams: listeners decide whose routes they take, namespaces who reads their Secrets."""

import secrets
from collections.abc import Iterator

import pytest
from tests.cluster.client import Body, Cluster
from tests.cluster.e2e.peers import PASSWORD, USER, Peers
from tests.cluster.e2e.release import Release
from tests.cluster.e2e.resources import SMTP, pool, route, secret, smarthost
from tests.cluster.e2e.status import look_again, wait_for_route

LABEL = "mail.example.com/relay"


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[str]:
    """A team's namespace, which has no label yet."""
    with cluster.namespace(f"shop-{secrets.token_hex(2)}") as name:
        yield name


@pytest.fixture(scope="module")
def shared(cluster: Cluster, mail: str) -> Body:
    """The parentRef of a pool whose listener takes routes of namespaces with a label."""
    chosen = {"from": "Selector", "selector": {"matchLabels": {LABEL: "shared"}}}
    cluster.apply(pool("shared", listeners=[SMTP | {"allowedRoutes": {"namespaces": chosen}}]), mail)
    cluster.wait_for_condition("relaypool", "shared", mail, "Ready", within_s=120)
    return {"name": "shared", "namespace": mail}


def test_route_of_another_namespace_needs_to_be_let_in(
    cluster: Cluster, mail: str, shop: str, shared: Body, peers: Peers, release: Release
) -> None:
    """Without the label the route is refused, and says so; with it, and with leave to read its login, its
    mail goes to the team's own smart host."""
    login = {"tls": "Opportunistic", "authSecretName": "login"}
    cluster.apply(
        [
            secret("login", username=USER, password=PASSWORD),
            route(
                "shop",
                smarthost(peers.host("smarthost"), 587, **login),
                to=shared,
                match={"senders": ["*@shop.example"]},
            ),
        ],
        shop,
    )
    refused = wait_for_route(cluster, shop, "shop", "Accepted", "False", reason="NotAllowedByListeners")
    assert "allowedRoutes" in refused["message"], refused["message"]

    cluster.kubectl("label", "namespace", shop, f"{LABEL}=shared")
    wait_for_route(cluster, shop, "shop", "Accepted")
    forbidden = wait_for_route(cluster, shop, "shop", "ResolvedRefs", "False", reason="SecretForbidden")
    assert f"RoleBinding in namespace {shop}" in forbidden["message"], forbidden["message"]

    release.grant(shop, "secret-reader")
    look_again(cluster, shop, "mailroute/shop")
    wait_for_route(cluster, shop, "shop", "ResolvedRefs", within_s=75)
    wait_for_route(cluster, shop, "shop", "Programmed")
    peers.send(f"shared.{mail}.svc", f"{mail} of the shop")
    assert "ESMTPSA" in peers.wait_for_mail(f"{mail} of the shop", "postfix")

    cluster.kubectl("label", "namespace", shop, f"{LABEL}-")
    wait_for_route(cluster, shop, "shop", "Accepted", "False", reason="NotAllowedByListeners")
