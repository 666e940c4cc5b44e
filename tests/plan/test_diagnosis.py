"""The table of what probes find, and the page that shows it."""

import re

import pytest
from tests.support.tables import table

from waystation_operator.plan import diagnosis
from waystation_operator.plan.diagnosis import TABLE, Case
from waystation_operator.plan.findings import Target

TARGET = Target("smartHost", "smtp.test", 587)

OF_DOMAINS = [row for case, row in TABLE.items() if "Mx" in row.reason or case is Case.HAS_MAIL_HOSTS]


def shown(text: str, host: str = "the host") -> str:
    """As the page has it: what is filled in, in words."""
    text = text.replace("the domain {host}", "{host}")
    words = {"where": "the server", "host": host, "port": "the port", "why": "…", "said": "…"}
    return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], text)


def test_the_page_has_every_case() -> None:
    """docs/probes.md shows the table as it is, row by row."""
    rows = table("probes.md", "reason", "ok", "what the message says", "what to do")
    assert rows == [
        {
            "reason": row.reason,
            "ok": "yes" if row.ok else "no",
            "what the message says": shown(row.text, "the domain" if row in OF_DOMAINS else "the host"),
            "what to do": shown(row.remedy),
        }
        for row in TABLE.values()
    ]


@pytest.mark.parametrize(
    ("case", "where", "stays"),
    [
        (Case.ANSWERS, "smtp.test [192.0.2.2]:587", True),
        (Case.ANSWERS, "smtp.test [2001:db8::2]:587", True),
        (Case.ANSWERS, "smtp.test [192.0.2.2]:25", False),
        (Case.LOGGED_IN, "smtp.test [192.0.2.2]:587", False),
        (Case.REFUSED, "smtp.test [192.0.2.2]:587", False),
    ],
    ids=["another address", "of the other family", "another port", "more is known", "another reason"],
)
def test_another_address_is_no_news(case: Case, where: str, stays: bool) -> None:
    """A name with many addresses does not make the status change with every probe."""
    last = diagnosis.finding(Case.ANSWERS, TARGET, 1.0, where="smtp.test [192.0.2.1]:587")
    new = diagnosis.finding(case, TARGET, 2.0, where=where)
    settled = diagnosis.settled(last, new)
    assert settled.at == 2.0
    assert settled.message == (last if stays else new).message
    assert diagnosis.settled(None, new) == new


@pytest.mark.parametrize("case", Case, ids=lambda case: case.name)
def test_every_case_is_said_in_full(case: Case) -> None:
    """A CamelCase reason; one line that names the server or domain; a remedy wherever something is amiss."""
    finding = diagnosis.finding(case, TARGET, 1.0, why="WHY", said="SAID")
    assert re.fullmatch(r"([A-Z][a-z0-9]+)+", finding.reason)
    assert "smtp.test" in finding.message or case is Case.PORT_BLOCKED
    assert "{" not in finding.message
    assert TABLE[case].ok == (finding.reason in {"Reachable", "CertificateExpiresSoon"})
    assert (TABLE[case].remedy == "") == (finding.reason == "Reachable")
    assert finding.message.endswith(TABLE[case].remedy)
