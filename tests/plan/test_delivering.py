"""Whether a route's mail arrives: what its relays met, and what probes say while there is no mail."""

from typing import Any

import pytest

from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.plan import rounding
from waystation_operator.plan.delivering import delivering, reachable, together
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.report import Deferral, RouteReport

NOW = 1_000_000.0
PUT_OFF = Deferral("greylisted", "451 4.7.1 later", 40, "mx.a.example[192.0.2.1]:25")
LOCKED = Finding(Target("smartHost", "s.example", 587), False, "AuthRefused", "refused; correct it", NOW)
FINE = Finding(Target("smartHost", "t.example", 25), True, "Reachable", "t.example:25 answers", NOW)
SOON = Finding(Target("lmtp", "u.example", 24), True, "CertificateExpiresSoon", "it expires", NOW)


def spec(*backends: dict[str, Any]) -> MailRouteSpec:
    body = {"parentRefs": [{"name": "outbound"}], "backends": list(backends) or [{"mx": {}}]}
    return MailRouteSpec.model_validate(body, strict=False)


@pytest.mark.parametrize(
    ("report", "findings", "judgement"),
    [
        pytest.param(RouteReport(last_success=NOW - 5), [], ("True", "Delivering"), id="just now"),
        pytest.param(RouteReport(last_success=NOW - 9e5), [], ("True", "Delivering"), id="long ago"),
        pytest.param(
            RouteReport(NOW - 60, NOW - 1, 40, top_deferral=PUT_OFF),
            [],
            ("True", "PartlyDeferred"),
            id="one destination of many",
        ),
        pytest.param(
            RouteReport(NOW - 900, NOW - 1, 40, top_deferral=PUT_OFF),
            [FINE],
            ("False", "Greylisted"),
            id="nothing gets through any more",
        ),
        pytest.param(
            RouteReport(None, NOW - 1, 1, top_deferral=Deferral("tls")),
            [],
            ("False", "TlsFailed"),
            id="never got through",
        ),
        pytest.param(
            RouteReport(None, NOW - 1, 1, top_deferral=Deferral("a word of the future")),
            [],
            ("False", "Deferred"),
            id="for a reason that is not known here",
        ),
        pytest.param(RouteReport(None, NOW - 1), [], ("False", "Refused"), id="all refused for good"),
        pytest.param(
            RouteReport(NOW - 1, NOW - 1), [LOCKED], ("True", "Delivering"), id="mail tells more than probes"
        ),
        pytest.param(RouteReport(), [], ("Unknown", "NoMailYet"), id="no mail yet"),
        pytest.param(RouteReport(), [FINE], ("Unknown", "NoMailYet"), id="no mail, next hop fine"),
        pytest.param(RouteReport(), [FINE, LOCKED], ("False", "NextHopFailing"), id="next hop failing"),
    ],
)
def test_mail_tells(report: RouteReport, findings: list[Finding], judgement: tuple[str, str]) -> None:
    """The verdict is about mail that arrived, failed or waits; probes count while there was none."""
    found = delivering(spec(), report, findings, asked=True, now=NOW)
    assert (found.status, found.reason) == judgement


def test_the_words_of_the_next_hop_are_passed_on() -> None:
    """Whoever reads the condition sees whom it concerns, what was said, and what to do."""
    report = RouteReport(None, NOW - 1, 123, NOW - 7200, PUT_OFF)
    assert delivering(spec(), report, [], asked=True, now=NOW).message == (
        "about 100 recipients wait, the oldest came within the last 6 hours, most were put off by "
        "mx.a.example[192.0.2.1]:25 for the reason `greylisted`: 451 4.7.1 later; "
        "wait: it is made by itself"
    )


@pytest.mark.parametrize(
    ("backend", "asked", "judgement"),
    [
        pytest.param({"reject": {}}, True, ("True", "Verdict"), id="verdict"),
        pytest.param({"mx": {}}, True, ("Unknown", "NotProgrammed"), id="no pod has it"),
        pytest.param({"mx": {}}, False, ("Unknown", "Unreported"), id="no pod tells"),
    ],
)
def test_without_a_report(backend: dict[str, Any], asked: bool, judgement: tuple[str, str]) -> None:
    """Not knowing is said, and told from a route that sends nothing anyway."""
    found = delivering(spec(backend), None, [], asked=asked, now=NOW)
    assert (found.status, found.reason) == judgement


def test_pods_are_one_route() -> None:
    """The latest success of any pod counts, waiting mail adds up, the most frequent reason speaks."""
    whole = together(
        [
            RouteReport(5.0, None, 2, 3.0, Deferral("tls", count=2)),
            RouteReport(None, 7.0, 3, None, Deferral("dns", count=3)),
            RouteReport(),
        ]
    )
    assert whole == RouteReport(5.0, 7.0, 5, 3.0, Deferral("dns", count=3))
    assert together([]) is None


@pytest.mark.parametrize(
    ("findings", "judgement"),
    [
        pytest.param([], None, id="nothing probed"),
        pytest.param([FINE], ("True", "Reachable"), id="fine"),
        pytest.param([FINE, SOON], ("True", "CertificateExpiresSoon"), id="a warning"),
        pytest.param([FINE, SOON, LOCKED], ("False", "AuthRefused"), id="one fails"),
    ],
)
def test_the_gravest_finding_speaks(findings: list[Finding], judgement: tuple[str, str] | None) -> None:
    """With several next hops the one that fails is told, whatever the order."""
    for order in (findings, findings[::-1]):
        found = reachable(order)
        assert (found and (found.status, found.reason)) == judgement


def test_figures_in_messages_are_rounded() -> None:
    """A message that changed with every mail would be written with every mail."""
    assert [rounding.about(n) for n in (0, 9, 10, 99, 1234)] == [
        "0",
        "9",
        "about 10",
        "about 90",
        "about 1000",
    ]
    assert [rounding.counted(n, "recipient", "wait") for n in (1, 2, 1234)] == [
        "1 recipient waits",
        "2 recipients wait",
        "about 1000 recipients wait",
    ]
    assert [rounding.within(s) for s in (0, 601, 86_401, 700_000)] == [
        "within the last 10 minutes",
        "within the last hour",
        "within the last week",
        "more than a week ago",
    ]
    assert [rounding.longer_than(s) for s in (0.5, 59, 61, 7300, 180_000)] == [
        "no time",
        "59 seconds",
        "1 minute",
        "2 hours",
        "2 days",
    ]
