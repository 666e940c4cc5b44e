"""What people see: kubectl get, its short names and category, kubectl explain."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.specs import schema
from tests.cluster.client import Cluster
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource

NOW = "2026-11-25T00:00:00Z"


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": "Because",
        "message": message,
        "lastTransitionTime": NOW,
    }


@pytest.fixture(scope="module")
def shown(api: Api, namespace: str) -> str:
    """A pool and a route with what the operator says of them, in a namespace."""
    pool, route = resource("RelayPool", {"replicas": 3}, "outbound"), resource("MailRoute", {}, "all")
    for body in (pool, route):
        assert api.create(body, namespace, keep=True).accepted
    pool_status = {
        "readyReplicas": 2,
        "queue": {"messages": 812, "oldestArrivalTime": NOW},
        "conditions": [condition("Programmed", "True"), condition("Ready", "False", "pod 2 has no volume")],
    }
    parent = {
        "parentRef": {"name": "outbound"},
        "conditions": [
            condition("Accepted", "True"),
            condition("Programmed", "False"),
            condition("Delivering", "Unknown", "nothing was sent yet"),
        ],
    }
    for kind, name, status in (
        ("RelayPool", "outbound", pool_status),
        ("MailRoute", "all", {"parents": [parent]}),
    ):
        answer = api.merge(kind, name, namespace, {"status": status}, subresource="status")
        assert answer.accepted, answer.body
    return namespace


def table(cluster: Cluster, namespace: str, *what: str) -> list[dict[str, str]]:
    """The rows of kubectl's table, by column."""
    head, *rows = cluster.kubectl("get", *what, f"--namespace={namespace}").splitlines()
    columns = [(match[0].strip(), match.start()) for match in re.finditer(r"\S+\s*", head)]
    ends = [start for _, start in columns[1:]] + [None]
    return [
        {name: row[start:end].strip() for (name, start), end in zip(columns, ends, strict=True)}
        for row in rows
    ]


@pytest.mark.parametrize("name", ["rp", "relaypool", "relaypools"])
def test_pool_in_one_line(cluster: Cluster, shown: str, name: str) -> None:
    """kubectl get rp tells how many relays are wanted and ready, what waits, since when, and what is live."""
    (row,) = table(cluster, shown, name)
    assert list(row) == ["NAME", "DESIRED", "READY", "QUEUED", "OLDEST", "PROGRAMMED", "AGE"]
    assert row["NAME"] == "outbound"
    assert (row["DESIRED"], row["READY"], row["QUEUED"], row["PROGRAMMED"]) == ("3", "2", "812", "True")
    assert re.fullmatch(r"[0-9]+[smhdy].*", row["OLDEST"])
    assert re.fullmatch(r"[0-9]+s|[0-9]+m.*", row["AGE"])


@pytest.mark.parametrize("name", ["mr", "mailroute", "mailroutes"])
def test_route_in_one_line(cluster: Cluster, shown: str, name: str) -> None:
    """kubectl get mr tells the pool, whether it took the route, runs it, and whether mail goes through."""
    (row,) = table(cluster, shown, name)
    assert list(row) == ["NAME", "POOL", "ACCEPTED", "PROGRAMMED", "DELIVERING", "AGE"]
    assert list(row.values())[:5] == ["all", "outbound", "True", "False", "Unknown"]


@pytest.mark.parametrize(("name", "says"), [("rp", "pod 2 has no volume"), ("mr", "nothing was sent yet")])
def test_wide_output_has_the_reason(cluster: Cluster, shown: str, name: str, says: str) -> None:
    """kubectl get -o wide adds what the operator has to say."""
    (row,) = table(cluster, shown, name, "--output=wide")
    assert row["MESSAGE"] == says


def test_category_is_mail(cluster: Cluster, shown: str) -> None:
    """kubectl get mail shows both kinds."""
    names = cluster.kubectl("get", "mail", f"--namespace={shown}", "--output=name").split()
    assert sorted(names) == ["mailroute.waystation.dev/all", "relaypool.waystation.dev/outbound"]


def test_object_without_status_is_shown_too(cluster: Cluster, api: Api, shown: str) -> None:
    """Before the operator has seen a pool, its row has blanks and no error."""
    api.create(resource("RelayPool", {}, "new"), shown, keep=True)
    rows = {row["NAME"]: row for row in table(cluster, shown, "rp")}
    assert (rows["new"]["DESIRED"], rows["new"]["READY"], rows["new"]["QUEUED"]) == ("1", "", "")


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("relaypool", ["Where mail comes in and waits", "spec", "-required-"]),
        (
            "relaypool.spec.listeners",
            ["Where mail comes in; names and ports are unique.", "port", "-required-"],
        ),
        ("relaypool.spec.listeners.tls.mode", ["ENUM: None Opportunistic Required Implicit", "STARTTLS"]),
        ("relaypool.spec.queue.size", ["It may grow, never shrink."]),
        ("relaypool.status.conditions", ["lastTransitionTime", "Why, and what to do, for people."]),
        ("mailroute.spec.backends", ["Where it goes, one kind each.", "Failover order"]),
        ("mailroute.spec.match.recipients", ["Envelope recipients; one must match."]),
    ],
)
def test_explain_reads_well(cluster: Cluster, field: str, says: list[str]) -> None:
    """kubectl explain has the documentation of every field."""
    text = " ".join(cluster.kubectl("explain", field).split())
    assert [part for part in says if part not in text] == []


def groups(schema: dict[str, Any], way: str) -> Iterator[str]:
    """Every field that has fields itself, as kubectl names it."""
    schema = schema.get("items", schema)
    if "properties" in schema:
        yield way
        for name, below in schema["properties"].items():
            yield from groups(below, f"{way}.{name}")


@pytest.mark.parametrize("kind", ["RelayPool", "MailRoute"])
def test_explain_leaves_no_field_unexplained(cluster: Cluster, kind: str) -> None:
    """Every field of spec and status, however deep, is described."""
    mute = [
        group
        for group in groups(schema(kind), kind.lower())
        if "<no description>" in cluster.kubectl("explain", group)
    ]
    assert mute == []
