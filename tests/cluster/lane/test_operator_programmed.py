"""From `kubectl apply` of a route to a relay that acts on it: operator, API server and relay are real."""

import smtplib
import time
from pathlib import Path

from tests.cluster.client import Cluster
from tests.cluster.lane import kubelet
from tests.cluster.lane.operators import condition, pool, route, running

GOAL_S = 5.0
ADDRESS = "127.0.67.1"
PORT = 2525  # of listener 25, above the privileged ones


def refused(recipient: str) -> str:
    """What the relay says to a recipient, in a session of its own."""
    with smtplib.SMTP(ADDRESS, PORT, timeout=10) as session:
        session.ehlo("client.example")
        session.mail("ann@shop.example")
        code, text = session.rcpt(recipient)
    return f"{code} {text.decode()}"


def test_a_changed_route_is_in_force_within_seconds(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """kubectl apply of a changed route: the relay acts on it, and the route says so, within five seconds."""

    def programmed(name: str) -> bool:
        body = cluster.get("mailroute", name, namespace)
        found = condition(body, "Programmed") or {}
        return (
            found.get("status") == "True"
            and found.get("observedGeneration") == (body or {})["metadata"]["generation"]
        )

    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    listener = {"name": "smtp", "port": 25, "clients": {"cidrs": ["127.0.0.0/8"]}}
    verdict = {"reject": {"code": 550, "enhanced": "5.7.1", "message": "first"}}
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        cluster.apply(
            [
                pool("out", namespace, listeners=[listener]),
                route("r", namespace, "out", match={"recipients": ["bob@shop.example"]}, backends=[verdict]),
            ]
        )
        with kubelet.running(cluster, namespace, "out", ADDRESS, tmp_path) as node:
            cluster.wait_for(
                lambda: programmed("r"), "the first configuration", within_s=30, namespace=namespace
            )
            assert node.process is not None
            assert "first" in refused("bob@shop.example")
            session = smtplib.SMTP(ADDRESS, PORT, timeout=10)
            session.ehlo("client.example")
            took: list[float] = []
            for word in ("second", "third", "fourth"):
                changed = {"reject": verdict["reject"] | {"message": word}}
                began = time.monotonic()
                cluster.apply(
                    route(
                        "r", namespace, "out", match={"recipients": ["bob@shop.example"]}, backends=[changed]
                    )
                )
                cluster.wait_for(
                    lambda: programmed("r"), f"{word} in force", within_s=30, namespace=namespace, every_s=0.1
                )
                took.append(time.monotonic() - began)
                assert word in refused("bob@shop.example")
            print("apply to Programmed:", ", ".join(f"{seconds:.1f} s" for seconds in took))
            assert session.noop()[0] == 250  # no session was dropped
            assert node.process.poll() is None
            assert sorted(took)[1] < GOAL_S
        assert operator.metric("programmed_seconds_count", kind="MailRoute") >= 3


def look(cluster: Cluster, namespace: str, name: str) -> None:
    """Has the operator look at the pool now, and not within a minute."""
    mark = f"looked-at={time.monotonic_ns()}"
    cluster.kubectl("annotate", "relaypool", name, mark, f"--namespace={namespace}", "--overwrite")


def test_what_a_relay_says_reaches_the_status(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """kubectl get of the pool shows its queue and its pods' configuration; a relay that dies is noticed."""
    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    listener = {"name": "smtp", "port": 25, "clients": {"cidrs": ["127.0.0.0/8"]}}
    with running(cluster, tmp_path, *options) as operator:
        operator.wait_for("watch.began")
        cluster.apply(
            [
                pool("seen", namespace, listeners=[listener]),
                route("held", namespace, "seen", backends=[{"quarantine": {}}]),
            ]
        )
        with kubelet.running(cluster, namespace, "seen", "127.0.67.2", tmp_path) as node:
            cluster.wait_for_condition("relaypool", "seen", namespace, "Programmed", within_s=30)
            cluster.wait_for_condition("relaypool", "seen", namespace, "Ready", within_s=30)
            with smtplib.SMTP("127.0.67.2", PORT, timeout=10) as session:
                session.sendmail("a@shop.example", ["b@shop.example"], "Subject: kept\r\n\r\nx\r\n")
            look(cluster, namespace, "seen")
            status = cluster.wait_for(
                lambda: (
                    status
                    if (status := (cluster.get("relaypool", "seen", namespace) or {})["status"])["queue"].get(
                        "held"
                    )
                    else None
                ),
                "the held message",
                within_s=70,
                namespace=namespace,
            )
            assert status["queue"]["messages"] == 1
            assert status["readyReplicas"] == 1
            assert node.process is not None
            node.process.kill()
            node.process.wait(10)
            look(cluster, namespace, "seen")
            cluster.wait_for_condition("relaypool", "seen", namespace, "Programmed", "False", within_s=70)
