"""A server's reply becomes a ``Reason`` and, where it gave none, an enhanced status code. Pure.

``RULES`` is read from top to bottom; the first rule whose every given field
fits decides. docs/delivery.md shows this very table (a test compares them).

Known limits
    Words are English; servers that answer in other languages are judged by
    their codes alone.
"""

import dataclasses
import enum
import functools
import re

from waystation_relay.mail.outcome import Reason
from waystation_relay.mail.reply import Reply


class At(enum.StrEnum):
    """Which command was answered."""

    CONNECT = "greeting"  # and EHLO
    MAIL = "MAIL"
    RCPT = "RCPT"
    CONTENT = "content"  # DATA, BDAT and the end of data


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """Empty fields fit anything. ``enhanced`` is compared without its class; ``5.1.x`` counts as ``1.x``."""

    reason: Reason
    codes: tuple[int, ...] = ()
    at: tuple[At, ...] = ()
    enhanced: tuple[str, ...] = ()
    words: str = ""  # alternatives, separated by |
    temporary: bool | None = None

    def fits(self, reply: Reply, at: At) -> bool:
        return (
            (self.temporary is None or self.temporary == reply.is_temporary)
            and (not self.codes or reply.code in self.codes)
            and (not self.at or at in self.at)
            and (not self.enhanced or _detail(reply.enhanced, self.enhanced))
            and (not self.words or _pattern(self.words).search(reply.text) is not None)
        )


def _detail(enhanced: str, wanted: tuple[str, ...]) -> bool:
    detail = enhanced[2:]
    return bool(detail) and (detail in wanted or f"{detail.partition('.')[0]}.x" in wanted)


@functools.cache
def _pattern(words: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"\b{re.escape(w)}" for w in words.split("|")), re.IGNORECASE)


# No room for this one in this transaction, or 552 from servers of old (RFC 5321 §4.5.3.1.10).
CROWDED = Rule(
    Reason.THROTTLED,
    codes=(452, 552),
    at=(At.RCPT,),
    words="too many recipients|too many rcpts|recipient limit",
)
RULES: tuple[Rule, ...] = (
    CROWDED,
    Rule(
        Reason.GREYLISTED, words="greylist|graylist|grey-list|gray-list|grey list|gray list", temporary=True
    ),
    Rule(Reason.LOOP, enhanced=("4.6", "4.14")),
    Rule(Reason.LOOP, words="too many hops|mail loop|loops back|hop count"),
    Rule(Reason.MAILBOX_FULL, enhanced=("2.2",)),
    Rule(Reason.TOO_LARGE, enhanced=("2.3", "3.4")),
    Rule(Reason.AUTH, codes=(530, 534, 535, 538)),
    Rule(Reason.THROTTLED, enhanced=("4.5", "5.3")),
    Rule(
        Reason.THROTTLED,
        words="too many|rate limit|ratelimit|rate-limit|throttl|slow down|too quickly|too fast|too much mail",
        temporary=True,
    ),
    Rule(Reason.CONNECT, codes=(421,), enhanced=("4.1", "4.2")),
    Rule(Reason.THROTTLED, codes=(421,)),
    Rule(Reason.ADDRESS, enhanced=("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.10", "2.1", "2.4")),
    Rule(Reason.POLICY, enhanced=("1.7", "1.8", "7.x")),
    Rule(Reason.ADDRESS, at=(At.RCPT,), enhanced=("4.1", "4.3", "4.4", "5.0"), temporary=False),
    Rule(Reason.CONTENT, enhanced=("6.x",)),
    Rule(
        Reason.MAILBOX_FULL,
        words="mailbox full|mailbox is full|mailbox exceeded|quota exceeded|over quota|overquota"
        "|exceeds quota|exceeded storage|out of storage",
    ),
    Rule(Reason.TOO_LARGE, words="message too large|message too big|message size|size limit|too large"),
    Rule(
        Reason.ADDRESS,
        words="user unknown|unknown user|unknown recipient|no such user|no such recipient|no mailbox"
        "|does not exist|recipient rejected|mailbox unavailable|mailbox not found|invalid recipient"
        "|user not found",
        at=(At.RCPT,),
    ),
    Rule(
        Reason.POLICY,
        words="spam|blocked|blacklist|blocklist|denylist|reputation|spf|dkim|dmarc|policy|denied|not allowed"
        "|virus|relay",
    ),
    Rule(Reason.TOO_LARGE, codes=(552,), at=(At.MAIL, At.CONTENT)),
    Rule(Reason.MAILBOX_FULL, codes=(552,)),
    Rule(Reason.ADDRESS, codes=(550, 551, 553), at=(At.RCPT,)),
    Rule(Reason.ADDRESS, codes=(521, 556)),
    Rule(Reason.POLICY, codes=(550, 553, 554)),
    Rule(Reason.CONTENT, codes=(555,)),
    Rule(Reason.PROTOCOL, codes=(500, 501, 502, 503, 504)),
    Rule(Reason.PROTOCOL, enhanced=("5.x",)),
)


def reason(reply: Reply, at: At) -> Reason:
    """Why a 4yz or 5yz reply was given, as well as it can be told."""
    return next((rule.reason for rule in RULES if rule.fits(reply, at)), Reason.OTHER)


# Where the server gave no enhanced code, its detail follows from what the reply was found to mean …
_DETAIL_OF_REASON = {
    Reason.POLICY: "7.0",
    Reason.MAILBOX_FULL: "2.2",
    Reason.TOO_LARGE: "3.4",
    Reason.LOOP: "4.6",
    Reason.GREYLISTED: "7.1",
    Reason.CONTENT: "6.0",
}
# … else from the basic code (RFC 5321 §4.2.2, RFC 4954 §6, RFC 7504).
_DETAIL_OF_CODE = {
    421: "3.2", 451: "3.0", 452: "3.1", 454: "7.0", 455: "5.4",
    500: "5.2", 501: "5.4", 502: "5.1", 503: "5.1", 504: "5.4", 521: "3.2", 530: "7.0", 534: "7.9",
    535: "7.8", 538: "7.11", 550: "1.1", 551: "1.6", 553: "1.3", 556: "1.10",
}  # fmt: skip


def explained(reply: Reply, at: At) -> tuple[Reply, Reason]:
    """A negative reply, with an enhanced code whether it had one or not, and its reason."""
    why = reason(reply, at)
    if reply.enhanced:
        return reply, why
    if CROWDED.fits(reply, at):
        detail = "5.3"
    else:
        detail = _DETAIL_OF_REASON.get(why) or _DETAIL_OF_CODE.get(reply.code, "0.0")
    return Reply(reply.code, f"{reply.code // 100}.{detail}", reply.lines), why


def is_too_many_recipients(reply: Reply) -> bool:
    """Of a reply to RCPT: the server takes no more in this transaction."""
    return CROWDED.fits(reply, At.RCPT) or (reply.code in CROWDED.codes and reply.enhanced[1:] == ".5.3")
