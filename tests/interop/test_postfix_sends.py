"""Postfix as the client: what a mail server expects of the relay it hands its mail to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients, reports
from tests.support.certificates import Authority
from tests.support.postfix import Postfix
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Listener, ListenerTLS, Queue, Reject, Route

ANN = "ann@shop.test"


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, module_sink: Sink, authority: Authority) -> RelayProcess:
    """Offers STARTTLS, as relay.test."""
    new_relay.certificate("relay-tls", authority.issue("relay.test", "127.0.0.1"))
    new_relay.configure(*routes(module_sink), listeners=listeners(new_relay))
    return new_relay.start()


def routes(sink: Sink) -> tuple[Route, ...]:
    moved = Reject(code=550, message="Moved away")
    return route(to(sink.port)), route(moved, recipients=["*@moved.test"], name="test/moved")


def listeners(relay: RelayProcess) -> tuple[Listener, ...]:
    return (listener(relay.port, tls=ListenerTLS.OPPORTUNISTIC, certificate="relay-tls"),)


@pytest.fixture(scope="module")
def postfix(folder: Path, relay: RelayProcess, authority: Authority) -> Iterator[Postfix]:
    """Sends everything to the relay, over TLS with a verified certificate or not at all."""
    with Postfix(
        folder,
        relay_to_port=relay.port,
        smtp_tls_security_level="verify",
        smtp_tls_verify_cert_match="relay.test",
        smtp_tls_CAfile=str(authority.file),
        smtp_tls_loglevel="1",
        queue_run_delay="1s",
        minimal_backoff_time="1s",
    ) as running:
        yield running


def test_postfix_verifies_our_certificate_and_sends(
    relay: RelayProcess, postfix: Postfix, sink: Sink
) -> None:
    """Postfix calls the connection verified, and our Received field says ESMTPS."""
    clients.send(postfix.port, ANN, "bob@next.test", clients.mail("over TLS"))
    (received,) = sink.wait(1)
    assert received.recipients == ("bob@next.test",)
    assert b"ESMTPS" in received.content.partition(b"mx.postfix.test (Postfix)")[0]
    assert "Verified TLS connection established to 127.0.0.1" in postfix.log()
    assert "TLSv1.3" in postfix.log()


def test_a_load_through_postfix_arrives_once_each(relay: RelayProcess, postfix: Postfix, sink: Sink) -> None:
    """300 mails that Postfix pipelines over parallel connections: all arrive, nothing is deferred."""
    before = len(postfix.log())
    clients.smtp_source(postfix.port, 300, length=3000)
    received = sink.wait(300, within_s=40)
    until(lambda: relay.queued() == 0 and postfix.queued() == 0, "empty queues")
    assert len(received) == 300
    assert "status=deferred" not in postfix.log()[before:]
    assert "status=bounced" not in postfix.log()[before:]


def test_many_recipients_are_one_pipelined_transaction(
    relay: RelayProcess, postfix: Postfix, sink: Sink
) -> None:
    """50 recipients of one mail: Postfix's RCPTs come in one packet, and leave in one transaction."""
    everybody = [f"r{n}@next.test" for n in range(50)]
    clients.send(postfix.port, ANN, everybody, clients.mail("to fifty"))
    (received,) = sink.wait(1)
    assert sorted(received.recipients) == sorted(everybody)


def test_a_refusal_is_postfixs_to_report(relay: RelayProcess, postfix: Postfix, sink: Sink) -> None:
    """Refused at RCPT, the mail never was ours: Postfix writes the report, quoting our reply."""
    clients.send(postfix.port, ANN, ["bob@moved.test", "carol@next.test"], clients.mail("half refused"))
    sink.wait(2)
    assert [r.recipients for r in sink.received if r.sender] == [("carol@next.test",)]
    (bounce,) = sink.to(ANN)
    report = reports.read(bounce.content)
    assert "mx.postfix.test" in report.message["Reporting-MTA"]
    assert "550 5.7.1" in report.recipients[0]["Diagnostic-Code"]
    assert "Moved away" in report.recipients[0]["Diagnostic-Code"]


def test_receipts_asked_of_postfix_are_written_by_the_last_hop_with_dsn(
    relay: RelayProcess, postfix: Postfix, sink: Sink
) -> None:
    """Postfix passes NOTIFY, ENVID and ORCPT on to us; our next hop has no DSN, so the report is ours."""
    clients.converse(
        postfix.port,
        f"MAIL FROM:<{ANN}> RET=HDRS ENVID=order+2D7",
        "RCPT TO:<bob@next.test> NOTIFY=SUCCESS ORCPT=rfc822;robert@next.test",
        content=clients.mail("with receipt"),
    )
    sink.wait(2)
    (received,) = sink.to(ANN)
    report = reports.read(received.content)
    (recipient,) = report.recipients
    assert recipient["Action"] == "relayed"
    assert recipient["Original-Recipient"].replace(" ", "") == "rfc822;robert@next.test"
    assert report.message["Original-Envelope-Id"] == "order-7"
    assert "relay.test" in report.message["Reporting-MTA"]


def test_internationalized_mail_from_postfix(relay: RelayProcess, postfix: Postfix, sink: Sink) -> None:
    """Postfix sends SMTPUTF8 mail only where it is offered; it is, and the addresses stay as they are."""
    clients.converse(
        postfix.port,
        "MAIL FROM:<jörg@shop.test> SMTPUTF8 BODY=8BITMIME",
        "RCPT TO:<dörte@next.test>",
        content="Subject: Grüße\r\n\r\nschön\r\n".encode(),
    )
    (received,) = sink.wait(1)
    assert (received.sender, received.recipients) == ("jörg@shop.test", ("dörte@next.test",))
    assert "Subject: Grüße\r\n".encode() in received.content


def test_a_full_queue_makes_postfix_wait_and_not_bounce(
    relay: RelayProcess, postfix: Postfix, sink: Sink
) -> None:
    """Our 452 is temporary for Postfix: it keeps the mail and brings it again when there is room."""
    before = len(postfix.log())
    relay.apply(*routes(sink), listeners=listeners(relay), queue=Queue(max_bytes=1))
    clients.send(postfix.port, ANN, "bob@next.test", clients.mail("no room yet"))
    until(lambda: "452 4.3.1" in postfix.log()[before:], "Postfix to log our 452")
    until(lambda: "status=deferred" in postfix.log()[before:], "Postfix to defer the mail")
    assert sink.received == []
    relay.apply(*routes(sink), listeners=listeners(relay))
    (received,) = sink.wait(1)
    assert received.recipients == ("bob@next.test",)
