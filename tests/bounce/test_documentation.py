"""docs/bounces.md says what the code does."""

from pathlib import Path

import pytest
from tests.support.bounces import MX, message
from tests.support.tables import DOCS, table

from waystation_relay.bounce import report
from waystation_relay.bounce.notices import Kind, Notice, Settled, kind_of
from waystation_relay.bounce.prose import RECIPIENTS_TOLD
from waystation_relay.bounce.status import DIAGNOSTIC_CHARACTERS, DIAGNOSTICS_CHARACTERS
from waystation_relay.bounce.words import WORDS
from waystation_relay.mail.envelope import Envelope, Notify, Origin, Recipient, Ret
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Remote
from waystation_relay.mail.reply import reply

ARRIVAL = 1_800_000_000.0
OK = reply(250, "2.0.0", "ok")
OUTCOMES: dict[str, Outcome] = {
    "failed": Failed(reply(550, "5.1.1", "no"), Reason.ADDRESS),
    "still waiting after warnAfter": Deferred(reply(451, "4.3.0", "busy"), Reason.OTHER),
    "delivered to a mailbox": Delivered(OK, MX, final=True),
    "handed to a server without DSN": Delivered(OK, MX),
    "handed to a server with DSN": Delivered(OK, MX, dsn_passed=True),
}
ASKED = {
    "no NOTIFY": Notify.DEFAULT,
    "SUCCESS": Notify.SUCCESS,
    "FAILURE": Notify.FAILURE,
    "DELAY": Notify.DELAY,
    "NEVER": Notify.NEVER,
}


@pytest.mark.parametrize("row", table("bounces.md", "what became of the recipient", *ASKED), ids=str)
def test_documented_notify(row: dict[str, str]) -> None:
    """Each cell of the table is the report that the sender gets."""
    outcome = OUTCOMES[row["what became of the recipient"]]
    assert {asked: str(kind_of(outcome, notify) or "-") for asked, notify in ASKED.items()} == {
        asked: row[asked] for asked in ASKED
    }


def test_documented_reasons() -> None:
    """Every reason is in the table, in the order of the code, with its sentence and its advice."""
    rows = table("bounces.md", "reason", "It was not delivered: …", "advice")
    assert [tuple(row.values()) for row in rows] == [
        (reason.value, WORDS[reason].why, WORDS[reason].remedy) for reason in Reason
    ]


def test_documented_amounts() -> None:
    """How much comes back is what the code returns, and not a byte more."""
    units = {"KiB": 1024, "MiB": 1024**2}
    for row in table("bounces.md", "RET", "up to", "comes back"):
        ret = None if row["RET"] == "(none)" else Ret(row["RET"])
        notice = Notice(Kind.FAILURE, "ann@shop.test", (Settled(0, OUTCOMES["failed"], ARRIVAL),))
        if row["up to"] == "-":
            assert not report.wants_full(notice, message(ret=ret, size_bytes=1))
            continue
        amount, unit = row["up to"].split()
        most = int(amount) * units[unit]
        assert report.wants_full(notice, message(ret=ret, size_bytes=most))
        assert not report.wants_full(notice, message(ret=ret, size_bytes=most + 1))


def test_documented_example() -> None:
    """The example is what the code writes, byte for byte."""
    mail = (
        b"From: ann@shop.example\r\nTo: bob@partner.example\r\nSubject: Order 7\r\n"
        b"Message-ID: <m1@shop.example>\r\n\r\nPlease deliver.\r\n"
    )
    about = Message(
        id=7,
        queue_id="1KA3ZQ9W0TH-7F2QX",
        envelope=Envelope(
            "ann@shop.example",
            (Recipient("bob@partner.example", orcpt="rfc822;sales@partner.example"),),
            envid="order-7",
        ),
        origin=Origin(),
        arrival=ARRIVAL,
        size_bytes=len(mail),
        pending=(),
    )
    outcome = Failed(
        reply(550, "5.1.1", "no such mailbox"),
        Reason.ADDRESS,
        Remote("mx.partner.example", "192.0.2.25", 25),
    )
    built = report.build(
        Notice(Kind.FAILURE, "ann@shop.example", (Settled(0, outcome, ARRIVAL + 2),)),
        about,
        mail,
        hostname="relay.shop.example",
        now=ARRIVAL + 2,
        tag="1KA3ZQ9W0TH-7F2QX.9f3c21aa",
    )
    page = Path(DOCS, "bounces.md").read_text(encoding="utf-8")
    example = page.partition("```\n")[2].partition("\n```")[0]
    assert example == built.content.decode("ascii").replace("\r\n", "\n").rstrip()


def test_documented_limits() -> None:
    """The sizes named in the text are those of the code."""
    page = Path(DOCS, "bounces.md").read_text(encoding="utf-8")
    assert f"of which {report.HEADER_BYTES // 1024} KiB at most" in page
    assert f"longer than {DIAGNOSTIC_CHARACTERS} characters is cut" in page
    assert f"more than {DIAGNOSTICS_CHARACTERS // DIAGNOSTIC_CHARACTERS} recipients" in page
    assert f"the first {RECIPIENTS_TOLD} of them" in page
