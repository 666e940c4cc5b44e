"""The part of a report that a person reads."""

import textwrap

from waystation_relay.bounce.fields import HARD_WIDTH, clean, date, pieces
from waystation_relay.bounce.notices import Kind, Notice, Settled
from waystation_relay.bounce.status import action, speaks_for_remote
from waystation_relay.bounce.words import WORDS, duration
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Reason, Remote

RECIPIENTS_TOLD = 50  # the machine-readable part has all
REPLY_CHARACTERS = 1000
WIDTH = 72

SUBJECTS = {
    Kind.FAILURE: "Your message could not be delivered",
    Kind.DELAY: "Your message is delayed, and is still being tried",
    Kind.SUCCESS: "Your message was passed on",
    Kind.DOUBLE: "Undeliverable message without a sender",
}

_OPENINGS = {
    Kind.FAILURE: "Your message of {arrival} could not be delivered to {everyone} below. "
    "No further attempt will be made.",
    Kind.DELAY: "Your message of {arrival} has not yet reached {everyone} below. You need not send it "
    "again: the attempts go on, and you will be told if they end without success.",
    Kind.SUCCESS: "You asked to be told what became of your message of {arrival}.",
    Kind.DOUBLE: "A message of {arrival} could not be delivered to {everyone} below. It came with the "
    "null sender, as reports do, so nobody else can be told: this copy is for the postmaster.",
}


def prose(notice: Notice, message: Message, hostname: str, returned: str) -> str:
    """The text with CRLF line ends; ``returned`` says what of the message follows."""
    told = notice.settled[:RECIPIENTS_TOLD]
    everyone = "the recipient" if len(notice.settled) == 1 else f"the {len(notice.settled)} recipients"
    opening = _OPENINGS[notice.kind].format(arrival=date(message.arrival), everyone=everyone)
    lines = [f"This is the mail system {hostname}.", "", *_wrapped(opening, ""), ""]
    for entry in told:
        lines += [*_recipient(entry, message), ""]
    if more := len(notice.settled) - len(told):
        lines += [f"... and {more} more: the machine-readable part of this report lists them all.", ""]
    lines += [*_wrapped(returned, ""), "", f"Queue id of the message: {message.queue_id}"]
    return "".join(f"{line}\r\n" for line in lines)


def _recipient(entry: Settled, message: Message) -> list[str]:
    outcome = entry.outcome
    lines = [f"<{clean(message.envelope.recipients[entry.number].address, utf8=True)}>"]
    match outcome:
        case Delivered() if action(outcome) == "delivered":
            lines += _wrapped("Delivered to the mailbox.", "    ")
        case Delivered():
            lines += _wrapped(
                "Handed to the next mail server, which gives no reports: this is the last you will hear.",
                "    ",
            )
        case Deferred(reason=reason):
            until = f" The attempts end on {date(entry.retry_until)}." if entry.retry_until else ""
            lines += _wrapped(f"Waiting: {WORDS[reason].why}.{until}", "    ")
        case Failed(reason=reason):
            after = f" (for {duration(entry.at - message.arrival)})" if reason is Reason.EXPIRED else ""
            lines += _wrapped(f"It was not delivered: {WORDS[reason].why}{after}.", "    ")
            lines += _wrapped(WORDS[reason].remedy, "    ")
    said = clean(str(outcome.reply)[:REPLY_CHARACTERS], utf8=True)
    if speaks_for_remote(outcome) and outcome.remote is not None:
        lines += _wrapped(f"The server {_server(outcome.remote)} answered:", "    ")
    else:
        lines += ["    In the mail system's words:"]
    return lines + _wrapped(said, "        ")


def _server(remote: Remote) -> str:
    name = clean(remote.host, utf8=True)
    return f"{name} [{clean(remote.address, utf8=False)}]:{remote.port}"


def _wrapped(text: str, indent: str) -> list[str]:
    """Wrapped at spaces; a word too long for any line is cut."""
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [piece for line in lines for piece in (pieces(line) if len(line) > HARD_WIDTH // 4 else [line])]
