"""Mistakes are said aloud: on the route or pool, within a minute, with what to do; corrected, they heal."""

import re
import time

import pytest
from tests.cluster.client import Body, Cluster
from tests.cluster.e2e.peers import PASSWORD, Peers
from tests.cluster.e2e.release import Release
from tests.cluster.e2e.resources import SMTP, lmtp, pool, route, secret, smarthost
from tests.cluster.e2e.status import look_again, wait_for_route

A_MINUTE_S = 60.0
LOGINS = {"absent": "first@example.com", "wrong": "second@example.com"}  # Secret → user name


def only(domain: str) -> Body:
    return {"recipients": [f"*@{domain}"]}


@pytest.fixture(scope="module")
def began(cluster: Cluster, mail: str, peers: Peers) -> float:
    """All mistakes are made at once, on a pool that is ready; when that was."""
    cluster.apply(pool(), mail)
    cluster.wait_for_condition("relaypool", "outbound", mail, "Ready", within_s=120)
    if cluster.place is not None:
        cluster.zone("nowhere.test", "@ IN MX 10 gone")
    host = peers.host("smarthost")
    began = time.monotonic()
    cluster.apply(
        [
            secret("wrong", username=LOGINS["wrong"], password="not this"),
            secret("plain", username="third@example.com", password=PASSWORD),
            route("no-secret", smarthost(host, 587, authSecretName="absent"), match=only("a.test")),
            route("wrong-password", smarthost(host, 587, authSecretName="wrong"), match=only("b.test")),
            route("no-host", smarthost("smtp.absent.example"), match=only("c.test")),
            route("not-lmtp", {"lmtp": {"host": host, "port": 25}}, match=only("d.test")),
            route("untrusted", smarthost(host, 587, tls="Required"), match=only("e.test")),
            route("no-login", smarthost(host, 25, tls="None", authSecretName="plain"), match=only("f.test")),
            route("no-exchanger", {"mx": {}}, match=only("nowhere.test")),
            route("no-domain", {"mx": {}}, match=only("no-such-domain.test")),
            route("no-pool", lmtp(peers.host("dovecot")), to="outbond", match=only("g.test")),
            pool(
                "no-certificate",
                listeners=[SMTP | {"tls": {"mode": "Required", "secretName": "absent-tls"}}],
            ),
        ],
        mail,
    )
    return began


@pytest.mark.parametrize(
    ("name", "condition", "reason", "remedy"),
    [
        pytest.param("no-secret", "ResolvedRefs", "SecretNotFound", r"create", id="no such Secret"),
        pytest.param(
            "wrong-password", "Reachable", "AuthRefused", r"correct username and password", id="AUTH"
        ),
        pytest.param("no-host", "Reachable", "HostNotFound", r"correct", id="smart host not in DNS"),
        pytest.param("not-lmtp", "Reachable", "NotLmtp", r"use its LMTP port", id="SMTP in place of LMTP"),
        pytest.param("untrusted", "Reachable", "CertificateInvalid", r"authority", id="authority unknown"),
        pytest.param("no-login", "Reachable", "AuthNotOffered", r"tls", id="login without TLS"),
        pytest.param("no-exchanger", "Reachable", "MxUnresolvable", r"MX records", id="MX points nowhere"),
        pytest.param("no-domain", "Reachable", "MxNotFound", r"correct the domain", id="no such domain"),
        pytest.param("no-pool", "Accepted", "NoMatchingParent", r"outbond", id="no such pool"),
    ],
)
def test_route_says_what_is_wrong(
    cluster: Cluster, mail: str, began: float, name: str, condition: str, reason: str, remedy: str
) -> None:
    """Within a minute a condition names the mistake and the remedy, and an Event tells it."""
    if name == "no-exchanger" and cluster.place is None:
        pytest.skip("DNS zones of another cluster (WAYSTATION_CONTEXT) are not ours to write")
    left = began + A_MINUTE_S - time.monotonic()
    found = wait_for_route(cluster, mail, name, condition, "False", reason=reason, within_s=left)
    assert re.search(remedy, found["message"]), found["message"]
    cluster.wait_for(
        lambda: f"mailroute/{name} " in f"{events(cluster, mail, reason)} ", "the Event", within_s=15
    )


def events(cluster: Cluster, namespace: str, reason: str) -> str:
    columns = "custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name"
    text = cluster.kubectl(
        "get", "events", f"--namespace={namespace}", f"--field-selector=reason={reason}",
        "--no-headers", f"--output={columns}",
    )  # fmt: skip
    return " ".join("/".join(line.lower().split()) for line in text.splitlines())


def test_pool_without_its_certificate_says_so(cluster: Cluster, mail: str, began: float) -> None:
    """A listener whose certificate is missing keeps the pool from starting, and the pool names the Secret."""
    left = began + A_MINUTE_S - time.monotonic()
    found = cluster.wait_for_condition(
        "relaypool", "no-certificate", mail, "ResolvedRefs", "False", within_s=left
    )
    assert found["reason"] == "SecretNotFound"
    assert "absent-tls" in found["message"]
    cluster.wait_for_condition("relaypool", "no-certificate", mail, "Programmed", "False")


def test_metric_shows_servers_that_do_not_work(
    cluster: Cluster, release: Release, mail: str, peers: Peers, began: float
) -> None:
    """What the conditions say of servers is a metric too, for alerts."""
    assert began
    labels = "app.kubernetes.io/component=operator,app.kubernetes.io/name=waystation"
    (pod,) = cluster.items("pods", release.namespace, labels)
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod['metadata']['name']}:8080/proxy/metrics"
    server = f'host="{peers.host("smarthost")}:587"'

    def look() -> list[str]:
        lines = cluster.kubectl("get", "--raw", path).splitlines()
        ours = (line for line in lines if line.startswith("waystation_operator_probe_ok{") and server in line)
        return [line for line in ours if line.endswith(" 0.0")]

    cluster.wait_for(look, "waystation_operator_probe_ok of the login", within_s=30, namespace=mail)


def test_mail_flows_once_it_is_corrected(cluster: Cluster, mail: str, peers: Peers, began: float) -> None:
    """The missing Secret is made, the password corrected: conditions follow, and mail that waited leaves."""
    assert began
    server = f"outbound.{mail}.svc"
    peers.send(server, f"{mail} no-secret", to="ann@a.test")
    peers.send(server, f"{mail} wrong-password", to="ann@b.test")
    for user in LOGINS.values():
        peers.set_password(PASSWORD, user)
    cluster.apply([secret(name, username=user, password=PASSWORD) for name, user in LOGINS.items()], mail)
    look_again(cluster, mail)
    for name in ("no-secret", "wrong-password"):
        assert "ESMTPSA" in peers.wait_for_mail(f"{mail} {name}", "postfix", within_s=120)
        wait_for_route(cluster, mail, name, "ResolvedRefs", within_s=75)
        wait_for_route(cluster, mail, name, "Reachable", within_s=135)
        wait_for_route(cluster, mail, name, "Delivering", within_s=75)
