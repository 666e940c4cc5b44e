"""May this message begin? Asked at MAIL, before anything of it is taken."""

from collections.abc import Callable

import msgspec

from waystation_relay.mail.reply import reply
from waystation_relay.policy.verdict import Refusal, Why


class MailFacts(msgspec.Struct, frozen=True, gc=False):
    """``size_bytes`` is what the client announced (RFC 1870). ``storage_full``: ``None`` when the spool takes
    mail, else whether lack of room is why it does not."""

    tls_missing: bool
    size_bytes: int | None
    max_message_bytes: int
    storage_full: bool | None


TLS_REQUIRED = Refusal(reply(530, "5.7.0", "Must issue a STARTTLS command first"), Why.TLS_REQUIRED)
QUEUE_FULL = Refusal(reply(452, "4.3.1", "Insufficient system storage, try again later"), Why.QUEUE_FULL)
STORAGE = Refusal(reply(451, "4.3.0", "Local trouble with storage, try again later"), Why.STORAGE)


def too_large(most_bytes: int) -> Refusal:
    return Refusal(
        reply(552, "5.3.4", f"Message too large, at most {most_bytes} bytes are taken"), Why.TOO_LARGE
    )


def _tls(facts: MailFacts) -> Refusal | None:
    return TLS_REQUIRED if facts.tls_missing else None


def _room(facts: MailFacts) -> Refusal | None:
    if facts.storage_full is None:
        return None
    return QUEUE_FULL if facts.storage_full else STORAGE


def _size(facts: MailFacts) -> Refusal | None:
    announced, most = facts.size_bytes, facts.max_message_bytes
    return too_large(most) if announced is not None and announced > most else None


CHECKS: tuple[Callable[[MailFacts], Refusal | None], ...] = (_tls, _size, _room)


def judge(facts: MailFacts) -> Refusal | None:
    """The first objection."""
    for check in CHECKS:
        refusal = check(facts)
        if refusal is not None:
            return refusal
    return None
