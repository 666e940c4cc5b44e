"""Pods, claims and relays' answers as the plan sees them."""

import json
from typing import Any

import pytest

from waystation_operator.plan import reading, report


def container(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "relay", "state": state, "lastState": last or {}}]}


@pytest.mark.parametrize(
    ("status", "trouble", "said"),
    [
        pytest.param(container({"running": {}}), "", "", id="runs"),
        pytest.param(container({"waiting": {"reason": "ContainerCreating"}}), "", "", id="being made"),
        pytest.param(
            container({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
            "ErrImagePull",
            "not found",
            id="no image",
        ),
        pytest.param(
            container(
                {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                {"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": ""}},
            ),
            "CrashLoopBackOff",
            "back-off; it ended with exit code 137",
            id="ends again and again",
        ),
        pytest.param(
            container({"terminated": {"reason": "Error", "exitCode": 2, "message": "bad\n"}}),
            "Error",
            "it ended with exit code 2: bad",
            id="has just ended",
        ),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
            "Unschedulable",
            "",
            id="no node",
        ),
        pytest.param(
            {"reason": "Evicted", "message": "disk pressure"}, "Evicted", "disk pressure", id="evicted"
        ),
        pytest.param({}, "", "", id="nothing known yet"),
    ],
)
def test_the_kubelet_says_what_stops_a_pod(status: dict[str, Any], trouble: str, said: str) -> None:
    """Its own reason and words are kept, the most precise first."""
    pod = reading.pod({"metadata": {"name": "outbound-0"}, "status": status})
    assert (pod.trouble, pod.trouble_message) == (trouble, said)


@pytest.mark.parametrize(
    ("name", "ordinal"),
    [("outbound-0", 0), ("queue-outbound-12", 12), ("outbound", -1), ("outbound-x", -1), ("outbound-²", -1)],
)
def test_the_ordinal_is_in_the_name(name: str, ordinal: int) -> None:
    """A name that no StatefulSet gives has none."""
    assert reading.pod({"metadata": {"name": name}}).ordinal == ordinal
    assert reading.claim({"metadata": {"name": name}}).ordinal == ordinal


def test_a_route_concerns_its_pools_past_and_present() -> None:
    """A pool that a route has left is looked at once more, to take its entry out of the route's status."""
    ours = {"controllerName": "waystation.dev/operator", "parentRef": {"name": "old"}}
    theirs = {"controllerName": "other", "parentRef": {"name": "theirs"}}
    found = reading.route(
        {
            "apiVersion": "waystation.dev/v1alpha1",
            "kind": "MailRoute",
            "metadata": {"name": "r", "namespace": "shop"},
            "spec": {"parentRefs": [{"name": "a"}, {"name": "b", "namespace": "mail"}], "backends": []},
            "status": {"parents": [ours, theirs, "odd"]},
        }
    )
    assert found.route is None
    assert reading.concerned(found) == {"shop/a", "mail/b", "shop/old"}


def test_secrets_to_gather_are_those_that_are_named() -> None:
    """Certificates in the pool's namespace, logins in the routes': no other Secret is asked for."""
    pool = reading.pool(
        {
            "apiVersion": "waystation.dev/v1alpha1",
            "kind": "RelayPool",
            "metadata": {"name": "p", "namespace": "mail"},
            "spec": {
                "hostname": "h.example",
                "listeners": [
                    {"name": "a", "port": 25, "tls": {"mode": "Required", "secretName": "cert"}},
                    {"name": "b", "port": 26},
                ],
            },
        }
    )
    route = reading.route(
        {
            "apiVersion": "waystation.dev/v1alpha1",
            "kind": "MailRoute",
            "metadata": {"name": "r", "namespace": "shop"},
            "spec": {
                "parentRefs": [{"name": "p"}],
                "backends": [
                    {"smartHost": {"host": "s.example", "tls": "Required", "authSecretName": "login"}},
                    {"smartHost": {"host": "t.example"}},
                ],
            },
        }
    )
    assert (pool.problems, route.problems) == ((), ())
    assert reading.secret_keys(pool, [route]) == {"mail/cert", "shop/login"}


WHOLE = {
    "pod": "outbound-0",
    "config": {"hash": "9f", "error": ""},
    "ready": True,
    "reasons": [],
    "queue": {"messages": 3, "held": 1, "bytes": 99, "oldest_due_seconds": 0.5, "oldest_arrival": None},
    "drain": {"state": "active", "epoch": 0, "remaining": 3},
    "routes": {"mail/a": {"last_success": 1.5, "last_failure": None, "waiting": 0, "top_deferral": None}},
}


@pytest.mark.parametrize(
    ("change", "is_read"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"colour": "blue"}, True, id="a field of the future"),
        pytest.param({"drain": {}}, True, id="a group not filled in"),
        pytest.param({"queue": {}}, False, id="no figure of the queue"),
        pytest.param({"queue": {"messages": "3"}}, False, id="a figure that is none"),
        pytest.param({"ready": 1}, False, id="no truth value"),
    ],
)
def test_what_a_relay_says(change: dict[str, Any], is_read: bool) -> None:
    """New fields pass; a figure that cannot be read must not pass for an empty queue."""
    found = report.read(json.dumps(WHOLE | change).encode())
    assert isinstance(found, report.RelayReport) is is_read
    if not is_read:
        assert "cannot read" in str(found)


def test_what_is_no_answer_at_all() -> None:
    """Anything may listen at the port."""
    for data in (b"", b"<html>", b"\xff", b"[" * 10_000, b"null"):
        assert isinstance(report.read(data), str)
