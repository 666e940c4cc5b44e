"""What a transaction says about its destination."""

import pytest
from tests.dispatch.world import later, refused, taken

from waystation_relay.delivery.transaction import Result
from waystation_relay.dispatch.health import trouble_of, verdict_of
from waystation_relay.mail.outcome import Deferred, Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import Verdict

MX = Remote("mx.test", "192.0.2.1", 25)
SLOW = later("slow down, <secret@x.test>", Reason.THROTTLED, retry_after_s=300)
CROWDED = Deferred(reply(452, "4.5.3", "no room"), Reason.THROTTLED, MX)
CUT = Deferred(reply(451, "4.4.2", "mx.test closed the connection"), Reason.CONNECT, MX)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        pytest.param(Result((taken(),), reusable=True), Verdict.GOOD, id="taken"),
        pytest.param(Result((refused(),), reusable=True), Verdict.GOOD, id="refused"),
        pytest.param(Result((later(),), reusable=True), Verdict.GOOD, id="deferred"),
        pytest.param(Result((later("x", Reason.GREYLISTED),), reusable=True), Verdict.GOOD, id="greylisted"),
        pytest.param(Result((taken(), SLOW), reusable=True), Verdict.BUSY, id="throttled"),
        pytest.param(Result((taken(), CROWDED), reusable=True, again=(1,)), Verdict.GOOD, id="crowded"),
        pytest.param(
            Result((SLOW, CROWDED), reusable=True, again=(1,)), Verdict.BUSY, id="crowded and throttled"
        ),
        pytest.param(Result((CROWDED,), reusable=True), Verdict.BUSY, id="took nobody"),
        pytest.param(
            Result((taken(),), reusable=False, connection_lost=True), Verdict.BROKEN, id="lost after all"
        ),
        pytest.param(Result((CUT,), reusable=False, connection_lost=True), Verdict.BROKEN, id="lost"),
    ],
)
def test_verdict(result: Result, verdict: Verdict) -> None:
    """Only a lost connection and a plea to slow down are about the destination, nothing else is."""
    assert verdict_of(result) is verdict
    assert (trouble_of(result, verdict) is None) is (verdict is Verdict.GOOD)


def test_throttling_is_told_in_our_words() -> None:
    """Others hear that the destination is busy and for how long, not what it said about somebody's mail."""
    trouble = trouble_of(Result((taken(), SLOW), reusable=True), Verdict.BUSY)
    assert trouble is not None
    assert (trouble.reason, trouble.retry_after_s, trouble.remote) == (Reason.THROTTLED, 300, MX)
    assert "secret" not in str(trouble.reply)


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        pytest.param((later("about <secret@x.test>"), CUT), "closed the connection", id="the loss itself"),
        pytest.param(
            (later("about <secret@x.test>"),), "broke off the connection", id="only a recipient's answer"
        ),
        pytest.param((taken(),), "broke off the connection", id="nothing deferred"),
    ],
)
def test_a_lost_connection_is_told_as_such(outcomes, text) -> None:
    """Mail that waited hears that the connection was lost, not what other mail's recipients were told."""
    trouble = trouble_of(Result(outcomes, reusable=False, connection_lost=True), Verdict.BROKEN)
    assert trouble is not None
    assert text in str(trouble.reply)
    assert trouble.reason is Reason.CONNECT
