"""Which reports a message's settled recipients call for, and to whom (RFC 3461 §5, RFC 5321 §6.1).

Called by dispatch with the recipients that are finished or late; answers with
the reports to write and the recipients to keep instead.

Invariants
    A message with the null sender is never answered: what cannot be delivered
    of it goes to the postmaster, or is held when there is none or when it is
    the postmaster who cannot be reached. Nothing is dropped, except failures
    that NOTIFY asked not to hear of.
    Recipients that failed together are in one report; so are late ones, and
    delivered ones. At most one report a kind.
Known limits
    Recipients of one message that fail at different times are reported each
    time.
"""

import enum
from collections.abc import Sequence

import msgspec

from waystation_relay.mail.address import NULL_SENDER, domain_of, split
from waystation_relay.mail.envelope import Notify
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome


class Kind(enum.StrEnum):
    """What a report is about: the ``kind`` of ``waystation_bounces_total``."""

    FAILURE = "failure"
    DELAY = "delay"
    SUCCESS = "success"  # delivered, or relayed to where no report will come from
    DOUBLE = "double"  # to the postmaster: a failure that has no sender to hear of it


class Settled(msgspec.Struct, frozen=True):
    """One recipient's news: what became of it and when (Unix s).

    ``retry_until`` goes with ``Deferred``: when the attempts will end (Unix s).
    """

    number: int
    outcome: Outcome
    at: float
    retry_until: float | None = None


class Notice(msgspec.Struct, frozen=True):
    """A report to write: what about, to whom, on which recipients (one at least)."""

    kind: Kind
    to: str
    settled: tuple[Settled, ...]


class Kept(msgspec.Struct, frozen=True):
    """A recipient that must not leave the queue: there is nobody to tell. ``reason`` is for the person."""

    number: int
    reason: str


class Plan(msgspec.Struct, frozen=True):
    notices: tuple[Notice, ...]
    kept: tuple[Kept, ...]


def plan(message: Message, settled: Sequence[Settled], *, postmaster: str = "") -> Plan:
    """``postmaster``: where double bounces go; "" when nowhere."""
    envelope = message.envelope
    sender = envelope.reverse_path
    told: dict[Kind, list[Settled]] = {}
    kept: list[Kept] = []
    for entry in settled:
        recipient = envelope.recipients[entry.number]
        kind = kind_of(entry.outcome, recipient.notify)
        if kind is None:
            continue
        if sender != NULL_SENDER:
            told.setdefault(kind, []).append(entry)
        elif kind is Kind.FAILURE:
            if not postmaster or same_mailbox(recipient.address, postmaster):
                kept.append(Kept(entry.number, kept_reason(entry.outcome, postmaster)))
            else:
                told.setdefault(Kind.DOUBLE, []).append(entry)
    return Plan(
        tuple(
            Notice(kind, postmaster if kind is Kind.DOUBLE else sender, tuple(told[kind]))
            for kind in Kind
            if kind in told
        ),
        tuple(kept),
    )


def kind_of(outcome: Outcome, notify: Notify) -> Kind | None:
    """What the recipient's NOTIFY makes of an outcome, RFC 3461 §4.1; None: nothing to say."""
    match outcome:
        case Delivered(dsn_passed=passed):
            return Kind.SUCCESS if Notify.SUCCESS in notify and not passed else None
        case Deferred():
            return Kind.DELAY if notify is Notify.DEFAULT or Notify.DELAY in notify else None
        case Failed():
            return Kind.FAILURE if notify is Notify.DEFAULT or Notify.FAILURE in notify else None


def same_mailbox(one: str, other: str) -> bool:
    """Equal but for case. Local parts may tell cases apart; here a false "same" only holds a message."""
    return (split(one)[0].casefold(), domain_of(one)) == (split(other)[0].casefold(), domain_of(other))


def kept_reason(outcome: Outcome, postmaster: str) -> str:
    nobody = (
        "the postmaster's own mail" if postmaster else "no sender to tell, and no postmaster address is set"
    )
    return f"undeliverable, {nobody}: {outcome.reply}"
