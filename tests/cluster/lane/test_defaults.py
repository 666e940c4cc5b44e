"""What is left out is filled in by the API server, as the models do; what is given stays."""

import copy
from typing import Any

import pytest
from tests.api import apiserver
from tests.api.specs import POOL, ROUTE, spec_schema
from tests.cluster.client import Cluster
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource

SPECS = {"RelayPool": POOL, "MailRoute": ROUTE}


def defaults(
    schema: dict[str, Any], given: Any, at: tuple[Any, ...] = ()
) -> list[tuple[tuple[Any, ...], Any]]:
    """(way, default) of every field that ``given`` leaves out, outermost first, and of those in its lists."""
    found = []
    if isinstance(given, dict):
        for name, below in schema.get("properties", {}).items():
            if name in given:
                found += defaults(below, given[name], (*at, name))
            elif "default" in below:
                found.append(((*at, name), below["default"]))
    elif isinstance(given, list):
        for n, item in enumerate(given):
            found += defaults(schema["items"], item, (*at, n))
    return found


CASES = [
    pytest.param(kind, way, default, id=f"{kind} {'.'.join(map(str, way))}")
    for kind, given in SPECS.items()
    for way, default in defaults(spec_schema(kind), given)
]


def at(body: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        body = body[step]
    return body


@pytest.fixture(scope="module")
def stored(api: Api, namespace: str) -> dict[str, Any]:
    """The smallest objects as the API server stores them."""
    return {kind: api.create(resource(kind), namespace).body["spec"] for kind in SPECS}


@pytest.mark.parametrize(("kind", "way", "default"), CASES)
def test_default_is_filled_in(stored: dict[str, Any], kind: str, way: tuple[Any, ...], default: Any) -> None:
    """A field nobody wrote has its documented value in the stored object."""
    assert at(stored[kind], way) == default


@pytest.mark.parametrize("kind", SPECS)
def test_nothing_else_is_added(stored: dict[str, Any], kind: str) -> None:
    """The stored object is what was written and the defaults: `waystation local` sees the same."""
    expected = copy.deepcopy(SPECS[kind])
    apiserver.fill_in(expected, spec_schema(kind))
    assert stored[kind] == expected


def test_what_everybody_counts_on(stored: dict[str, Any]) -> None:
    """One replica, 10Gi of queue, five days of retries, 25 MiB a message, routes of the same namespace."""
    pool = stored["RelayPool"]
    assert pool["replicas"] == 1
    assert pool["queue"] == {"size": "10Gi", "storageClassName": "", "fullAtPercent": 90}
    assert pool["retry"]["expireAfter"] == "5d"
    listener = pool["listeners"][0]
    assert listener["limits"]["maxMessageBytes"] == 26_214_400
    assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert listener["tls"]["mode"] == listener["auth"]["mode"] == "None"
    assert stored["MailRoute"]["match"] == {"senders": ["*"], "recipients": ["*"]}


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("RelayPool", "replicas", 0),
        ("RelayPool", "queue.fullAtPercent", 50),
        ("RelayPool", "retry.factor", 1.5),
        ("RelayPool", "scaleDown.claims", "Retain"),
        ("RelayPool", "monitoring.podMonitor", True),
        ("RelayPool", "listeners[0].limits.maxSessions", 1),
        ("MailRoute", "match.senders", ["*@shop.example"]),
        ("MailRoute", "backends[0].weight", 0),
        ("MailRoute", "retry.warnAfter", "0s"),
    ],
)
def test_given_value_stays(api: Api, namespace: str, kind: str, field: str, value: Any) -> None:
    """A default never overrides what somebody wrote; the fields beside it still get theirs."""
    given = resource(kind, {field: value})
    answer = api.create(given, namespace)
    expected = copy.deepcopy(given["spec"])
    apiserver.fill_in(expected, spec_schema(kind))
    assert answer.body["spec"] == expected


def test_default_of_a_nested_group_reaches_every_entry(cluster: Cluster, api: Api, namespace: str) -> None:
    """Each entry of a list gets its defaults: backends, tolerations, parents."""
    route = resource("MailRoute", {"backends": [{"smartHost": {"host": "a"}}, {"lmtp": {"host": "b"}}]})
    first, second = api.create(route, namespace).body["spec"]["backends"]
    assert first["smartHost"] == {"host": "a", "port": 25, "tls": "Opportunistic", "authSecretName": ""}
    assert second["lmtp"] == {"host": "b", "port": 24}
    assert [first["priority"], second["priority"], first["weight"], second["weight"]] == [0, 0, 1, 1]
