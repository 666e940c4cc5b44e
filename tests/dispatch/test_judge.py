"""What an attempt's outcomes mean for the queue."""

import pytest
from tests.support.mail import NOON, message

from waystation_contract.model import Retry
from waystation_relay.dispatch import judge
from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Reason
from waystation_relay.mail.reply import reply

RETRY = Retry(first_s=60, factor=2, max_s=3600, jitter_percent=0, expire_after_s=1000, warn_after_s=300)
OK = Delivered(reply(250, "2.0.0", "ok"))
BUSY = Deferred(reply(451, "4.3.0", "busy"), Reason.OTHER)
NO = Failed(reply(550, "5.1.1", "no such user"), Reason.ADDRESS)


def judged(outcomes, *, age_s=0.0, progress=None):
    mail = message("a@x.test", "b@x.test", "c@x.test")
    known = progress or {p.number: p for p in mail.pending}
    return judge.judge(mail, known, outcomes, RETRY, NOON + age_s, lambda: 0.5)


def test_each_recipient_is_judged_on_its_own():
    """Of three recipients one is delivered, one waits, one bounces: two leave and one gets its next time."""
    result = judged([(0, OK), (1, BUSY), (2, NO)])
    assert [n for n, _ in result.final] == [0, 2]
    (update,) = result.updates
    assert (update.number, update.due, update.attempts) == (1, NOON + 60, 1)
    assert update.last_reply == BUSY.reply
    assert update.last_reason is Reason.OTHER


@pytest.mark.parametrize(
    ("age_s", "gone"),
    [pytest.param(999, False, id="the last second"), pytest.param(1000, True, id="over")],
)
def test_a_deferral_after_the_last_day_is_a_failure(age_s, gone):
    """Mail whose time in the queue is over is given up at its next deferral, with the last answer quoted."""
    result = judged([(0, BUSY)], age_s=age_s)
    assert bool(result.final) is gone
    if gone:
        ((_, outcome),) = result.final
        assert isinstance(outcome, Failed)
        assert outcome.reason is Reason.EXPIRED
        assert outcome.reply.enhanced == "5.4.7"
        assert outcome.reply.text == "not delivered within 17 minutes; the last answer was: 451 4.3.0 busy"


def test_the_sender_hears_of_a_delay_once():
    """The first deferral past the warning time warns; the next one does not again."""
    first = judged([(0, BUSY)], age_s=300)
    assert first.late == ((0, BUSY),)
    again = judged([(0, BUSY)], age_s=400, progress={0: first.updates[0]})
    assert again.late == ()


def test_no_warning_before_its_time():
    """A message deferred early on is nobody's concern yet."""
    assert judged([(0, BUSY)], age_s=299).late == ()


def test_a_deferral_neither_holds_nor_releases():
    """Whether a recipient is held is a person's matter: an attempt that ends says nothing about it."""
    held = Progress(0, status=Status.HELD, hold_reason="asked")
    (update,) = judged([(0, BUSY)], progress={0: held}).updates
    assert update.status is Status.WAITING  # to the spool: no change


def test_the_other_side_may_ask_for_more_time():
    """A retry-after hint moves the next attempt out, never in."""
    slow = Deferred(BUSY.reply, Reason.GREYLISTED, retry_after_s=300)
    assert judged([(0, slow)]).updates[0].due == NOON + 300


def test_what_was_never_attempted_is_not_overdue():
    """After a week with the relay down, every recipient still gets its one attempt before the bounce."""
    mail = message("a@x.test", "b@x.test")
    progress = {0: Progress(0, attempts=0), 1: Progress(1, attempts=3, last_reply=BUSY.reply)}
    late = judge.overdue(mail, progress, (0, 1), RETRY, NOON + 5000)
    assert [n for n, _ in late] == [1]
    assert judge.overdue(mail, progress, (0, 1), RETRY, NOON + 999) == []


def test_quarantine_is_remembered():
    """Once released, the recipient is known to have been in quarantine."""
    held = judge.quarantined(Progress(0, attempts=2), "quarantined by route mail/odd")
    assert (held.status, held.hold_reason, held.quarantined, held.attempts) == (
        Status.HELD, "quarantined by route mail/odd", True, 2,
    )  # fmt: skip
