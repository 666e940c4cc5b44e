"""What a report says to a person: one plain sentence a reason, and what the reader can do about it.

A table, so that every ``Reason`` has its words (a test compares). English.
"""

from typing import NamedTuple

from waystation_relay.mail.outcome import Reason


class Words(NamedTuple):
    """``why`` completes "It was not delivered: …"; ``remedy`` is addressed to the sender."""

    why: str
    remedy: str


WORDS: dict[Reason, Words] = {
    Reason.ADDRESS: Words(
        "the address does not exist or takes no mail",
        "Check the spelling of the address, or ask the person for the current one by other means.",
    ),
    Reason.MAILBOX_FULL: Words(
        "the mailbox is full",
        "Try again later, or tell the person by other means that the mailbox has no room.",
    ),
    Reason.TOO_LARGE: Words(
        "the message is larger than the receiving server takes",
        "Send a smaller message, for example with a link in place of the attachment.",
    ),
    Reason.POLICY: Words(
        "the receiving server refused it by its rules",
        "Its answer below may say which rule. If your mail should have been taken, show this report "
        "to your own postmaster or, by other means, to the recipient's.",
    ),
    Reason.CONTENT: Words(
        "the message needs a feature that the receiving server lacks",
        "Send it again in a plainer form: unaccented addresses, no 8-bit text.",
    ),
    Reason.GREYLISTED: Words(
        "the receiving server asked for patience",
        "Send it again later; if that fails too, show this report to your postmaster.",
    ),
    Reason.THROTTLED: Words(
        "the receiving server takes mail from here only slowly",
        "Send it again later, and fewer messages at a time.",
    ),
    Reason.CONNECT: Words(
        "the receiving server could not be reached",
        "Check the part of the address after the @. If it is right, send the message again later.",
    ),
    Reason.DNS: Words(
        "the address's domain could not be looked up",
        "Check the part of the address after the @. If it is right, its owner has to repair its DNS.",
    ),
    Reason.TLS: Words(
        "no secure connection to the receiving server could be made, and one is required",
        "Show this report to your postmaster.",
    ),
    Reason.AUTH: Words(
        "the next server does not accept our credentials",
        "Nothing is wrong with your message. Show this report to your postmaster.",
    ),
    Reason.LOOP: Words(
        "the message went in circles",
        "The mail servers on its way are set up wrongly. Show this report to your postmaster.",
    ),
    Reason.EXPIRED: Words(
        "all attempts in the time allowed have failed",
        "Send it again later, or use another address. The last answer below says what was wrong.",
    ),
    Reason.NO_ROUTE: Words(
        "this mail system has no route to the address",
        "Show this report to your postmaster.",
    ),
    Reason.UNAVAILABLE: Words(
        "this mail system was not ready to send to the address",
        "Nothing is wrong with your message. Show this report to your postmaster.",
    ),
    Reason.PROTOCOL: Words(
        "the receiving server answered what makes no sense",
        "Send it again later; if that fails too, show this report to your postmaster.",
    ),
    Reason.STORAGE: Words(
        "our own stored copy could not be read",
        "Send the message again.",
    ),
    Reason.OPERATOR: Words(
        "an operator of this mail system ended the attempts",
        "Ask your postmaster why before you send it again.",
    ),
    Reason.OTHER: Words(
        "the receiving server refused it",
        "Its answer below may say why. Show this report to your postmaster.",
    ),
}


def duration(seconds: float) -> str:
    """``5 days``, ``4 hours``, ``90 seconds``: the largest unit that counts at least two, or exactly one."""
    for name, unit in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = round(seconds / unit)
        if count >= 2 or (count == 1 and abs(seconds - unit) < unit / 20):
            return f"{count} {name}{'s' if count > 1 else ''}"
    count = max(0, round(seconds))
    return f"{count} second{'' if count == 1 else 's'}"
