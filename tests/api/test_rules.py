"""Each rule is said once and enforced twice: by the API server's CEL and by our own models. They agree.

Every case is a pair of specs, one that keeps the rule and one that breaks it;
a rule without a case fails the test.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api import apiserver
from tests.api.specs import ABSENT, parsed, spec, spec_schema

from waystation_operator.api import shape as shapes
from waystation_operator.api.group import Group, Rule
from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.api.pooloptions import Queue
from waystation_operator.api.relaypool import RelayPoolSpec
from waystation_operator.api.shape import Kind

LISTENER = {"name": "smtp", "port": 25}
OTHER = {"name": "other", "port": 587}
EXPRESSION = "listeners[0].allowedRoutes.namespaces.selector.matchExpressions"
FROM = "listeners[0].allowedRoutes.namespaces.from"
SELECTOR = "listeners[0].allowedRoutes.namespaces.selector"

Case = tuple[str, dict[str, Any], dict[str, Any]]

# (where the rule stands, what keeps it, what breaks it)
POOL_CASES: list[Case] = [
    ("spec: a listener's name", {"listeners[1]": OTHER}, {"listeners[1]": OTHER | {"name": "smtp"}}),
    ("spec: a listener's port", {"listeners[1]": OTHER}, {"listeners[1]": OTHER | {"port": 25}}),
    (
        "spec: a listener's port",
        {"listeners[1]": OTHER | {"port": 2526}},
        {"listeners[1]": OTHER | {"port": 2525}},
    ),
    (
        "spec: a listener's port",
        {"listeners[0].port": 1023},
        {"listeners[0].port": 1023, "listeners[1]": OTHER | {"port": 3523}},
    ),
    (
        "spec.listeners[]: clients.cidrs",
        {"listeners[0].clients.cidrs": ["10.0.0.0/8", "fd00::/8"]},
        {"listeners[0].clients.cidrs": ["10.0.0.0/8", "0.0.0.0/0"]},
    ),
    (
        "spec.listeners[]: clients.cidrs",
        {"listeners[0].clients.cidrs": []},
        {"listeners[0].clients.cidrs": ["::/0"]},
    ),
    (
        "spec.listeners[].tls: secretName",
        {"listeners[0].tls.mode": "None"},
        {"listeners[0].tls.mode": "Opportunistic"},
    ),
    (
        "spec.listeners[].tls: secretName",
        {"listeners[0].tls": {"mode": "Implicit", "secretName": "relay-tls"}},
        {"listeners[0].tls": {"mode": "Implicit"}},
    ),
    (
        "spec.listeners[].auth: secretName",
        {"listeners[0].auth.mode": "None"},
        {"listeners[0].auth.mode": "Required"},
    ),
    (
        "spec.listeners[].auth: mode",
        {"listeners[0].auth": {"mode": "None", "secretName": "users"}},
        {"listeners[0].auth": {"mode": "Optional", "secretName": "users"}},
    ),
    (
        "spec.listeners[].proxyProtocol: trustedCIDRs",
        {"listeners[0].proxyProtocol.trustedCIDRs": []},
        {"listeners[0].proxyProtocol.trustedCIDRs": ["192.0.2.0/24"]},
    ),
    (
        "spec.listeners[].allowedRoutes.namespaces: selector",
        {FROM: "Selector", SELECTOR: {}},
        {FROM: "Selector"},
    ),
    ("spec.listeners[].allowedRoutes.namespaces: selector", {FROM: "All"}, {FROM: "All", SELECTOR: {}}),
    *(
        (
            "spec.listeners[].allowedRoutes.namespaces.selector.matchExpressions[]: values",
            {
                FROM: "Selector",
                EXPRESSION: [{"key": "mail", "operator": operator, "values": ["on"] if needed else []}],
            },
            {
                FROM: "Selector",
                EXPRESSION: [{"key": "mail", "operator": operator, "values": [] if needed else ["on"]}],
            },
        )
        for operator, needed in (("In", True), ("NotIn", True), ("Exists", False), ("DoesNotExist", False))
    ),
    ("spec.queue: size", {"queue.size": "16Mi"}, {"queue.size": "15Mi"}),
    ("spec.queue: size", {"queue.size": "16.8M"}, {"queue.size": "16M"}),
    ("spec.retry: first", {"retry": {"first": "60m", "max": "1h"}}, {"retry": {"first": "61m", "max": "1h"}}),
    (
        "spec.retry: first",
        {"retry": {"first": "1h1m1s", "max": "3661s"}},
        {"retry": {"first": "1d", "max": "23h59m"}},
    ),
    ("spec.retry: first", {"retry": {"first": "1h"}}, {"retry": {"first": "2h"}}),
    ("spec.retry: warnAfter", {"retry": {"warnAfter": "0s"}}, {"retry": {"warnAfter": "5d"}}),
    ("spec.retry: warnAfter", {"retry": {"expireAfter": "5h"}}, {"retry": {"expireAfter": "4h"}}),
    ("spec.retry: each duration", {"retry": {"first": "1s"}}, {"retry": {"first": "0s"}}),
    ("spec.retry: each duration", {"retry": {"max": "1m"}}, {"retry": {"first": "0m", "max": "0m"}}),
    (
        "spec.autoscaling: minReplicas",
        {"autoscaling": {"minReplicas": 10}},
        {"autoscaling": {"minReplicas": 11}},
    ),
]
ROUTE_CASES: list[Case] = [
    ("spec: backends:", {"backends": [{"reject": {}}]}, {"backends": [{"reject": {}}, {"mx": {}}]}),
    (
        "spec: backends:",
        {"backends": [{"mx": {}}, {"lmtp": {"host": "a"}}]},
        {"backends": [{"mx": {}}, {"discard": {}}]},
    ),
    (
        "spec: backends:",
        {"backends": [{"quarantine": {}}]},
        {"backends": [{"quarantine": {}}, {"discard": {}}]},
    ),
    (
        "spec: parentRefs",
        {
            "parentRefs": [
                {"name": "a"},
                {"name": "a", "sectionName": "smtp"},
                {"name": "a", "namespace": "b"},
            ]
        },
        {
            "parentRefs": [
                {"name": "a", "sectionName": "smtp"},
                {"name": "b"},
                {"name": "a", "sectionName": "smtp"},
            ]
        },
    ),
    *(
        (
            "spec.backends[]: the backend",
            {"backends": [{kind: value}]},
            {"backends": [{kind: value, other: {}}]},
        )
        for kind, value, other in (
            ("mx", {}, "discard"),
            ("smartHost", {"host": "a"}, "mx"),
            ("lmtp", {"host": "a"}, "mx"),
            ("reject", {}, "mx"),
            ("discard", {}, "mx"),
            ("quarantine", {}, "mx"),
        )
    ),
    ("spec.backends[]: the backend", {"backends[0].priority": 5}, {"backends": [{"priority": 5}]}),
    *(
        (
            "spec.backends[].reject: enhanced",
            {"backends": [{"reject": {"code": code, "enhanced": good}}]},
            {"backends": [{"reject": {"code": code, "enhanced": bad}}]},
        )
        for code, good, bad in (
            (450, "4.7.1", "5.7.1"),
            (499, "4.0.0", "2.0.0"),
            (500, "5.7.1", "4.7.1"),
            (599, "5.1.1", "2.1.1"),
        )
    ),
    ("spec.retry: first", {"retry": {"first": "1m", "max": "1m"}}, {"retry": {"first": "2m", "max": "1m"}}),
    (
        "spec.retry: warnAfter",
        {"retry": {"expireAfter": "1h"}},
        {"retry": {"expireAfter": "1h", "warnAfter": "60m"}},
    ),
    ("spec.retry: each duration", {"retry": {"max": "1s"}}, {"retry": {"max": "0s"}}),
    ("spec.tls: policy", {"tls.policy": "Required"}, {"tls.policy": "DANE"}),
    ("spec.tls: policy", {"tls.policy": "Opportunistic"}, {"tls.policy": "MTA-STS"}),
]
CASES = [("RelayPool", *case) for case in POOL_CASES] + [("MailRoute", *case) for case in ROUTE_CASES]


def rules(group: type[Group], at: str = "spec") -> Iterator[tuple[str, Rule]]:
    """Every rule of a group and of the groups in it, by where it stands."""
    for rule in group.RULES:
        yield f"{at}: {rule.subject}", rule
    for name, _, shape in shapes.fields(group):
        inner = shape.item if shape.kind is Kind.LIST else shape
        if inner is not None and inner.group is not None:
            yield from rules(inner.group, f"{at}.{name}{'[]' if shape.kind is Kind.LIST else ''}")


RULES = {"RelayPool": dict(rules(RelayPoolSpec)), "MailRoute": dict(rules(MailRouteSpec))}


def test_every_rule_has_a_case() -> None:
    """A rule that nothing breaks here may hold in one of the two places only."""
    tried = {(kind, where) for kind, where, _, _ in CASES}
    assert tried == {(kind, where) for kind, found in RULES.items() for where in found}


def test_every_rule_is_in_the_definition() -> None:
    """The definitions carry exactly our rules, beside those of the scalar types and of the size's growth."""
    for kind, found in RULES.items():
        carried = [rule for _, rule, _ in apiserver.rules(spec_schema(kind))]
        scalar = [r for r in carried if "isCIDR" in r or "oldSelf" in r or "self.matches" in r]
        assert sorted(set(carried) - set(scalar)) == sorted({rule.cel for rule in found.values()})


def cases() -> list[Any]:
    return [pytest.param(*case, id=f"{case[0]} {case[1]} {n}") for n, case in enumerate(CASES)]


@pytest.mark.parametrize(("kind", "where", "good", "bad"), cases())
def test_server_and_models_agree(kind: str, where: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    """What keeps the rule passes both; what breaks it is refused by both, in the same words."""
    rule = RULES[kind][where]
    assert apiserver.admit(spec(kind, good), spec_schema(kind))[1] == []
    assert parsed(kind, spec(kind, good))[1] == []
    stored, errors = apiserver.admit(spec(kind, bad), spec_schema(kind))
    assert errors != []
    refusals = list(apiserver.rule_errors(stored, spec_schema(kind), "spec"))
    assert any(refusal.endswith(rule.message) for refusal in refusals), refusals
    problems = parsed(kind, spec(kind, bad))[1]
    assert any((p.problem, p.remedy) == (rule.problem, rule.remedy) for p in problems), problems


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        pytest.param("10Gi", "10Gi", True, id="the same"),
        pytest.param("10Gi", "11Gi", True, id="larger"),
        pytest.param("1024Mi", "1Gi", True, id="the same in another unit"),
        pytest.param("10Gi", "9.9Gi", False, id="smaller"),
        pytest.param("1Gi", "1G", False, id="smaller by its unit"),
    ],
)
def test_queue_never_shrinks(old: str, new: str, allowed: bool) -> None:
    """A volume cannot shrink, so the API server refuses a smaller size on update."""
    expression, _ = Queue.SIZE_TRANSITION
    assert apiserver.evaluate(expression, new, old) is allowed


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        pytest.param("RelayPool", {"hostname": ABSENT}, id="required field"),
        pytest.param("RelayPool", {"listeners": []}, id="empty list"),
        pytest.param("RelayPool", {"listeners[0].port": 65536}, id="range"),
        pytest.param("RelayPool", {"listeners[0].port": "25"}, id="type"),
        pytest.param("RelayPool", {"replicas": True}, id="boolean for a number"),
        pytest.param("RelayPool", {"listeners[0].tls.mode": "required"}, id="choice"),
        pytest.param("RelayPool", {"colour": "blue"}, id="unknown field"),
        pytest.param("RelayPool", {"queue.size": "10GB"}, id="quantity"),
        pytest.param("RelayPool", {"retry.first": "1 minute"}, id="duration"),
        pytest.param(
            "RelayPool", {"listeners[0].clients.cidrs": ["10.1.2.3/8"]}, id="network with host bits"
        ),
        pytest.param(
            "RelayPool", {"listeners[0].clients.cidrs": ["::ffff:10.0.0.0/104"]}, id="mapped network"
        ),
        pytest.param("RelayPool", {"template.tolerations": [{"key": 5}]}, id="toleration"),
        pytest.param("RelayPool", {"hostname": "192.0.2.1"}, id="address for a host name"),
        pytest.param("RelayPool", {"template.resources.limits": {"memory": "lots"}}, id="amount of memory"),
        pytest.param("MailRoute", {"backends": [{"lmtp": {"host": "a:24"}}]}, id="host with its port"),
        pytest.param("MailRoute", {"backends[0].mx": {"port": 25}}, id="field of a group without fields"),
        pytest.param("MailRoute", {"match.recipients": ["sales-*@example.com"]}, id="address pattern"),
        pytest.param("MailRoute", {"backends": [{"reject": {"enhanced": "6.0.0"}}]}, id="enhanced code"),
        pytest.param("MailRoute", {"parentRefs[0].name": "Outbound"}, id="object name"),
    ],
)
def test_shape_is_refused_by_both(kind: str, changes: dict[str, Any]) -> None:
    """Types, ranges, choices and forms of text are the API server's to refuse too."""
    assert apiserver.admit(spec(kind, changes), spec_schema(kind))[1] != []
    assert parsed(kind, spec(kind, changes))[1] != []
