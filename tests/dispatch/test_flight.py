"""What a message in memory takes over when a person changes it on disk."""

import msgspec
from tests.support.mail import NOON, message

from waystation_relay.dispatch.flight import Flight
from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Failed, Reason
from waystation_relay.mail.reply import reply

MAIL = message("a@x.test", "b@x.test", "c@x.test")


def flight(*rows: Progress) -> Flight:
    return Flight(MAIL, {row.number: row for row in rows})


def stored(*rows: Progress):
    return msgspec.structs.replace(MAIL, pending=rows)


def test_a_hold_is_taken_over_and_nothing_else():
    """The stored row may be older than the attempt that just ended: its count and times are not believed."""
    flying = flight(Progress(0, due=NOON + 600, attempts=3))
    held = Progress(0, status=Status.HELD, due=NOON, attempts=2, hold_reason="wait")
    flying.refresh(stored(held), due=False)
    assert flying.progress[0] == Progress(
        0, status=Status.HELD, due=NOON + 600, attempts=3, hold_reason="wait"
    )
    assert flying.touched


def test_a_retry_brings_its_time():
    """ "Retry now" changes the due time, so that is taken over too."""
    flying = flight(Progress(0, due=NOON + 600, attempts=3))
    flying.refresh(stored(Progress(0, due=NOON + 5, attempts=2)), due=True)
    assert flying.progress[0] == Progress(0, due=NOON + 5, attempts=3)


def test_a_settled_recipient_does_not_come_back():
    """A row read before its delivery was recorded brings nobody back to life."""
    flying = flight(Progress(1))
    flying.refresh(stored(Progress(0), Progress(1)), due=True)
    assert list(flying.progress) == [1]


def test_deleted_recipients_leave():
    """Whoever is no longer stored is no longer attempted; nothing stored at all: the message was deleted."""
    flying = flight(Progress(0), Progress(1))
    flying.refresh(stored(Progress(1)), due=False)
    assert list(flying.progress) == [1]
    flying.refresh(None, due=False)
    assert flying.progress == {}


def test_verdicts_add_up():
    """Two people's words on different recipients both count; on the same one the later."""
    first = Failed(reply(554, "5.7.0", "first"), Reason.OPERATOR)
    second = Failed(reply(554, "5.7.0", "second"), Reason.OPERATOR)
    flying = flight(Progress(0), Progress(1), Progress(2))
    flying.overrule({0: first, 1: first})
    flying.overrule({1: second, 2: second})
    assert flying.verdicts == {0: first, 1: second, 2: second}
