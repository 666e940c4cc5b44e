"""The bytes of reports, read back by the standard library and by Mailman's bounce detector (flufl.bounce)."""

import email
import email.policy
import re
from email.message import EmailMessage, Message

import pytest
from flufl.bounce import all_failures
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bounces import (
    ARRIVAL,
    DELIVERED,
    FULL,
    LATER,
    MX,
    NOW,
    REFUSED,
    RELAYED,
    message,
    recipient,
)
from tests.support.effort import examples

from waystation_relay.bounce import report
from waystation_relay.bounce.notices import Kind, Notice, Settled
from waystation_relay.bounce.status import DIAGNOSTIC_CHARACTERS
from waystation_relay.bounce.words import WORDS
from waystation_relay.mail.envelope import BodyType, Recipient, Ret
from waystation_relay.mail.message import Message as Queued
from waystation_relay.mail.outcome import Deferred, Failed, Outcome, Reason, Remote
from waystation_relay.mail.reply import Reply, reply

MAIL = b"From: ann@shop.test\r\nMessage-ID: <m1@shop.test>\r\nSubject: order 7\r\n\r\nPlease deliver.\r\n"
EIGHT_BIT = "From: ann@shop.test\r\nSubject: x\r\n\r\nGrüße\r\n".encode()


def written(
    *outcomes: Outcome,
    to: str = "ann@shop.test",
    kind: Kind = Kind.FAILURE,
    about: Queued | None = None,
    original: bytes = MAIL,
    retry_until: float | None = None,
) -> report.Report:
    people = [recipient(f"r{n}@next.test") for n in range(len(outcomes))]
    about = about or message(*people, size_bytes=len(original))
    settled = tuple(Settled(n, o, NOW, retry_until) for n, o in enumerate(outcomes))
    return report.build(
        Notice(kind, to, settled), about, original, hostname="relay.test", now=NOW, tag="4XyZ8"
    )


def read(built: report.Report) -> tuple[EmailMessage, list[Message]]:
    """The report, and the groups of its status part: that of the message, then one a recipient."""
    parsed = email.message_from_bytes(built.content, policy=email.policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    groups = parsed.get_payload()[1].get_payload()  # type: ignore[union-attr,index]
    return parsed, groups  # type: ignore[return-value]


def parts(parsed: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in parsed.iter_parts()]


def human(parsed: EmailMessage) -> str:
    text = next(iter(parsed.iter_parts()))
    return " ".join(str(text.get_content()).split())


def test_failure_report_in_full() -> None:
    """The whole of a plain failure report, byte for byte."""
    assert (
        written(REFUSED).content.decode("ascii").replace("\r\n", "\n")
        == """\
Date: Fri, 15 Jan 2027 10:00:00 +0000
From: Mail Delivery System <MAILER-DAEMON@relay.test>
To: <ann@shop.test>
Subject: Your message could not be delivered
Message-ID: <4XyZ8@relay.test>
In-Reply-To: <m1@shop.test>
References: <m1@shop.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary="=_4XyZ8.0"

--=_4XyZ8.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit
Content-Description: Notification

This is the mail system relay.test.

Your message of Fri, 15 Jan 2027 08:00:00 +0000 could not be delivered
to the recipient below. No further attempt will be made.

<r0@next.test>
    It was not delivered: the address does not exist or takes no mail.
    Check the spelling of the address, or ask the person for the current
    one by other means.
    The server mx.next.test [192.0.2.25]:25 answered:
        550 5.1.1 no such mailbox

The message is attached.

Queue id of the message: 4XyZ7

--=_4XyZ8.0
Content-Type: message/delivery-status
Content-Transfer-Encoding: 7bit
Content-Description: Delivery status

Reporting-MTA: dns; relay.test
Arrival-Date: Fri, 15 Jan 2027 08:00:00 +0000

Final-Recipient: rfc822; r0@next.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.next.test
Diagnostic-Code: smtp; 550 5.1.1 no such mailbox
Last-Attempt-Date: Fri, 15 Jan 2027 10:00:00 +0000

--=_4XyZ8.0
Content-Type: message/rfc822
Content-Transfer-Encoding: 7bit
Content-Description: The message is attached

From: ann@shop.test
Message-ID: <m1@shop.test>
Subject: order 7

Please deliver.

--=_4XyZ8.0--
"""
    )


def test_envelope_of_a_report() -> None:
    """A report has the null sender and one recipient, and asks for no reports itself."""
    envelope = written(REFUSED).envelope
    assert (envelope.reverse_path, envelope.recipients) == ("", (Recipient("ann@shop.test"),))
    assert (envelope.body, envelope.smtputf8, envelope.ret, envelope.envid) == (
        BodyType.SEVEN_BIT,
        False,
        None,
        None,
    )


def test_envid_and_orcpt_come_back_decoded() -> None:
    """What the sender's program gave to recognise its mail by, it gets back (RFC 3464 §2.2.1, §2.3.1)."""
    about = message(recipient("bob@next.test", orcpt="rfc822;rob+2Bert@next.test"), envid="order+2D7")
    _, (whole, one) = read(written(REFUSED, about=about))
    assert whole["Original-Envelope-Id"] == "order-7"
    assert one["Original-Recipient"] == "rfc822; rob+ert@next.test"
    assert one["Final-Recipient"] == "rfc822; bob@next.test"


STATUS = [
    (REFUSED, "failed", "5.1.1", "smtp; 550 5.1.1 no such mailbox"),
    (LATER, "delayed", "4.4.1", "x-waystation; 451 4.4.1 connection timed out"),
    (RELAYED, "relayed", "2.0.0", "smtp; 250 2.0.0 queued"),
    (DELIVERED, "delivered", "2.1.5", "smtp; 250 2.1.5 stored"),
    (Failed(Reply(550, "", ("No.",)), Reason.OTHER, MX), "failed", "5.0.0", "smtp; 550 No."),
    (
        Failed(reply(554, "5.4.7", "gave up"), Reason.EXPIRED, MX),
        "failed",
        "5.4.7",
        "x-waystation; 554 5.4.7 gave up",
    ),
    (
        Failed(reply(556, "5.1.10", "null MX"), Reason.ADDRESS),
        "failed",
        "5.1.10",
        "x-waystation; 556 5.1.10 null MX",
    ),
    (
        Failed(Reply(550, "2.0.0", ("odd",)), Reason.OTHER, MX),
        "failed",
        "5.0.0",
        "smtp; 550 2.0.0 odd",
    ),
]


@pytest.mark.parametrize(
    ("outcome", "action", "status", "diagnostic"), STATUS, ids=[f"{a}-{d}" for _, a, _, d in STATUS]
)
def test_status_fields(outcome: Outcome, action: str, status: str, diagnostic: str) -> None:
    """Action, Status and Diagnostic-Code say what happened, and whose words they are."""
    _, (_, group) = read(written(outcome))
    assert (group["Action"], group["Status"], group["Diagnostic-Code"]) == (action, status, diagnostic)


def test_delay_report_says_until_when() -> None:
    """A warning names the end of the attempts, returns only the header and says nothing need be done."""
    parsed, (_, group) = read(written(LATER, kind=Kind.DELAY, retry_until=ARRIVAL + 432_000))
    assert group["Will-Retry-Until"] == "Wed, 20 Jan 2027 08:00:00 +0000"
    assert parts(parsed)[2] == "text/rfc822-headers"
    assert "You need not send it again" in human(parsed)


@pytest.mark.parametrize("reason", list(Reason))
def test_people_are_told_the_reason_and_what_to_do(reason: Reason) -> None:
    """Every reason for a failure is named in plain words, with advice and the exact answer."""
    parsed, _ = read(written(Failed(reply(550, "5.0.0", "the exact", "words"), reason, MX)))
    text = human(parsed)
    assert WORDS[reason].why in text
    assert WORDS[reason].remedy in text
    assert "550 5.0.0 the exact words" in text


def test_expiry_tells_how_long_it_was_tried() -> None:
    """A message given up after two hours says so, with the last answer."""
    expired = Failed(reply(554, "5.4.7", "gave up; the last answer was: 451 busy"), Reason.EXPIRED, MX)
    text = human(read(written(expired))[0])
    assert "(for 2 hours)" in text
    assert "451 busy" in text


def test_many_recipients_are_in_one_report() -> None:
    """A hundred failures: all in the status part, fifty told in words."""
    parsed, groups = read(written(*[FULL] * 100))
    assert len(groups) == 101
    assert "and 50 more" in human(parsed)
    assert "the 100 recipients" in human(parsed)


BIG = MAIL + b"x" * 76 + b"\r\n"
RETURNED = [
    (None, 100, "message/rfc822"),
    (None, report.UNASKED_FULL_BYTES, "message/rfc822"),
    (None, report.UNASKED_FULL_BYTES + 1, "text/rfc822-headers"),
    (Ret.FULL, report.UNASKED_FULL_BYTES + 1, "message/rfc822"),
    (Ret.FULL, report.FULL_BYTES + 1, "text/rfc822-headers"),
    (Ret.HEADERS, 100, "text/rfc822-headers"),
]


@pytest.mark.parametrize(("ret", "size", "kind"), RETURNED, ids=[f"{r}-{s}" for r, s, _ in RETURNED])
def test_ret_and_size_decide_what_is_returned(ret: Ret | None, size: int, kind: str) -> None:
    """RET is respected; without it small messages come back whole, and nobody gets megabytes unasked."""
    original = MAIL + b"x" * (size - len(MAIL) - 2) + b"\r\n" if size > len(MAIL) else MAIL
    about = message(recipient("b@next.test"), ret=ret, size_bytes=len(original))
    parsed, _ = read(written(REFUSED, about=about, original=original))
    assert parts(parsed) == ["text/plain", "message/delivery-status", kind]
    returned = parsed.get_payload()[2]  # type: ignore[index]
    assert ("Please deliver" in str(returned)) == (kind == "message/rfc822")
    assert "order 7" in str(returned)


@pytest.mark.parametrize(
    ("original", "body", "kind"),
    [
        pytest.param(EIGHT_BIT, BodyType.EIGHT_BIT, "message/rfc822", id="declared"),
        pytest.param(EIGHT_BIT, BodyType.SEVEN_BIT, "text/rfc822-headers", id="undeclared"),
        pytest.param(MAIL, BodyType.EIGHT_BIT, "message/rfc822", id="declared, not used"),
        pytest.param(b"A: b\r\n\r\nbare\nLF\r\n", BodyType.SEVEN_BIT, "text/rfc822-headers", id="bare LF"),
        pytest.param(b"\r\nno header\r\n", BodyType.SEVEN_BIT, "message/rfc822", id="no header"),
    ],
)
def test_eight_bit_goes_back_only_where_it_came_from(original: bytes, body: BodyType, kind: str) -> None:
    """8-bit content is returned as such to who sent it as 8BITMIME; else the header has to do."""
    about = message(recipient("b@next.test"), body=body, size_bytes=len(original))
    built = written(REFUSED, about=about, original=original)
    assert parts(read(built)[0])[2] == kind
    eight = not built.content.isascii()
    assert built.envelope.body is (BodyType.EIGHT_BIT if eight else BodyType.SEVEN_BIT)
    assert not (eight and body is BodyType.SEVEN_BIT)


def test_full_message_is_returned_byte_for_byte() -> None:
    """What is returned whole is what came in, boundary-like lines and all."""
    original = MAIL + b"--=_4XyZ8.0\r\n--=_4XyZ8.0--\r\n.\r\ntrailing \r\n"
    built = written(REFUSED, original=original)
    assert b"\r\n\r\n" + original + b"\r\n--=_4XyZ8.1--\r\n" in built.content
    assert len(parts(read(built)[0])) == 3


def test_unreadable_original() -> None:
    """The report is made even when the message cannot be read any more; it says so."""
    parsed, _ = read(written(REFUSED, original=b"", about=message(recipient("b@next.test"), size_bytes=9)))
    assert parts(parsed) == ["text/plain", "message/delivery-status"]
    assert "could not be read" in human(parsed)


def test_beginning_of_a_message_counts_as_its_header_only() -> None:
    """A caller that read only the start never has it sold as the whole."""
    about = message(recipient("b@next.test"), size_bytes=len(MAIL) + 1)
    assert parts(read(written(REFUSED, about=about))[0])[2] == "text/rfc822-headers"


def test_internationalized_report() -> None:
    """RFC 6533: addresses in UTF-8, the message/global types, and SMTPUTF8 because the sender needs it."""
    original = "From: grün@shop.test\r\nSubject: grün\r\n\r\nHallo\r\n".encode()
    about = message(
        recipient("dörte@next.test", orcpt=r"utf-8;d\x{F6}rte@next.test"),
        sender="grün@shop.test",
        smtputf8=True,
        body=BodyType.EIGHT_BIT,
        size_bytes=len(original),
    )
    built = written(REFUSED, about=about, original=original, to="grün@shop.test")
    assert built.envelope.smtputf8
    assert built.envelope.body is BodyType.EIGHT_BIT
    parsed, _ = read(built)
    assert parts(parsed)[1:] == ["message/global-delivery-status", "message/global"]
    assert "Final-Recipient: utf-8; dörte@next.test\r\n".encode() in built.content
    assert "Original-Recipient: utf-8; dörte@next.test\r\n".encode() in built.content
    assert "To: <grün@shop.test>\r\n".encode() in built.content


def test_internationalized_mail_of_a_plain_sender() -> None:
    """The sender's own address is plain: the report needs no SMTPUTF8 on its way."""
    about = message(recipient("dörte@next.test"), smtputf8=True, size_bytes=len(MAIL))
    built = written(REFUSED, about=about)
    assert not built.envelope.smtputf8
    built.content.partition(b"\r\n\r\n")[0].decode("ascii")


def test_double_bounce_for_the_postmaster() -> None:
    """The postmaster's copy says why he gets it."""
    parsed, (_, group) = read(written(REFUSED, kind=Kind.DOUBLE, to="pm@shop.test"))
    assert parsed["To"] == "pm@shop.test"
    assert "for the postmaster" in human(parsed)
    assert group["Action"] == "failed"


def test_a_long_answer_is_cut() -> None:
    """Two kilobytes of an answer are enough for everybody."""
    _, (_, group) = read(written(Failed(reply(550, "5.0.0", "word " * 2000), Reason.OTHER, MX)))
    said = " ".join(group["Diagnostic-Code"].split())
    assert said.startswith("smtp; 550 5.0.0 word word")
    assert len(said) <= DIAGNOSTIC_CHARACTERS + len("smtp; ")


def test_a_report_of_many_long_answers_stays_a_letter() -> None:
    """A thousand recipients refused at length: every one is listed, with less of its answer."""
    wordy = Failed(reply(550, "5.0.0", "word " * 400), Reason.OTHER, MX)
    built = written(*[wordy] * 1000)
    assert len(read(built)[1]) == 1001
    assert len(built.content) < 600_000


@pytest.mark.parametrize(
    "line", [b"X: " + b"y" * 70 + b"\r\n", b"X: " + b"y" * 900 + b"\r\n"], ids=["short", "long"]
)
def test_a_huge_header_is_cut_between_lines(line: bytes) -> None:
    """A header of a megabyte comes back as its first 64 KiB, and ends with a whole line."""
    original = line * (1_000_000 // len(line)) + b"\r\nbody\r\n"
    parsed, _ = read(written(REFUSED, original=original))
    header = parsed.get_payload()[2].get_payload(decode=True)  # type: ignore[index,union-attr]
    assert isinstance(header, bytes)
    assert report.HEADER_BYTES - len(line) <= len(header) + len(line) <= report.HEADER_BYTES + len(line)
    assert set(header.splitlines(keepends=True)) <= {line, line.rstrip()}


@pytest.mark.parametrize(
    "built",
    [
        pytest.param(written(REFUSED), id="failure"),
        pytest.param(written(LATER, kind=Kind.DELAY, retry_until=NOW), id="delay"),
        pytest.param(written(RELAYED, kind=Kind.SUCCESS), id="success"),
        pytest.param(written(REFUSED, kind=Kind.DOUBLE), id="double"),
        pytest.param(written(*[FULL] * 100), id="many"),
        pytest.param(
            written(REFUSED, about=message(smtputf8=True, body=BodyType.EIGHT_BIT, size_bytes=len(EIGHT_BIT)),
                    original=EIGHT_BIT), id="eight bit",
        ),
    ],
)  # fmt: skip
def test_mime_is_without_a_fault(built: report.Report) -> None:
    """A strict reader finds no defect in any part, and all lines of ours are short enough."""
    parsed = email.message_from_bytes(built.content, policy=email.policy.default)
    for part in parsed.walk():
        assert part.defects == [], part.get_content_type()
        for name in part:
            assert getattr(part[name], "defects", ()) == (), name
    assert max(map(len, built.content.split(b"\r\n"))) <= 998


# Peers and hostile input


@pytest.mark.parametrize(
    ("outcome", "kind", "permanent", "temporary"),
    [
        pytest.param(REFUSED, Kind.FAILURE, {b"r0@next.test"}, set(), id="failed"),
        pytest.param(LATER, Kind.DELAY, set(), {b"r0@next.test"}, id="delayed"),
        pytest.param(RELAYED, Kind.SUCCESS, set(), set(), id="relayed"),
    ],
)
def test_bounce_detector_understands(
    outcome: Outcome, kind: Kind, permanent: set[bytes], temporary: set[bytes]
) -> None:
    """Mailing-list software finds the failed address, and takes a delay for a delay."""
    parsed = email.message_from_bytes(written(outcome, kind=kind).content)
    assert all_failures(parsed) == (temporary, permanent)


texts = st.text(max_size=200)
nasty = st.sampled_from(
    ["a\r\nBcc: x@x.test", "\x00", "\u2028", "x" * 3000, "\r\n\r\n--=_4XyZ8.0--", "ü" * 999]
)
anything = st.one_of(texts, nasty)
replies = st.builds(
    lambda code, lines: Reply(code, "", tuple(lines)), st.integers(400, 599), st.lists(anything)
)
remotes = st.one_of(st.none(), st.builds(Remote, anything, anything, st.integers(0, 65535)))
outcomes = st.one_of(
    st.builds(Failed, replies, st.sampled_from(Reason), remotes),
    st.builds(Deferred, replies, st.sampled_from(Reason), remotes),
)
people = st.builds(lambda a, o: recipient(a, orcpt=o), anything, st.one_of(st.none(), anything))
contents = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [MAIL, EIGHT_BIT, b"\r\n", b"\r\n\r\n", MAIL * 40, b"x" * 70_000, b"Subject: \r\n" * 9000]
    ),
)


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.tuples(people, outcomes), min_size=1, max_size=4),
    contents,
    anything,
    st.booleans(),
    st.sampled_from(BodyType),
    st.sampled_from([Kind.FAILURE, Kind.DELAY, Kind.DOUBLE]),
)
def test_hostile_input_makes_a_well_formed_report(
    entries: list[tuple[Recipient, Outcome]],
    original: bytes,
    envid: str,
    smtputf8: bool,
    body: BodyType,
    kind: Kind,
) -> None:
    """Whatever addresses, replies and content are, the report has its parts and no field of theirs."""
    about = message(
        *[person for person, _ in entries],
        envid=envid or None,
        smtputf8=smtputf8,
        body=body,
        size_bytes=len(original),
    )
    built = written(*[o for _, o in entries], about=about, original=original, kind=kind)
    header, _, rest = built.content.partition(b"\r\n\r\n")
    names = [line.split(b":")[0] for line in header.split(b"\r\n") if not line.startswith(b" ")]
    assert [n for n in names if n not in (b"In-Reply-To", b"References")] == [
        b"Date", b"From", b"To", b"Subject", b"Message-ID", b"Auto-Submitted", b"MIME-Version",
        b"Content-Type",
    ]  # fmt: skip
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\x00", built.content)
    if not (smtputf8 or body is BodyType.EIGHT_BIT):
        assert built.content.isascii()
    assert built.content.isascii() == (built.envelope.body is BodyType.SEVEN_BIT)
    parsed = email.message_from_bytes(built.content, policy=email.policy.compat32)
    sections = parsed.get_payload()
    assert len(sections) == 2 + bool(original)
    boundary = b"--" + str(parsed.get_boundary()).encode()
    status = rest.split(boundary)[2].partition(b"\r\n\r\n")[2]
    groups = [group for group in status.split(b"\r\n\r\n") if group.strip()]
    assert len(groups) == 1 + len(entries)
    for group in groups[1:]:
        keys = [line.split(b":")[0] for line in group.strip().split(b"\r\n") if not line.startswith(b" ")]
        assert len(keys) == len(set(keys))
        assert {b"Final-Recipient", b"Action", b"Status", b"Diagnostic-Code"} <= set(keys) <= KNOWN
    if smtputf8 is False:
        assert len(all_failures(parsed)) == 2  # the detector does not choke on it


KNOWN = {
    b"Original-Recipient", b"Final-Recipient", b"Action", b"Status", b"Remote-MTA", b"Diagnostic-Code",
    b"Last-Attempt-Date", b"Will-Retry-Until",
}  # fmt: skip
