"""From ``helm install`` and ``kubectl apply`` to mail that arrives: each way a route can send it."""

import re

import pytest
from tests.cluster.client import Body, Cluster, KubectlError
from tests.cluster.e2e.peers import PASSWORD, USER, Peers
from tests.cluster.e2e.resources import lmtp, pool, route, secret, smarthost
from tests.cluster.e2e.status import look_again, wait_for_route

ROUTES = ("plain", "login", "lmtp", "direct", "refuse", "hold")


def only(domain: str) -> Body:
    return {"recipients": [f"*@{domain}"]}


@pytest.fixture(scope="module")
def server(cluster: Cluster, mail: str, peers: Peers) -> str:
    """The Service of a pool that has a route for each kind of backend, by the recipient's domain."""
    if cluster.place is not None:
        address = (cluster.get("service", "smarthost", peers.namespace) or {})["spec"]["clusterIP"]
        cluster.zone("direct.test", f"@ IN MX 10 mx\nmx IN A {address}")
    login = {"tls": "Opportunistic", "authSecretName": "login"}
    cluster.apply(
        [
            pool(networkPolicy={"enabled": True}),
            secret("login", username=USER, password=PASSWORD),
            route("plain", smarthost(peers.host("smarthost"), tls="None"), match=only("plain.test")),
            route("login", smarthost(peers.host("smarthost"), 587, **login), match=only("login.test")),
            route("lmtp", lmtp(peers.host("dovecot")), match=only("lmtp.test")),
            route("direct", {"mx": {}}, match=only("direct.test")),
            route("refuse", {"reject": {"message": "Not from here"}}, match=only("refuse.test")),
            route("hold", {"quarantine": {}}, match=only("hold.test")),
        ],
        mail,
    )
    cluster.wait_for_condition("relaypool", "outbound", mail, "Ready", within_s=120)
    for name in ROUTES:
        wait_for_route(cluster, mail, name, "Programmed")
    return f"outbound.{mail}.svc"


@pytest.mark.parametrize(
    ("name", "keeps", "trace"),
    [
        pytest.param("plain", "postfix", r"with ESMTP id", id="smart host"),
        pytest.param("login", "postfix", r"with ESMTPSA id", id="smart host, STARTTLS and AUTH"),
        pytest.param("lmtp", "dovecot", r"with LMTP\s+id", id="Dovecot by LMTP"),
        pytest.param("direct", "postfix", r"with ESMTPS id", id="MX of the recipient's domain"),
    ],
)
def test_mail_arrives(
    cluster: Cluster, server: str, mail: str, peers: Peers, name: str, keeps: str, trace: str
) -> None:
    """A pod hands in a mail at the pool's Service; it arrives once, by the way that its route names."""
    if name == "direct" and cluster.place is None:
        pytest.skip("DNS zones of another cluster (WAYSTATION_CONTEXT) are not ours to write")
    subject = f"{name} of {mail}"
    peers.send(server, subject, to=f"ann@{name}.test")
    arrived = peers.wait_for_mail(subject, keeps)
    assert re.search(trace, arrived), arrived
    assert re.search(r"by relay\.example\.com", arrived), arrived
    assert peers.arrived()[subject] == 1


def test_routes_say_that_mail_goes_out(cluster: Cluster, server: str, mail: str) -> None:
    """What arrived is on the route, at the latest after a minute, which is not waited for here."""
    assert server
    sent = [name for name in ("plain", "login", "lmtp", "direct") if name != "direct" or cluster.place]
    look_again(cluster, mail)
    for name in sent:
        found = wait_for_route(cluster, mail, name, "Delivering", within_s=75)
        assert found["message"] == "the last mail arrived within the last 10 minutes"


def test_refused_mail_is_refused_at_the_door(server: str, peers: Peers) -> None:
    """A route that rejects does so while the client waits, with the route's own words."""
    with pytest.raises(KubectlError, match="exit code"):
        peers.send(server, "refused", to="ann@refuse.test")
    said = peers.cluster.run(
        "exec", "client", f"--namespace={peers.namespace}", "--",
        "swaks", "--server", server, "--from", "app@shop.example", "--to", "ann@refuse.test",
    ).stdout  # fmt: skip
    assert "550 5.7.1 Not from here" in said


def test_kubectl_get_answers_the_first_questions(
    cluster: Cluster, server: str, mail: str, peers: Peers
) -> None:
    """How many relays there are, how much mail waits and for how long, whether all is in force."""
    peers.send(server, "kept", to="ann@hold.test")
    look_again(cluster, mail)

    def row() -> list[str] | None:
        text = cluster.kubectl("get", "relaypools", f"--namespace={mail}")
        heading, line = text.splitlines()
        assert heading.split() == ["NAME", "DESIRED", "READY", "QUEUED", "OLDEST", "PROGRAMMED", "AGE"]
        return fields if (fields := line.split())[3] != "0" else None

    name, desired, ready, queued, oldest, programmed, _ = (
        cluster.wait_for(row, "the held mail among QUEUED", within_s=75, namespace=mail) or ["?"] * 7
    )
    assert (name, desired, ready, queued, programmed) == ("outbound", "1", "1", "1", "True")
    assert re.fullmatch(r"(\d+m)?(\d+s)?", oldest)
    rows = cluster.kubectl("get", "mailroutes", f"--namespace={mail}", "--no-headers").splitlines()
    shown = {fields[0]: fields[1:5] for fields in map(str.split, rows)}
    reached = {name: "True" if name != "direct" or cluster.place else "False" for name in ROUTES}
    assert shown == {name: ["outbound", "True", "True", reached[name]] for name in ROUTES}


def test_pods_are_as_safe_as_their_namespace_demands(cluster: Cluster, server: str, mail: str) -> None:
    """Where Pod Security restricted is enforced relays run; they write no root and have no token."""
    assert server
    pod = cluster.get("pod", "outbound-0", mail) or {}
    assert pod["spec"]["automountServiceAccountToken"] is False
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    (status,) = pod["status"]["containerStatuses"]
    assert (status["ready"], status["restartCount"]) == (True, 0)
    policy = (cluster.get("networkpolicy", "outbound", mail) or {})["spec"]
    smtp, admin = policy["ingress"]
    assert (smtp["ports"], smtp.get("from")) == ([{"port": 2525, "protocol": "TCP"}], None)
    assert [port["port"] for port in admin["ports"]] == [8025]
    operator = {"app.kubernetes.io/component": "operator", "app.kubernetes.io/name": "waystation"}
    peers = [peer for peer in admin["from"] if peer["podSelector"].get("matchLabels") == operator]
    assert len(peers) == 1, "the operator reaches the admin port"
    (running,) = cluster.items("pods", "waystation", ",".join(f"{k}={v}" for k, v in operator.items()))
    assert running["status"]["phase"] == "Running", "and those are its labels"
