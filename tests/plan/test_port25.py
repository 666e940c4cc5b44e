"""What relays met at port 25: a firewall told from servers that are down."""

import pytest
from tests.plan.objects import pool, route

from waystation_operator.plan import port25
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.report import Config, Deferral, Queue, RelayReport, RouteReport

NOW = 1_800_000_000.0
ROUTES = [
    *(route(name, backends=[{"mx": {}}]) for name in "abc"),
    route("host", backends=[{"smartHost": {"host": "smtp.test"}}]),
]


def report(**routes: RouteReport) -> RelayReport:
    named = {f"mail/{name}": found for name, found in routes.items()}
    return RelayReport(pod="outbound-0", config=Config(), ready=True, queue=Queue(messages=0), routes=named)


def stuck(host: str, trouble: str = ":25: no answer within 30 s") -> RouteReport:
    """As GET /status tells it."""
    text = f"451 4.4.1 cannot connect to {host} [192.0.2.1]{trouble}"
    destination = f"{host}[192.0.2.1]:25"
    return RouteReport(last_failure=NOW, waiting=3, top_deferral=Deferral("connect", text, 3, destination))


def verdict(*reports: RelayReport, before: port25.Noted | None = None, now: float = NOW) -> Finding | None:
    return port25.verdict(pool(), port25.noted(before or {}, ROUTES, reports, now), now)


def test_three_domains_are_silent() -> None:
    """No MX route delivered, and nobody answers at three domains: it is not they who are down."""
    finding = verdict(report(a=stuck("mx.a.test"), b=stuck("mx.b.test")), report(a=stuck("mx.c.test")))
    assert finding is not None
    assert (finding.ok, finding.reason, finding.target.route) == (False, "PortBlocked", "mail/outbound")
    assert "servers of a.test, b.test, c.test do not answer" in finding.message
    assert "many clouds block port 25" in finding.message


REFUSED = stuck("mx.c.test", ":25: Connection refused")
ELSEWHERE = stuck("mx.c.test", ":587: no answer within 30 s")
NOT_BLOCKED = {
    "two domains": [report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=stuck("mx2.b.test"))],
    "one went out": [
        report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=RouteReport(last_success=NOW)),
        report(a=stuck("mx.c.test")),
    ],
    "one is a smart host": [report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), host=stuck("mx.c.test"))],
    "one refuses": [report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=REFUSED)],
    "another port": [report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=ELSEWHERE)],
    "nothing waits": [report(a=RouteReport(), b=RouteReport(), c=RouteReport())],
    "no report": [],
}


@pytest.mark.parametrize("case", NOT_BLOCKED)
def test_not_blocked(case: str) -> None:
    """What may be the trouble of some servers is not taken for a firewall."""
    assert verdict(*NOT_BLOCKED[case]) is None


def test_a_smart_host_that_works_proves_nothing() -> None:
    """Mail that leaves at 587 does not tell whether 25 is open."""
    silent = report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=stuck("mx.c.test"))
    assert verdict(silent, report(host=RouteReport(last_success=NOW))) is not None


def told(*hosts: str) -> port25.Noted:
    """What is noted of one route of one pod, which tells of one destination at a time."""
    seen: port25.Noted = {}
    for n, host in enumerate(hosts):
        seen = port25.noted(seen, ROUTES, [report(a=stuck(host))], NOW + 60 * n)
    return seen


def test_one_route_tells_of_one_after_the_other() -> None:
    """The usual pool has one route for all mail; minutes show what one report cannot."""
    assert port25.verdict(pool(), told("mx.a.test", "mx.b.test"), NOW) is None
    assert port25.verdict(pool(), told("mx.a.test", "mx.b.test", "mx.c.test"), NOW) is not None


def test_it_is_open_again() -> None:
    """The first mail that arrives at an MX host wipes the slate."""
    seen = told("mx.a.test", "mx.b.test", "mx.c.test")
    arrived = report(a=RouteReport(last_success=NOW + 200))
    assert verdict(arrived, before=seen, now=NOW + 201) is None
    assert port25.noted(seen, ROUTES, [arrived], NOW + 201) == {}


def test_what_is_an_hour_old_is_forgotten() -> None:
    """Nobody waits for these any more; and a success of some time ago does not speak for now."""
    seen = told("mx.a.test", "mx.b.test", "mx.c.test")
    assert verdict(before=seen, now=NOW + port25.REMEMBERED_S + 121) is None
    old = RouteReport(last_success=NOW - port25.RECENT_S - 1)
    assert verdict(report(a=old), before=seen) is not None
