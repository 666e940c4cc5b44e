"""What a transaction says about the destination, not about the mail. Pure.

The verdict moves the lane's window. The trouble is what mail is told that
waits for the same destination and cannot be attempted: nothing of it may
quote an answer about somebody else's recipient.
"""

from waystation_relay.delivery.transaction import Result
from waystation_relay.mail.outcome import Deferred, Outcome, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import Verdict

_SLOW_DOWN = reply(451, "4.4.5", "the destination asks to slow down")
_BROKEN = reply(451, "4.4.2", "the destination broke off the connection")
_OF_THE_CONNECTION = frozenset({Reason.CONNECT, Reason.PROTOCOL})


def is_stale(result: Result) -> bool:
    """The connection had ended before anything was said on it: about the destination that says nothing."""
    return result.connection_lost and len(result.again) == len(result.outcomes)


def verdict_of(result: Result) -> Verdict:
    if result.connection_lost:
        return Verdict.BROKEN
    if any(_asks_to_slow_down(outcome) for outcome in _told(result)):
        return Verdict.BUSY
    return Verdict.GOOD


def trouble_of(result: Result, verdict: Verdict) -> Deferred | None:
    if verdict is Verdict.GOOD:
        return None
    deferred = [outcome for outcome in _told(result) if isinstance(outcome, Deferred)]
    if verdict is Verdict.BUSY:
        cause = next(outcome for outcome in deferred if _asks_to_slow_down(outcome))
        return Deferred(_SLOW_DOWN, Reason.THROTTLED, cause.remote, cause.retry_after_s)
    for outcome in deferred:
        if outcome.reason in _OF_THE_CONNECTION:
            return outcome
    return Deferred(_BROKEN, Reason.CONNECT, deferred[0].remote if deferred else None)


def _asks_to_slow_down(outcome: Outcome) -> bool:
    return isinstance(outcome, Deferred) and outcome.reason is Reason.THROTTLED


def _told(result: Result) -> tuple[Outcome, ...]:
    """Without the recipients that only had no room in this transaction: that is no complaint."""
    if not result.again:
        return result.outcomes
    again = set(result.again)
    return tuple([outcome for place, outcome in enumerate(result.outcomes) if place not in again])
