"""Whom a report goes to, and when there is none (RFC 3461 §4.1, §5; RFC 5321 §6.1)."""

import pytest
from tests.support.bounces import DELIVERED, FULL, LATER, NOW, REFUSED, RELAYED, message, recipient

from waystation_relay.bounce.notices import Kind, Settled, plan
from waystation_relay.mail.envelope import Notify
from waystation_relay.mail.outcome import Delivered, Outcome
from waystation_relay.mail.reply import reply

PASSED = Delivered(reply(250, "2.0.0", "queued"), dsn_passed=True)
ALL = Notify.SUCCESS | Notify.FAILURE | Notify.DELAY

TABLE = [
    # outcome, NOTIFY, the report
    (REFUSED, Notify.DEFAULT, Kind.FAILURE),
    (REFUSED, Notify.FAILURE, Kind.FAILURE),
    (REFUSED, ALL, Kind.FAILURE),
    (REFUSED, Notify.NEVER, None),
    (REFUSED, Notify.SUCCESS, None),
    (REFUSED, Notify.DELAY, None),
    (LATER, Notify.DEFAULT, Kind.DELAY),
    (LATER, Notify.DELAY, Kind.DELAY),
    (LATER, Notify.FAILURE, None),
    (LATER, Notify.NEVER, None),
    (RELAYED, Notify.DEFAULT, None),
    (RELAYED, Notify.NEVER, None),
    (RELAYED, Notify.FAILURE, None),
    (RELAYED, Notify.SUCCESS, Kind.SUCCESS),
    (DELIVERED, Notify.SUCCESS | Notify.FAILURE, Kind.SUCCESS),
    (PASSED, Notify.SUCCESS, None),
]


def settled(*outcomes: Outcome) -> list[Settled]:
    return [Settled(number, outcome, NOW) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcome", "notify", "kind"),
    TABLE,
    ids=[f"{type(o).__name__}-{n!r}-{k}" for o, n, k in TABLE],
)
def test_notify_decides(outcome: Outcome, notify: Notify, kind: Kind | None) -> None:
    """The sender hears exactly what NOTIFY asked for; without NOTIFY, of failures and delays."""
    planned = plan(message(recipient("bob@next.test", notify)), settled(outcome), postmaster="pm@shop.test")
    assert [(n.kind, n.to) for n in planned.notices] == ([(kind, "ann@shop.test")] if kind else [])
    assert planned.kept == ()


def test_recipients_that_fail_together_share_a_report() -> None:
    """Three failures, one success and one delay make three reports, each with its recipients."""
    people = [recipient(f"r{n}@next.test", ALL) for n in range(5)]
    planned = plan(message(*people), settled(REFUSED, RELAYED, FULL, LATER, REFUSED))
    assert {n.kind: [s.number for s in n.settled] for n in planned.notices} == {
        Kind.FAILURE: [0, 2, 4],
        Kind.DELAY: [3],
        Kind.SUCCESS: [1],
    }


def test_null_sender_failure_goes_to_the_postmaster() -> None:
    """A bounce that bounces is the postmaster's, who gets one report of all its failures."""
    planned = plan(
        message(recipient("a@x.test"), recipient("b@x.test"), sender=""),
        settled(REFUSED, FULL),
        postmaster="pm@shop.test",
    )
    (notice,) = planned.notices
    assert (notice.kind, notice.to, len(notice.settled)) == (Kind.DOUBLE, "pm@shop.test", 2)
    assert planned.kept == ()


def test_null_sender_failure_without_postmaster_is_kept() -> None:
    """With nobody to tell, the message stays in the queue and says why."""
    planned = plan(message(sender=""), settled(REFUSED))
    assert planned.notices == ()
    (kept,) = planned.kept
    assert kept.number == 0
    assert "no such mailbox" in kept.reason
    assert "postmaster" in kept.reason


@pytest.mark.parametrize("address", ["pm@shop.test", "PM@Shop.TEST", "pm@SHOP.test"])
def test_report_to_the_postmaster_that_fails_is_kept(address: str) -> None:
    """The end of the line: no report about the postmaster's own report, however the address is spelled."""
    planned = plan(message(recipient(address), sender=""), settled(REFUSED), postmaster="pm@shop.test")
    assert planned.notices == ()
    assert [k.number for k in planned.kept] == [0]


def test_postmasters_failure_among_others() -> None:
    """One message to the postmaster and somebody else: the other is reported, the postmaster's is kept."""
    planned = plan(
        message(recipient("a@x.test"), recipient("pm@shop.test"), sender=""),
        settled(REFUSED, REFUSED),
        postmaster="pm@shop.test",
    )
    assert [s.number for n in planned.notices for s in n.settled] == [0]
    assert [k.number for k in planned.kept] == [1]


@pytest.mark.parametrize("outcome", [LATER, RELAYED, DELIVERED], ids=["delayed", "relayed", "delivered"])
def test_null_sender_hears_of_nothing_but_failure(outcome: Outcome) -> None:
    """Nobody waits for news of a bounce: no delay warning, no success notice."""
    planned = plan(message(recipient("a@x.test", ALL), sender=""), settled(outcome), postmaster="pm@x.test")
    assert planned == plan(message(), [])


def test_null_sender_failure_with_never_is_dropped_as_asked() -> None:
    """NOTIFY=NEVER is respected with the null sender too: it asks for exactly that."""
    planned = plan(message(recipient("a@x.test", Notify.NEVER), sender=""), settled(REFUSED))
    assert planned == plan(message(), [])
