"""Postfix as the next hop, and Dovecot behind it: the chain a mail goes through in most places."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients, reports
from tests.support.dovecot import Dovecot
from tests.support.postfix import Postfix
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

ANN, BOB = "ann@postfix.test", "bob@postfix.test"


@pytest.fixture(scope="module")
def postfix(folder: Path, dovecot: Dovecot) -> Iterator[Postfix]:
    """Keeps postfix.test in mailboxes of its own and hands dovecot.test to Dovecot."""
    to_dovecot = f"inline:{{dovecot.test=lmtp:inet:127.0.0.1:{dovecot.lmtp_port}}}"
    with Postfix(folder, relay_domains="dovecot.test", transport_maps=to_dovecot) as running:
        yield running


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, postfix: Postfix) -> RelayProcess:
    new_relay.configure(route(to(postfix.port)))
    return new_relay.start()


def about(postfix: Postfix, user: str, subject: str) -> list[bytes]:
    return [mail for mail in postfix.mailbox(user) if subject.encode() in mail]


def test_from_swaks_through_postfix_into_dovecot(relay: RelayProcess, dovecot: Dovecot) -> None:
    """Four programs, one mail: each hop has signed it with a Received field, the newest on top."""
    run = clients.swaks(
        relay.port,
        "--helo",
        "client.test",
        "--from",
        ANN,
        "--to",
        "bob@dovecot.test",
        "--body",
        "Through all.",
    )
    assert run.returncode == 0, run.stdout
    (mail,) = until(lambda: dovecot.mails("bob@dovecot.test"), "the mail in Dovecot's mailbox")
    unfolded = re.sub(rb"\n[ \t]+", b" ", mail).decode()
    hops = re.findall(r"^Received: from (\S+) .*?by (\S+) ", unfolded, re.MULTILINE)
    assert hops == [
        ("mx.postfix.test", "mx.dovecot.test"),
        ("relay.test", "mx.postfix.test"),
        ("client.test", "relay.test"),
    ]
    assert "\n\nThrough all.\n" in mail.decode()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"Subject: {}\r\n\r\n.\r\n..\r\n.x\r\n \t\r\n\r\nend \r\n", id="dots and blanks"),
        pytest.param("Subject: {}\r\n\r\nGrüße\r\n".encode(), id="8-bit"),
        pytest.param(b"Subject: {}\r\n\r\n" + (b"y" * 998 + b"\r\n") * 3, id="longest lines"),
        pytest.param(b"Subject: {}\r\n\r\n" + b"0123456789abcdef\r\n" * 200_000, id="streamed, 3.6 MB"),
    ],
)
def test_content_passes_unchanged(
    relay: RelayProcess, postfix: Postfix, content: bytes, request: pytest.FixtureRequest
) -> None:
    """Postfix offers CHUNKING, 8BITMIME and PIPELINING; whichever is used, the mailbox has what was sent."""
    subject = request.node.callspec.id.replace(" ", "-")
    sent = content.replace(b"{}", subject.encode())
    clients.send(relay.port, ANN, BOB, sent, options=["BODY=8BITMIME"])
    (mail,) = until(lambda: about(postfix, BOB, f"Subject: {subject}\n"), "the mail in Bob's mailbox")
    # Postfix adds fields that are missing at the end of the header; the body begins at the first empty line.
    assert mail.partition(b"\n\n")[2] == sent.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


def test_an_unknown_recipient_of_postfix_bounces(relay: RelayProcess, postfix: Postfix) -> None:
    """Postfix's own words reach the sender, in the report's text and in Diagnostic-Code."""
    clients.send(relay.port, ANN, ["nobody@postfix.test", BOB], clients.mail("partly unknown"))
    until(lambda: about(postfix, BOB, "Subject: partly unknown"), "the mail in Bob's mailbox")
    (bounce,) = until(lambda: about(postfix, ANN, "partly unknown"), "the report in Ann's mailbox")
    report = reports.read(bounce)
    (recipient,) = report.recipients
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert "User unknown in virtual mailbox table" in report.human
    assert "User unknown in virtual mailbox table" in recipient["Diagnostic-Code"]
    assert recipient["Remote-MTA"] is not None


def test_success_notices_are_left_to_a_next_hop_with_dsn(relay: RelayProcess, postfix: Postfix) -> None:
    """NOTIFY=SUCCESS is passed on: the one report is Postfix's, "delivered", with our ENVID and ORCPT."""
    clients.converse(
        relay.port,
        f"MAIL FROM:<{ANN}> RET=HDRS ENVID=order+2D7",
        f"RCPT TO:<{BOB}> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;robert@elsewhere.test",
        content=clients.mail("with receipt"),
    )
    until(lambda: about(postfix, ANN, "with receipt"), "the report in Ann's mailbox")
    until(lambda: relay.queued() == 0 and postfix.queued() == 0, "empty queues")
    (mail,) = about(postfix, ANN, "with receipt")
    report = reports.read(mail)
    (recipient,) = report.recipients
    assert recipient["Action"] == "delivered"
    assert recipient["Original-Recipient"].replace(" ", "") == "rfc822;robert@elsewhere.test"
    assert report.message["Original-Envelope-Id"] == "order-7"
    assert "mx.postfix.test" in report.message["Reporting-MTA"]


def test_nobody_is_told_with_notify_never(relay: RelayProcess, postfix: Postfix) -> None:
    """NOTIFY=NEVER: mail for an address that Postfix refuses ends without a report."""
    clients.converse(
        relay.port,
        f"MAIL FROM:<{ANN}>",
        "RCPT TO:<nobody@postfix.test> NOTIFY=NEVER",
        content=clients.mail("never mind"),
    )
    relay.wait_log("message.failed", recipients=["nobody@postfix.test"], reason="bad-address")
    until(lambda: relay.queued() == 0, "an empty queue")
    assert about(postfix, ANN, "never mind") == []


def test_internationalized_mail_passes_to_postfix(relay: RelayProcess, postfix: Postfix) -> None:
    """An SMTPUTF8 sender and header go through as they are, since Postfix offers SMTPUTF8."""
    clients.converse(
        relay.port,
        "MAIL FROM:<jörg@postfix.test> SMTPUTF8 BODY=8BITMIME",
        f"RCPT TO:<{BOB}>",
        content="From: Jörg <jörg@postfix.test>\r\nSubject: Grüße\r\n\r\nschön\r\n".encode(),
    )
    (mail,) = until(lambda: about(postfix, BOB, "Subject: Grüße"), "the mail in Bob's mailbox")
    assert "Return-Path: <jörg@postfix.test>" in mail.decode()
    assert mail.decode().endswith("\n\nschön\n")


def test_connections_to_postfix_are_reused(relay: RelayProcess, postfix: Postfix) -> None:
    """200 mails at once reach Postfix, each once, over a few connections and not over 200."""
    connections = postfix.log().count(" connect from ")
    clients.smtp_source(relay.port, 200, sender=ANN, recipient=BOB, length=2000)

    def arrived() -> int:
        return len([m for m in postfix.mailbox(BOB) if b"@source.test>" in m])

    until(lambda: arrived() >= 200, "200 mails in Bob's mailbox", within_s=30, every_s=0.1)
    assert arrived() == 200
    assert postfix.log().count(" connect from ") - connections <= 40
