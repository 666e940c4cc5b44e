"""Mail that cannot be delivered comes back with the reason; mail that cannot be delivered yet waits."""

import pytest
from tests.support import clients, reports
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Reject, Retry


@pytest.fixture(scope="module")
def relay(module_relay: RelayProcess, module_sink: Sink) -> RelayProcess:
    """Mail for shop.test (the senders) and next.test goes to the sink; down.test's server is never up."""
    module_relay.configure(
        route(to(module_sink.port), recipients=["*@shop.test", "*@next.test"], name="test/sink"),
        route(
            to(free_port()),
            recipients=["*@down.test"],
            name="test/down",
            retry=Retry(first_s=0.2, max_s=0.2, expire_after_s=1.5, warn_after_s=0.5, jitter_percent=0),
        ),
        route(Reject(message="No mail for this domain"), recipients=["*@refused.test"], name="test/refused"),
        route(
            to(free_port(), priority=0),
            to(module_sink.port, priority=1),
            recipients=["*@spare.test"],
            name="test/spare",
        ),
        postmaster="postmaster@shop.test",
    )
    return module_relay.start()


@pytest.fixture
def sink(module_sink: Sink) -> Sink:
    module_sink.received.clear()
    module_sink.answers.clear()
    module_sink.at_data = "250 2.0.0 kept"
    return module_sink


def test_refused_recipient_bounces_to_the_sender(relay: RelayProcess, sink: Sink) -> None:
    """One of two recipients is unknown: the other gets the mail, the sender an RFC 3464 report of the one."""
    sink.answers["nobody@next.test"] = ["550 5.1.1 no such mailbox"]
    clients.send(relay.port, "ann@shop.test", ["nobody@next.test", "bob@next.test"], clients.mail("hi bob"))
    sink.wait(2)
    (bounce,) = sink.to("ann@shop.test")
    assert sink.to("bob@next.test")
    assert bounce.sender == ""
    report = reports.read(bounce.content)
    (group,) = report.recipients
    assert group["Final-Recipient"].replace(" ", "") == "rfc822;nobody@next.test"
    assert (group["Action"], group["Status"]) == ("failed", "5.1.1")
    assert "no such mailbox" in group["Diagnostic-Code"]
    assert b"Subject: hi bob" in bounce.content
    assert "nobody@next.test" in report.human
    assert "no such mailbox" in report.human
    until(lambda: relay.queued() == 0, "an empty queue")


def test_a_bounce_is_never_bounced(relay: RelayProcess, sink: Sink) -> None:
    """A report that its sender's server refuses goes to the postmaster, and nowhere from there."""
    sink.answers["gone@shop.test"] = ["550 5.1.1 no such mailbox"]
    sink.answers["nobody@next.test"] = ["550 5.1.1 no such mailbox"]
    clients.send(relay.port, "gone@shop.test", "nobody@next.test", clients.mail("lost"))
    until(lambda: sink.to("postmaster@shop.test"), "the double bounce")
    (received,) = sink.received
    assert received.sender == ""
    until(lambda: relay.queued() == 0, "an empty queue")


def test_null_sender_mail_that_fails_makes_no_report_to_anybody_else(relay: RelayProcess, sink: Sink) -> None:
    """A stranger's own bounce that cannot be delivered ends at our postmaster."""
    sink.answers["nobody@next.test"] = ["550 5.1.1 no such mailbox"]
    clients.send(relay.port, "", "nobody@next.test", clients.mail("a bounce"))
    until(lambda: relay.queued() == 0, "an empty queue")
    assert {r.recipients for r in sink.received} <= {("postmaster@shop.test",)}


def test_greylisted_mail_arrives_at_the_second_attempt(relay: RelayProcess, sink: Sink) -> None:
    """A 450 means later, not never."""
    sink.answers["grey@next.test"] = ["450 4.7.1 greylisted, come back", "250 2.1.5 ok"]
    clients.send(relay.port, "ann@shop.test", "grey@next.test", clients.mail("patience"))
    (received,) = sink.wait(1)
    assert received.recipients == ("grey@next.test",)
    until(lambda: relay.queued() == 0, "an empty queue")


def test_delayed_then_expired(relay: RelayProcess, sink: Sink) -> None:
    """A server that stays away: first a warning that mail is delayed, at the end of its time a failure."""
    clients.send(relay.port, "ann@shop.test", "bob@down.test", clients.mail("too late"))
    first, second = sink.wait(2)
    delayed, failed = (reports.read(received.content).recipients[0] for received in (first, second))
    assert (delayed["Action"], failed["Action"]) == ("delayed", "failed")
    assert failed["Status"].startswith(("4.4", "5.4"))
    until(lambda: relay.queued() == 0, "an empty queue")


def test_rejecting_route_answers_at_rcpt(relay: RelayProcess, sink: Sink) -> None:
    """A reject backend says no while the client is still there: no mail is taken, no bounce is made."""
    run = clients.swaks(relay.port, "--from", "ann@shop.test", "--to", "bob@refused.test")
    assert run.returncode != 0
    assert "550 5.7.1" in run.stdout
    assert "No mail for this domain" in run.stdout
    assert sink.received == []


def test_second_backend_takes_over(relay: RelayProcess, sink: Sink) -> None:
    """The first backend's server is down: the same attempt goes on to the next priority."""
    clients.send(relay.port, "ann@shop.test", "bob@spare.test", clients.mail("spare wheel"))
    assert sink.wait(1, within_s=5)[0].recipients == ("bob@spare.test",)


def test_success_is_reported_when_asked_for(relay: RelayProcess, sink: Sink) -> None:
    """NOTIFY=SUCCESS, but the next hop has no DSN: the relay says "relayed", naming ENVID and ORCPT."""
    clients.converse(
        relay.port,
        "MAIL FROM:<ann@shop.test> RET=HDRS ENVID=order+2D7",
        "RCPT TO:<bob@next.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;robert@next.test",
        content=clients.mail("proof"),
    )
    sink.wait(2)
    (received,) = sink.to("ann@shop.test")
    (group,) = reports.read(received.content).recipients
    assert group["Action"] == "relayed"
    assert "robert@next.test" in group["Original-Recipient"]
    assert b"order-7" in received.content
