"""What is probed, when next, and how often logins are tried."""

import pytest
from tests.plan.objects import pool, route, secret

from waystation_operator.plan import diagnosis, probing
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.findings import Target
from waystation_operator.plan.probing import Credential, Probe

HOST = {"smartHost": {"host": "smtp.example.net", "port": 587, "tls": "Required", "authSecretName": "up"}}
MAILBOXES = {"lmtp": {"host": "dovecot", "port": 24}}
NOW = 1_800_000_000.0


def probe(host: str = "smtp.example.net", kind: str = "smartHost", user: str = "") -> Probe:
    credential = Credential(user, "secret") if user else None
    target = Target(kind, host, 25)  # type: ignore[arg-type]
    return Probe(target, "relay.test", "mail", (), credential)


def test_what_routes_depend_on() -> None:
    """Smart hosts with their Secret, mailbox servers, and mail hosts of domains that are named outright."""
    routes = [
        route("up", backends=[{**HOST, "priority": 0}, {**MAILBOXES, "priority": 1}]),
        route(
            "direct",
            backends=[{"mx": {}}],
            match__recipients=["*@Shop.example", "ann@shop.example", "*@*.wild.example", "*"],
        ),
    ]
    assert probing.targets(pool(), routes, {}) == (
        Target("mx", "shop.example", 25, route="mail/direct"),
        Target("smartHost", "smtp.example.net", 587, "Required", "mail/up", "mail/up"),
        Target("lmtp", "dovecot", 24, route="mail/up"),
    )


def test_a_verdict_depends_on_nobody() -> None:
    """Reject, discard and quarantine need no server."""
    routes = [route(kind, backends=[{kind: {}}]) for kind in ("reject", "discard", "quarantine")]
    assert probing.targets(pool(), routes, {}) == ()


def test_a_route_that_no_pool_admits_makes_nobody_connect() -> None:
    """Whoever may write a MailRoute anywhere must not thereby make the operator connect where they like."""
    stranger = route("stranger/up", backends=[HOST], parentRefs=[{"name": "outbound", "namespace": "mail"}])
    assert probing.targets(pool(), [stranger], {}) == ()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "localhost", "smtp.localhost", "169.254.169.254", "0.0.0.0"]
)
def test_what_is_another_machine_for_everybody_is_not_probed(host: str) -> None:
    """A relay's loopback is not the operator's."""
    backends = [{"smartHost": {"host": host}}]
    assert probing.targets(pool(), [route(backends=backends)], {}) == ()


def test_the_same_server_of_many_routes_is_one_probe() -> None:
    """Ten routes, one smart host: it is asked once, and each route is told."""
    routes = [route(f"r{n}", backends=[HOST]) for n in range(10)]
    made = probing.probes(pool(), probing.targets(pool(), routes, {}), {})
    ((only, targets),) = made.items()
    assert only.target.route == ""
    assert {target.route for target in targets} == {f"mail/r{n}" for n in range(10)}


def test_another_login_is_another_probe() -> None:
    """The same server with another Secret, or with the same one and another password in it."""
    targets = probing.targets(
        pool(),
        [
            route("a", backends=[HOST]),
            route("b", backends=[{"smartHost": {**HOST["smartHost"], "authSecretName": "other"}}]),
        ],
        {},
    )
    assert len(probing.probes(pool(), targets, {})) == 2
    before = probing.probes(pool(), targets[:1], secret("mail/up", username="ann", password="one"))
    after = probing.probes(pool(), targets[:1], secret("mail/up", username="ann", password="two"))
    assert not before.keys() & after.keys()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"username": "ann", "password": "secret\n"}, Credential("ann", "secret")),
        ({"username": "ann"}, None),
        ({"username": "ann", "password": "\n"}, None),
    ],
    ids=["a line end behind it", "no password", "an empty one"],
)
def test_a_secret_is_read_as_the_relay_reads_it(data: dict[str, str], expected: Credential | None) -> None:
    """Without the line end that editors leave behind it."""
    (made,) = secret("mail/up", **data).values()
    assert Credential.of(made) == expected
    assert Credential.of(None) is None


def test_a_password_is_in_no_representation() -> None:
    """What is logged of a probe names the user at most."""
    assert "secret" not in f"{probe(user='ann')!r} {probe(user='ann')}"


@pytest.mark.parametrize(
    ("case", "least_s", "most_s"),
    [
        (Case.ANSWERS, 300, 330),
        (Case.CERTIFICATE_SOON, 300, 330),
        (Case.REFUSED, 50, 60),
        (Case.AUTH_REFUSED, 300, 330),
        (Case.AUTH_LATER, 300, 330),
    ],
)
def test_how_long_a_finding_is_good_for(case: Case, least_s: float, most_s: float) -> None:
    """Five minutes when all is well, a minute at most when not, but for logins: servers lock accounts."""
    finding = diagnosis.finding(case, Target("smartHost", "smtp.test", 25), NOW)
    assert [probing.every_s(finding, roll) for roll in (0.0, 1.0)] == [least_s, most_s]


def test_what_is_due_is_started_in_order() -> None:
    """Servers before mail hosts, the longest overdue first; nothing that runs already or is not due."""
    a, b, c, d, e = probe("a"), probe("b"), probe("c", "mx"), probe("d"), probe("e")
    due = {a: 90.0, b: 80.0, c: 10.0, d: 100.1, e: 1.0}
    assert probing.startable(due, {e}, [], 100.0) == (b, a, c)


def test_at_most_eight_at_once() -> None:
    """However many are due."""
    due = {probe(f"h{n}"): 0.0 for n in range(20)}
    running = set(list(due)[:3])
    assert len(probing.startable(due, running, [], 1.0)) == 5


def test_at_most_so_many_a_minute() -> None:
    """Thousands of domains do not become a flood of look-ups; what began a minute ago no longer counts."""
    due = {probe(f"h{n}"): 0.0 for n in range(20)}
    started = [100.0] * (probing.MOST_A_MINUTE - 2)
    assert len(probing.startable(due, (), started, 150.0)) == 2
    assert len(probing.startable(due, (), started, 160.0)) == 8


def test_one_at_a_time_for_an_account() -> None:
    """Two probes that log in as the same user at the same host never overlap."""
    first, second, other = (
        probe(user="ann"),
        Probe(probe().target, "other.test", "mail", (), Credential("ann", "x")),
        probe(user="bob"),
    )
    due = {first: 0.0, second: 1.0, other: 2.0}
    assert probing.startable(due, (), [], 5.0) == (first, other)
    assert probing.startable(due, {second}, [], 5.0) == (other,)


@pytest.mark.parametrize(
    ("same_at", "any_at", "waits_s"),
    [
        (None, None, 0),
        (None, 950.0, 10),
        (None, 900.0, 0),
        (700.0, 700.0, 0),
        (701.0, 701.0, 1),
        (690.0, 990.0, 50),
    ],
)
def test_how_long_a_login_waits(same_at: float | None, any_at: float | None, waits_s: float) -> None:
    """The same password after five minutes, another of the same account after one."""
    assert probing.login_waits_s(same_at, any_at, 1000.0) == waits_s
