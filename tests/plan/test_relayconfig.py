"""One pool with its routes: what makes a route wait, what leaves no document, what is only noticed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.plan.objects import pool, route, secret

from waystation_contract import codec
from waystation_contract.model import MX, MXPolicy, Route, SmartHost, Unavailable
from waystation_operator.api import units
from waystation_operator.api.objects import MailRoute, RelayPool
from waystation_operator.plan.relayconfig import Plan, plan_pool, unavailable
from waystation_relay.routing.table import Table

SMART = [{"smartHost": {"host": "smtp.example.net", "tls": "Required", "authSecretName": "up"}}]


def planned(given: RelayPool, *routes: MailRoute, **secrets: Any) -> Plan:
    return plan_pool(given, routes, {}, secrets.get("secrets", {}))


LACKING = "SecretNotFound: spec.backends[{}].smartHost.authSecretName"


def test_a_wrong_route_keeps_its_place() -> None:
    """One route's missing Secret neither stops the others' mail nor lets them have this one's."""
    plan = planned(pool(), route("good"), route("bad", backends=SMART))
    assert plan.document is not None
    assert {x.name: x.backends for x in plan.document.routes} == {
        "mail/good": (MX(),),
        "mail/bad": (Unavailable(reason=LACKING.format(0)),),
    }
    assert plan.files == {}
    assert [str(problem) for problem in plan.problems] == [
        (
            "MailRoute mail/bad: spec.backends[0].smartHost.authSecretName: up: is no Secret of namespace "
            "mail; create Secret mail/up with the keys username and password"
        )
    ]


def test_only_the_backend_without_its_login_is_not_ready() -> None:
    """The others take over, as when no connection to it can be had: order and shares stay as they are."""
    lacking = {"smartHost": SMART[0]["smartHost"], "weight": 3}
    backends = [lacking, {"smartHost": {"host": "b.example"}, "priority": 1}]
    plan = planned(pool(), route(backends=backends))
    assert plan.document is not None
    (found,) = plan.document.routes
    assert found.backends == (
        Unavailable(reason=LACKING.format(0), weight=3),
        SmartHost(host="b.example", priority=1),
    )
    assert len(plan.problems) == 1


PATTERNS = ["*", "ann@a.example", "*@a.example", "*@b.a.example", "*@*.a.example", "*@*.example"]
ADDRESSES = ["ann@a.example", "bob@a.example", "ann@b.a.example", "bob@c.b.a.example", "x@example"]
FLAWS: dict[str, dict[str, Any]] = {
    "none": {},
    "no Secret": {"backends": SMART},
    "no Secret for one backend": {"backends": [*SMART, {"mx": {}, "priority": 1}]},
    "contradicting retry": {"retry": {"first": "2h"}},
    "contradicting retry of a verdict": {"retry": {"first": "2h"}, "backends": [{"discard": {}}]},
}


@given(
    st.lists(
        st.tuples(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS), st.sampled_from(list(FLAWS))),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["", *ADDRESSES]),
    st.sampled_from(ADDRESSES),
)
def test_mail_of_a_broken_route_takes_no_other(
    given_routes: list[tuple[str, str, str]], sender: str, recipient: str
) -> None:
    """Whatever is wrong with which of them: the relay chooses the route that it would if all were right."""

    def chosen(*, mended: bool) -> Route | None:
        made = [
            route(
                f"r{n}",
                match={"recipients": [to], "senders": [from_]},
                **({} if mended else FLAWS[flaw]),
            )
            for n, (to, from_, flaw) in enumerate(given_routes)
        ]
        document = planned(pool(), *made).document
        assert document is not None
        return Table(document.routes).match("smtp", sender, recipient)

    meant, found = chosen(mended=True), chosen(mended=False)
    assert (found and found.name) == (meant and meant.name)
    if found is not None:
        flaw = given_routes[int(found.name.removeprefix("mail/r"))][2]
        assert unavailable(found) is (flaw not in ("none", "no Secret for one backend"))


def test_a_wrong_listener_leaves_no_document() -> None:
    """Without its certificate a pool cannot keep what it promises its clients, so nothing is planned."""
    plan = planned(pool(listeners__0=None) if False else _tls_pool(), route())
    assert plan.document is None
    assert "is no Secret of namespace mail" in str(plan.problems[0])


def _tls_pool() -> RelayPool:
    listener = {"name": "smtp", "port": 25, "tls": {"mode": "Required", "secretName": "tls"}}
    return pool(listeners=[listener])


def test_a_route_overrides_what_it_names() -> None:
    """What the route says of retries wins, the rest is the pool's."""
    plan = planned(
        pool(retry__first="30s", retry__max="2h", retry__warnAfter="0s"),
        route(retry={"first": "5s", "factor": 3}),
    )
    assert plan.document is not None
    retry = plan.document.routes[0].retry
    assert (retry.first_s, retry.factor, retry.max_s, retry.warn_after_s) == (5.0, 3.0, 7200.0, 0.0)
    assert plan.document.retry.first_s == 30.0


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        pytest.param(
            {"first": "2h"}, "spec.retry.first: 2h: is above max", id="first against the pool's max"
        ),
        pytest.param(
            {"expireAfter": "1h"},
            "spec.retry.warnAfter: 4h: is not before expireAfter",
            id="expireAfter against the pool's warnAfter",
        ),
    ],
)
def test_overrides_must_fit_the_pool(overrides: dict[str, str], field: str) -> None:
    """Figures that are right by themselves may still not go with what the pool has for the rest."""
    plan = planned(pool(), route(retry=overrides))
    assert plan.document is not None
    (found,) = plan.document.routes
    (broken,) = found.backends
    assert isinstance(broken, Unavailable)
    assert broken.reason.startswith("InvalidRetry: spec.retry.")
    assert found.retry == plan.document.retry
    (problem,) = plan.problems
    assert str(problem).startswith(
        f"MailRoute mail/all: {field}, as what the route leaves out is taken from RelayPool mail/outbound;"
    )


def test_tls_policy_is_that_of_mx_backends() -> None:
    """A route's TLS policy is about MX hosts; a smart host has its own."""
    backends = [{"mx": {}}, {"smartHost": {"host": "a.example"}, "priority": 1}]
    plan = planned(pool(), route(backends=backends, tls__policy="Required"))
    assert plan.document is not None
    mx, smart = plan.document.routes[0].backends
    assert (mx.tls, smart.tls) == (MXPolicy.REQUIRED, "Opportunistic")  # type: ignore[union-attr]


def test_ports() -> None:
    """A pod listens above 1024; elsewhere the caller says where."""
    given = pool(listeners=[{"name": "a", "port": 25}, {"name": "b", "port": 2600}])
    plan = planned(given)
    assert plan.document is not None
    assert [(x.service_port, x.port) for x in plan.document.listeners] == [(25, 2525), (2600, 2600)]
    plan = plan_pool(given, (), {}, {}, lambda port: port + 10_000)
    assert plan.document is not None
    assert [x.port for x in plan.document.listeners] == [10_025, 12_600]


@pytest.mark.parametrize(
    ("given", "routes", "notices"),
    [
        pytest.param(pool(), [route()], [], id="nothing"),
        pytest.param(
            pool(),
            [],
            ["RelayPool mail/outbound: no MailRoute names it, so it will accept no mail"],
            id="no route",
        ),
        pytest.param(
            pool(listeners=[{"name": "smtp", "port": 25}]),
            [route()],
            [("RelayPool mail/outbound: listener smtp: nobody may relay through it; name the senders' "
             "networks in clients.cidrs")],
            id="no clients",
        ),
        pytest.param(
            pool(),
            [route("a"), route("b"), route("c", match={"recipients": ["*@x.example"]})],
            ["MailRoute mail/b: MailRoute mail/a matches the same mail and comes first"],
            id="the same match twice",
        ),
        pytest.param(
            pool(),
            [
                route("a", match={"recipients": ["*@x.example", "*"]}),
                route("b", match={"recipients": ["*@x.example"]}),
            ],
            ["MailRoute mail/b: MailRoute mail/a matches the same mail and comes first"],
            id="one of two patterns again",
        ),
    ],
)  # fmt: skip
def test_notices(given: RelayPool, routes: list[MailRoute], notices: list[str]) -> None:
    """What is not wrong and may still not be meant."""
    plan = planned(given, *routes)
    assert list(map(str, plan.notices)) == notices
    assert plan.problems == ()


@pytest.mark.parametrize(
    ("tls", "noticed"), [("None", True), ("Opportunistic", True), ("Required", False), ("Implicit", False)]
)
def test_password_to_an_unproven_host_is_noticed(tls: str, noticed: bool) -> None:
    """Without a verified certificate anybody in between could take the password."""
    backend = {"smartHost": {"host": "a.example", "tls": tls, "authSecretName": "up"}}
    plan = planned(pool(), route(backends=[backend]), secrets=secret("up", username="a", password="b"))
    assert any("does not prove who it is" in str(notice) for notice in plan.notices) is noticed


def durations(least: int, most: int) -> st.SearchStrategy[str]:
    return st.integers(least, most).map(lambda n: units.duration(float(n)))


@given(
    port=st.integers(1, 65535),
    size=st.integers(2**24, 2**60).map(units.quantity),
    first=durations(1, 60),
    most=durations(60, 10**6),
    warn=durations(0, 1000),
    expire=durations(1001, 315_360_000),
    factor=st.floats(1, 100),
    jitter=st.integers(0, 100),
    limit=st.integers(1, 1_000_000),
    weight=st.integers(0, 1_000_000),
    code=st.integers(400, 599),
)  # fmt: skip
def test_any_valid_resources_give_a_document_that_relays_take(
    port: int, size: str, first: str, most: str, warn: str, expire: str, factor: float, jitter: int,
    limit: int, weight: int, code: int,
) -> None:  # fmt: skip
    """Nothing that the models let pass is refused by the relay."""
    retry = {
        "first": first,
        "factor": factor,
        "max": most,
        "jitterPercent": jitter,
        "expireAfter": expire,
        "warnAfter": warn,
    }
    limits = {"maxRecipients": limit, "maxSessions": limit, "maxSessionsPerClient": limit}
    listener = {"name": "smtp", "port": port, "clients": {"cidrs": ["10.0.0.0/8"]}, "limits": limits}
    given = pool(listeners=[listener], queue__size=size, retry=retry)
    mx = {"mx": {}, "weight": weight, "priority": 65535}
    refusal = {"reject": {"code": code, "enhanced": f"{code // 100}.7.1"}}
    plan = planned(given, route("a", backends=[mx]), route("b", backends=[refusal]))
    assert plan.problems == ()
    assert plan.document is not None
    assert codec.decode(codec.encode(plan.document))[0] == plan.document
