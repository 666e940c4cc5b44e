"""What an attempt's outcomes mean for the queue. Pure: the time and the dice are arguments.

A delivered or failed recipient leaves; a deferred one gets its next time, or
fails when its days are over; the first deferral past the warning time is
worth a delay notice (RFC 3461 §4.1, RFC 5321 §4.5.4.1).

Invariants
    Every outcome yields exactly one of an update and a removal.
    A deferral says nothing about holding: it neither holds nor releases (the
    spool leaves a recipient held that a person held meanwhile).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import msgspec

from waystation_contract.model import Retry
from waystation_relay.bounce.words import duration
from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason
from waystation_relay.mail.reply import Reply, reply
from waystation_relay.schedule import backoff

Decided = tuple[int, Outcome]


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """``final``: recipients that leave, and why. ``late``: those whose sender is to hear of the delay."""

    updates: tuple[Progress, ...]
    final: tuple[Decided, ...]
    late: tuple[Decided, ...]


def judge(
    message: Message,
    progress: Mapping[int, Progress],
    outcomes: Sequence[Decided],
    retry: Retry,
    now: float,
    roll: Callable[[], float],
) -> Judgement:
    updates: list[Progress] = []
    final: list[Decided] = []
    late: list[Decided] = []
    for number, outcome in outcomes:
        if not isinstance(outcome, Deferred):
            final.append((number, outcome))
            continue
        before = progress[number]
        if now >= backoff.expires_at(retry, message.arrival):
            final.append((number, expired(retry, outcome.reply, outcome)))
            continue
        attempts = before.attempts + 1
        due = backoff.next_attempt(retry, attempts, now, roll(), message.arrival, outcome.retry_after_s)
        warn = not before.warned and 0 < retry.warn_after_s <= now - message.arrival
        if warn:
            late.append((number, outcome))
        updates.append(
            msgspec.structs.replace(
                before,
                status=Status.WAITING,
                hold_reason="",
                due=due,
                attempts=attempts,
                warned=before.warned or warn,
                last_reply=outcome.reply,
                last_reason=outcome.reason,
                last_remote=outcome.remote,
                last_attempt=now,
            )
        )
    return Judgement(tuple(updates), tuple(final), tuple(late))


def overdue(
    message: Message, progress: Mapping[int, Progress], numbers: Sequence[int], retry: Retry, now: float
) -> list[Decided]:
    """The recipients whose time in the queue is over, each as the failure its sender is told of; but none
    that was never attempted, however late we were."""
    if now < backoff.expires_at(retry, message.arrival):
        return []
    return [
        (number, expired(retry, progress[number].last_reply, progress[number]))
        for number in numbers
        if progress[number].attempts
    ]


def expired(retry: Retry, last: Reply | None, history: Deferred | Progress) -> Failed:
    """RFC 3463 X.4.7, delivery time expired, quoting the last answer."""
    text = f"not delivered within {duration(retry.expire_after_s)}"
    if last is not None:
        text = f"{text}; the last answer was: {last}"
    remote = history.remote if isinstance(history, Deferred) else history.last_remote
    return Failed(reply(554, "5.4.7", text), Reason.EXPIRED, remote)


def postponed(progress: Progress, due: float) -> Progress:
    """Not attempted, only looked at again later: no attempt is counted."""
    return msgspec.structs.replace(progress, due=due)


def held(progress: Progress, reason: str) -> Progress:
    return msgspec.structs.replace(progress, status=Status.HELD, hold_reason=reason)


def quarantined(progress: Progress, reason: str) -> Progress:
    """Held by a route. Whoever releases it wants it delivered: no quarantine holds it a second time."""
    return msgspec.structs.replace(held(progress, reason), quarantined=True)


def kept(progress: Progress, outcome: Outcome, reason: str, now: float) -> Progress:
    """Failed, but nobody can be told: held for a person, with what happened."""
    return msgspec.structs.replace(
        held(progress, reason),
        last_reply=outcome.reply,
        last_reason=None if isinstance(outcome, Delivered) else outcome.reason,
        last_remote=outcome.remote,
        last_attempt=now,
    )


NO_ROUTE = Deferred(
    reply(451, "4.4.4", "no route takes this recipient now; add or mend a MailRoute"), Reason.NO_ROUTE
)
NOT_READY = Deferred(reply(451, "4.3.5", "the route for this recipient is not ready"), Reason.UNAVAILABLE)
NO_TURN = Deferred(
    reply(451, "4.4.5", "its turn did not come: the destination takes mail too slowly"), Reason.THROTTLED
)
# ``dsn_passed``: nobody delivered it, so no report may say that somebody did.
DISCARDED = Delivered(reply(250, "2.0.0", "discarded, as the route says"), final=True, dsn_passed=True)
