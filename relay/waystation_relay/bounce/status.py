"""The machine-readable part: ``message/delivery-status``, RFC 3464 §2, and its UTF-8 kind of RFC 6533."""

import re

from waystation_relay.bounce.fields import clean, date, field, original_recipient, typed_address, xtext
from waystation_relay.bounce.notices import Notice, Settled
from waystation_relay.mail.envelope import Recipient
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason

DIAGNOSTIC_CHARACTERS = 2000  # of one answer; less where there are many, so that a report stays a letter
DIAGNOSTICS_CHARACTERS = 200_000  # of all answers together
LEAST_CHARACTERS = 200
# Where the reply that decided is ours, though the attempt may have known a remote server.
OUR_WORDS = frozenset(
    {
        Reason.EXPIRED,
        Reason.OPERATOR,
        Reason.CONNECT,
        Reason.DNS,
        Reason.TLS,
        Reason.LOOP,
        Reason.STORAGE,
        Reason.NO_ROUTE,
        Reason.UNAVAILABLE,
    }
)


def action(outcome: Outcome) -> str:
    """RFC 3464 §2.3.3."""
    match outcome:
        case Delivered(final=final):
            return "delivered" if final else "relayed"
        case Deferred():
            return "delayed"
        case Failed():
            return "failed"


_CLASSES = {"delivered": "2", "relayed": "2", "delayed": "4", "failed": "54"}


def status(outcome: Outcome) -> str:
    """RFC 3464 §2.3.4: the reply's enhanced code where it has one that fits, else the class alone."""
    classes = _CLASSES[action(outcome)]
    enhanced = outcome.reply.enhanced
    if re.fullmatch(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", enhanced) and enhanced[0] in classes:
        return enhanced
    return f"{classes[0]}.0.0"


def speaks_for_remote(outcome: Outcome) -> bool:
    """Whether the reply is the remote server's own."""
    return outcome.remote is not None and (isinstance(outcome, Delivered) or outcome.reason not in OUR_WORDS)


def recipient_fields(entry: Settled, recipient: Recipient, *, utf8: bool, characters: int) -> list[str]:
    outcome = entry.outcome
    fields = []
    if recipient.orcpt:
        fields.append(field("Original-Recipient", original_recipient(recipient.orcpt, utf8=utf8)))
    fields += [
        field("Final-Recipient", typed_address(recipient.address, utf8=utf8)),
        field("Action", action(outcome)),
        field("Status", status(outcome)),
    ]
    if outcome.remote is not None and outcome.remote.host:
        fields.append(field("Remote-MTA", f"dns; {clean(outcome.remote.host, utf8=utf8)}"))
    kind = "smtp" if speaks_for_remote(outcome) else "x-waystation"
    said = clean(str(outcome.reply)[:characters], utf8=utf8)
    fields += [
        field("Diagnostic-Code", f"{kind}; {said}"),
        field("Last-Attempt-Date", date(entry.at)),
    ]
    if isinstance(outcome, Deferred) and entry.retry_until is not None:
        fields.append(field("Will-Retry-Until", date(entry.retry_until)))
    return fields


def delivery_status(notice: Notice, message: Message, hostname: str, *, utf8: bool) -> str:
    """The per-message group and one group a recipient, with CRLF line ends."""
    groups = [[field("Reporting-MTA", f"dns; {hostname}")]]
    if message.envelope.envid:
        groups[0].append(field("Original-Envelope-Id", clean(xtext(message.envelope.envid), utf8=False)))
    groups[0].append(field("Arrival-Date", date(message.arrival)))
    share = DIAGNOSTICS_CHARACTERS // len(notice.settled)
    characters = min(DIAGNOSTIC_CHARACTERS, max(LEAST_CHARACTERS, share))
    groups += [
        recipient_fields(entry, message.envelope.recipients[entry.number], utf8=utf8, characters=characters)
        for entry in notice.settled
    ]
    return "\r\n\r\n".join("\r\n".join(group) for group in groups) + "\r\n"
