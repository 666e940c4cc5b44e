"""Into mailboxes: Dovecot by LMTP, which answers for each recipient after the data."""

import pytest
from tests.support import clients, reports
from tests.support.dovecot import FULL, Dovecot
from tests.support.relay import RelayProcess, route
from tests.support.waiting import until

from waystation_contract.model import LMTP

ANN, BOB = "ann@dovecot.test", "bob@dovecot.test"
NOBODY = "nobody@dovecot.test"


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, dovecot: Dovecot) -> RelayProcess:
    new_relay.configure(route(LMTP(host="127.0.0.1", port=dovecot.lmtp_port)))
    return new_relay.start()


def about(dovecot: Dovecot, user: str, subject: str) -> list[bytes]:
    """The user's mails that have this text in them."""
    return [mail for mail in dovecot.mails(user) if subject.encode() in mail]


def test_a_mail_from_swaks_is_in_the_mailbox(relay: RelayProcess, dovecot: Dovecot) -> None:
    """swaks hands it to the relay, the relay to Dovecot, whose Return-Path names the envelope's sender."""
    run = clients.swaks(
        relay.port, "--from", BOB, "--to", ANN, "--header", "Subject: to the mailbox", "--body", "A line.\n"
    )
    assert run.returncode == 0, run.stdout
    (mail,) = until(lambda: about(dovecot, ANN, "to the mailbox"), "the mail in Ann's mailbox")
    assert mail.startswith(f"Return-Path: <{BOB}>\n".encode())
    assert b"by relay.test" in mail
    assert b"\n\nA line.\n" in mail


def test_dots_and_long_lines_survive_lmtp(relay: RelayProcess, dovecot: Dovecot) -> None:
    """The content is stuffed and unstuffed twice on its way; the mailbox has what the client wrote."""
    body = b".\n..\n.leading\n" + b"x" * 998 + b"\n\n\n.\n"
    content = b"Subject: dotted\r\n\r\n" + body.replace(b"\n", b"\r\n")
    clients.send(relay.port, BOB, ANN, content)
    (mail,) = until(lambda: about(dovecot, ANN, "Subject: dotted"), "the mail in Ann's mailbox")
    assert mail.endswith(b"Subject: dotted\n\n" + body)


def test_an_unknown_recipient_bounces_and_the_other_gets_the_mail(
    relay: RelayProcess, dovecot: Dovecot
) -> None:
    """One transaction, two answers: Bob's copy arrives, the sender reads which address does not exist."""
    clients.send(relay.port, ANN, [NOBODY, BOB], clients.mail("half of it"))
    until(lambda: about(dovecot, BOB, "Subject: half of it"), "the mail in Bob's mailbox")
    (bounce,) = until(lambda: about(dovecot, ANN, "half of it"), "the report in Ann's mailbox")
    report = reports.read(bounce)
    (recipient,) = report.recipients
    assert recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{NOBODY}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert "User doesn't exist" in recipient["Diagnostic-Code"]
    assert NOBODY in report.human
    assert BOB not in report.human
    until(lambda: relay.queued() == 0, "an empty queue")


def test_a_full_mailbox_is_known_only_after_the_data(relay: RelayProcess, dovecot: Dovecot) -> None:
    """Dovecot takes both RCPTs and refuses one copy at the end: that one is reported, as mailbox full."""
    clients.send(relay.port, ANN, [BOB, FULL], clients.mail("no room", "x" * 200))
    until(lambda: about(dovecot, BOB, "Subject: no room"), "the mail in Bob's mailbox")
    (bounce,) = until(lambda: about(dovecot, ANN, "no room"), "the report in Ann's mailbox")
    report = reports.read(bounce)
    (recipient,) = report.recipients
    assert recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{FULL}"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.2.2")
    assert "full" in report.human.lower()
    assert len(about(dovecot, BOB, "Subject: no room")) == 1
    until(lambda: relay.queued() == 0, "an empty queue")


def test_success_is_final_at_a_mailbox_server(relay: RelayProcess, dovecot: Dovecot) -> None:
    """NOTIFY=SUCCESS, and LMTP's 250 means the mailbox: the report says delivered, not merely relayed."""
    clients.converse(
        relay.port,
        f"MAIL FROM:<{ANN}> RET=HDRS ENVID=proof-1",
        f"RCPT TO:<{BOB}> NOTIFY=SUCCESS",
        content=clients.mail("registered"),
    )
    (report,) = until(lambda: about(dovecot, ANN, "registered"), "the report in Ann's mailbox")
    (recipient,) = reports.read(report).recipients
    assert (recipient["Action"], recipient["Status"][0]) == ("delivered", "2")
    assert b"Original-Envelope-Id: proof-1" in report
