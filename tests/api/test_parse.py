"""Bodies → objects: what is taken, what it means, and that everything wrong is said at once.

The mistakes one by one are in tests/bad_configs/.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.specs import POOL, ROUTE, parsed, spec

from waystation_contract.model import ListenerTLS, UpstreamTLS
from waystation_operator.api.mailroute import TLSPolicy
from waystation_operator.api.objects import API_VERSION, MailRoute, Namespace, RelayPool, Secret
from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Identity, dotted, steps


def body(kind: str = "RelayPool", /, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "outbound", "namespace": "mail"} | metadata,
        "spec": POOL if kind == "RelayPool" else ROUTE,
    }


def taken(whole: dict[str, Any]) -> Any:
    found, problems = parse(whole)
    assert problems == []
    return found


def test_defaults_of_a_pool() -> None:
    """A pool needs a host name and a listener; the rest has the documented defaults."""
    found = taken(body())
    assert isinstance(found, RelayPool)
    assert found.identity == Identity("RelayPool", "mail", "outbound")
    spec_ = found.spec
    assert (spec_.replicas, spec_.postmaster, spec_.queue.size_bytes) == (1, "", 10 * 2**30)
    assert (spec_.retry.first_s, spec_.retry.expire_after_s) == (60.0, 432_000.0)
    assert spec_.listeners[0].tls.mode is ListenerTLS.NONE
    assert spec_.listeners[0].limits.max_recipients == 1000


def test_defaults_of_a_route() -> None:
    """A route needs a parent and a backend; it takes all mail of its listeners."""
    found = taken(body("MailRoute"))
    assert isinstance(found, MailRoute)
    assert (found.spec.match.senders, found.spec.match.recipients) == (("*",), ("*",))
    assert found.spec.tls.policy is TLSPolicy.OPPORTUNISTIC
    assert found.spec.backends[0].kinds == ("mx",)
    assert (found.spec.backends[0].priority, found.spec.backends[0].weight) == (0, 1)


def test_everything_written_out() -> None:
    """Every field of a listener and a smart host, in its wire name, reaches the spec."""
    changes = {
        "listeners[0].tls": {"mode": "Required", "secretName": "relay-tls"},
        "listeners[0].limits": {"maxMessageBytes": 2048, "maxRecipients": 2, "maxSessions": 3},
        "listeners[0].allowedRoutes.namespaces": {
            "from": "Selector",
            "selector": {"matchLabels": {"a": "b"}},
        },
        "retry": {
            "first": "1s",
            "factor": 3,
            "max": "1m",
            "jitterPercent": 0,
            "expireAfter": "1h",
            "warnAfter": "0s",
        },
        "delivery": {"bindAddress": "192.0.2.1", "dnsServers": ["192.0.2.53"]},
    }
    pool = taken(body() | {"spec": spec("RelayPool", changes)}).spec
    assert pool.listeners[0].tls.secret_name == "relay-tls"
    assert pool.listeners[0].limits.max_sessions == 3
    assert pool.listeners[0].allowed_routes.namespaces.selector.match_labels == {"a": "b"}
    assert (pool.retry.factor, pool.retry.warn_after_s) == (3.0, 0.0)
    assert pool.delivery.dns_servers == ("192.0.2.53",)
    host = {"host": "smtp.example.net", "port": 465, "tls": "Implicit", "authSecretName": "up"}
    backends = {"backends": [{"smartHost": host, "priority": 7, "weight": 0}]}
    found = taken(body("MailRoute") | {"spec": spec("MailRoute", backends)}).spec.backends[0]
    assert (found.smart_host.tls, found.smart_host.auth_secret_name) == (UpstreamTLS.IMPLICIT, "up")
    assert (found.priority, found.weight) == (7, 0)


def test_what_kubernetes_adds_is_passed_over() -> None:
    """An object from the API server has more metadata, a status, nulls: nothing of it is in the way."""
    whole = body(
        uid="x", resourceVersion="1", managedFields=[{"manager": "kubectl"}], generation=3,
        annotations={"a": "b"},
        creationTimestamp="2030-01-01T00:00:00Z", deletionTimestamp=None, labels={"team": "mail"},
    )  # fmt: skip
    found = taken(whole | {"status": {"replicas": 3, "anything": [1]}})
    assert found.created == 1_893_456_000.0


def test_age_unknown() -> None:
    """Files have no creation time: such objects are as old as can be, so that names decide."""
    assert taken(body()).created == 0.0
    assert taken(body(creationTimestamp=None)).created == 0.0


def test_namespace_defaults() -> None:
    """As with kubectl, no namespace is the namespace `default`."""
    whole = body()
    del whole["metadata"]["namespace"]
    assert taken(whole).identity.key == "default/outbound"


def test_secrets() -> None:
    """data is base64, stringData is not, and stringData wins; other fields of a Secret are of no interest."""
    found = taken(
        {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth", "immutable": True,
            "metadata": {"name": "up", "namespace": "mail"},
            "data": {"username": "c2hvcA==", "password": "b25l"}, "stringData": {"password": "two"},
        }
    )  # fmt: skip
    assert isinstance(found, Secret)
    assert found.data == {"username": b"shop", "password": b"two"}
    assert "two" not in repr(found)


def test_namespaces() -> None:
    """Of a Namespace the labels count; it has no namespace itself."""
    found = taken(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "shop", "labels": {"mail": "on"}},
            "spec": {},
        }
    )  # fmt: skip
    assert isinstance(found, Namespace)
    assert (found.identity.key, found.labels) == ("shop", {"mail": "on"})


def test_all_problems_at_once() -> None:
    """Three mistakes in one object are three problems, and nothing that follows from them is a fourth."""
    changes = {"hostnme": "x", "listeners[0].port": 0, "queue": {"size": "1"}}
    found, problems = parsed("RelayPool", spec("RelayPool", changes))
    assert found is None
    assert sorted(dotted(problem.path) for problem in problems) == [
        "spec.hostnme", "spec.listeners[0].port", "spec.queue.size",
    ]  # fmt: skip


def test_entries_that_are_wrong_are_not_also_missing() -> None:
    """A list whose only entry has a mistake is not called empty besides."""
    _, problems = parsed("MailRoute", spec("MailRoute", {"backends": [{"mx": {}, "priority": -1}]}))
    assert [dotted(problem.path) for problem in problems] == ["spec.backends[0].priority"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("hostName", "hostname"),
        ("listener", "listeners"),
        ("postmastr", "postmaster"),
        ("scale_down", "scaleDown"),
        ("Template", "template"),
    ],
)
def test_did_you_mean(written: str, meant: str) -> None:
    """A field that is nearly right is answered with the right one."""
    _, problems = parsed("RelayPool", spec("RelayPool", {written: {}}))
    assert [problem.remedy for problem in problems] == [f"did you mean {meant}?"]


def test_long_and_odd_values_are_cut_and_escaped() -> None:
    """A value is shown so that it fits a line and a terminal."""
    _, (problem,) = parsed("RelayPool", spec("RelayPool", {"hostname": "a" * 100}))
    assert problem.value == "a" * 59 + "…"
    _, (problem,) = parsed("RelayPool", spec("RelayPool", {"hostname": "a\x1b[31m"}))
    assert problem.value == r"'a\x1b[31m'"


@pytest.mark.parametrize(
    "whole", [None, 5, "x", [], [{}], True, {}, {"apiVersion": 5, "kind": []}, {"kind": {}}]
)
def test_no_object_at_all(whole: Any) -> None:
    """Whatever a document is, there is an answer."""
    found, problems = parse(whole)
    assert found is None
    assert len(problems) == 1


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "hostname", "replicas", "listeners", "listeners[0]", "listeners[0].tls", "listeners[0].clients.cidrs",
    "queue",
    "retry", "retry.first", "service.annotations", "template", "template.resources.limits",
]  # fmt: skip


@given(st.sampled_from(FIELDS), json_values)
def test_any_value_anywhere_is_taken_or_explained(field: str, value: Any) -> None:
    """No value in any place raises anything, and every refusal says what to do."""
    found, problems = parsed("RelayPool", spec("RelayPool", {field: value}))
    assert (found is None) == bool(problems)
    for problem in problems:
        assert problem.problem
        assert problem.remedy
        assert str(problem).isprintable()
    json.dumps([str(problem) for problem in problems])


@given(st.lists(st.integers(0, 99) | st.from_regex(r"[A-Za-z]+", fullmatch=True), max_size=5))
def test_paths_survive_writing(path: list[str | int]) -> None:
    """A path is shown as `spec.listeners[0].port` and read back as it was."""
    whole = ("spec", *path)
    assert steps(dotted(whole)) == whole
