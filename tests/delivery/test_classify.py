"""What a refusal means: one word for people and metrics, and a status code where none was given."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tables import table

from waystation_relay.delivery import classify
from waystation_relay.delivery.classify import RULES, At, Rule
from waystation_relay.mail.outcome import Reason
from waystation_relay.mail.reply import Reply
from waystation_relay.wire.response import Responses


def said(line: str) -> Reply:
    (reply,) = Responses().receive(f"{line}\r\n".encode())
    return reply


def in_words(rule: Rule) -> dict[str, str]:
    """A rule as a row of docs/delivery.md."""
    kind = {None: "", True: "temporary", False: "permanent"}[rule.temporary]
    return {
        "reason": str(rule.reason),
        "codes": ", ".join(map(str, rule.codes)),
        "answer to": ", ".join(rule.at),
        "enhanced": ", ".join(f"x.{detail}" for detail in rule.enhanced),
        "words": ", ".join(rule.words.split("|")) if rule.words else "",
        "only": kind,
    }


def test_documented_rules_are_the_rules() -> None:
    """docs/delivery.md shows the rules in their order, with all their words."""
    rows = table("delivery.md", "reason", "codes", "answer to", "enhanced", "words", "only")
    assert rows == [in_words(rule) for rule in RULES]


@pytest.mark.parametrize(
    ("line", "at", "reason"),
    [
        # As servers say it in the world.
        ("550 5.1.1 The email account that you tried to reach does not exist.", At.RCPT, Reason.ADDRESS),
        ("550 5.1.1 <x@y>: Recipient address rejected: User unknown in table", At.RCPT, Reason.ADDRESS),
        ("550 5.4.1 Recipient address rejected: Access denied.", At.RCPT, Reason.ADDRESS),
        ("550 5.5.0 Requested action not taken: mailbox unavailable", At.RCPT, Reason.ADDRESS),
        ("550 No such user here", At.RCPT, Reason.ADDRESS),
        ("550 sorry", At.RCPT, Reason.ADDRESS),
        ("550 sorry", At.CONTENT, Reason.POLICY),
        ("553 sorry", At.MAIL, Reason.POLICY),
        ("551 User not local; please try <x@z>", At.RCPT, Reason.ADDRESS),
        ("556 5.1.10 domain takes no mail", At.RCPT, Reason.ADDRESS),
        ("552 5.2.2 Mailbox full", At.RCPT, Reason.MAILBOX_FULL),
        ("452 4.2.2 The recipient's inbox is out of storage space.", At.RCPT, Reason.MAILBOX_FULL),
        ("552 over quota", At.CONTENT, Reason.MAILBOX_FULL),
        ("550 Quota exceeded (mailbox for user is full)", At.CONTENT, Reason.MAILBOX_FULL),
        ("552 sorry", At.RCPT, Reason.MAILBOX_FULL),
        ("552 sorry", At.MAIL, Reason.TOO_LARGE),
        ("552 5.3.4 Message size exceeds fixed limit", At.MAIL, Reason.TOO_LARGE),
        ("554 Message too large", At.CONTENT, Reason.TOO_LARGE),
        ("450 4.2.0 <x@y>: Recipient address rejected: Greylisted", At.RCPT, Reason.GREYLISTED),
        ("451 4.7.1 Greylisting in action, please come back later", At.RCPT, Reason.GREYLISTED),
        ("550 5.7.1 you are on our greylist", At.RCPT, Reason.POLICY),
        ("421 4.7.0 Try again later, closing connection.", At.CONNECT, Reason.THROTTLED),
        ("421 4.4.2 Connection timed out", At.MAIL, Reason.CONNECT),
        ("421 bye", At.CONTENT, Reason.THROTTLED),
        ("450 4.2.1 The user is receiving mail too quickly.", At.RCPT, Reason.THROTTLED),
        ("451 4.7.500 Server busy: too many connections", At.MAIL, Reason.THROTTLED),
        ("452 4.5.3 Too many recipients", At.RCPT, Reason.THROTTLED),
        ("554 5.7.1 Service unavailable; Client host blocked using a list", At.RCPT, Reason.POLICY),
        ("550 5.7.26 Unauthenticated email is not accepted due to DMARC policy", At.CONTENT, Reason.POLICY),
        ("554 5.7.1 <x@y>: Relay access denied", At.RCPT, Reason.POLICY),
        ("554 no", At.CONNECT, Reason.POLICY),
        ("530 5.7.0 Authentication required", At.MAIL, Reason.AUTH),
        ("535 5.7.8 bad credentials", At.CONNECT, Reason.AUTH),
        ("554 5.4.6 Too many hops", At.CONTENT, Reason.LOOP),
        ("550 5.4.14 Hop count exceeded - possible mail loop", At.CONTENT, Reason.LOOP),
        ("554 loops back to myself", At.RCPT, Reason.LOOP),
        ("554 5.6.0 malformed message", At.CONTENT, Reason.CONTENT),
        ("555 unknown parameter", At.MAIL, Reason.CONTENT),
        ("501 5.5.4 syntax", At.MAIL, Reason.PROTOCOL),
        ("503 bad sequence", At.RCPT, Reason.PROTOCOL),
        ("451 4.3.0 local error", At.CONTENT, Reason.OTHER),
        ("452 4.3.1 insufficient system storage", At.MAIL, Reason.OTHER),
        ("554 5.3.0 oh", At.CONTENT, Reason.POLICY),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_reason(line: str, at: At, reason: Reason) -> None:
    """Replies of well-known servers mean what a postmaster reads in them."""
    assert classify.reason(said(line), at) is reason


@pytest.mark.parametrize(
    ("line", "at", "enhanced"),
    [
        ("550 5.2.1 disabled", At.RCPT, "5.2.1"),
        ("550 no such user", At.RCPT, "5.1.1"),
        ("450 mailbox busy", At.RCPT, "4.0.0"),
        ("451 error", At.RCPT, "4.3.0"),
        ("452 no space", At.RCPT, "4.3.1"),
        ("421 bye", At.RCPT, "4.3.2"),
        ("550 spam", At.CONTENT, "5.7.0"),
        ("552 mailbox full", At.RCPT, "5.2.2"),
        ("552 too big", At.CONTENT, "5.3.4"),
        ("450 greylisted", At.RCPT, "4.7.1"),
        ("500 what", At.MAIL, "5.5.2"),
        ("503 what", At.MAIL, "5.5.1"),
        ("556 no mail", At.RCPT, "5.1.10"),
        ("554 too many hops", At.CONTENT, "5.4.6"),
        ("599 eh", At.CONTENT, "5.0.0"),
    ],
)
def test_status_where_none_was_given(line: str, at: At, enhanced: str) -> None:
    """A reply without enhanced status code is given the one that fits; no other is touched."""
    explained, _ = classify.explained(said(line), at)
    assert explained.enhanced == enhanced
    assert explained.lines == said(line).lines


@pytest.mark.parametrize(
    ("line", "too_many"),
    [
        ("452 4.5.3 whatever", True),
        ("552 5.5.3 whatever", True),
        ("452 Too many recipients", True),
        ("552 recipient limit reached", True),
        ("452 4.3.1 disk full", False),
        ("552 mailbox full", False),
        ("550 5.5.3 too many recipients", False),
    ],
)
def test_too_many_recipients(line: str, too_many: bool) -> None:
    """No room in this transaction is told from no room in the mailbox or on the disk."""
    assert classify.is_too_many_recipients(said(line)) is too_many


REPLIES = st.builds(
    Reply,
    st.integers(400, 599),
    st.sampled_from(["", "5.1.1", "4.2.2", "5.7.1", "4.7.999", "5.4.6", "4.0.0"]),
    st.lists(st.text(max_size=60), min_size=1, max_size=3).map(tuple),
)


@given(REPLIES, st.sampled_from(At))
def test_every_refusal_has_a_reason_and_a_status(reply: Reply, at: At) -> None:
    """Whatever a server says, it gets a word and a status of the reply's own class."""
    explained, why = classify.explained(reply, at)
    assert why in Reason
    assert explained.enhanced == (reply.enhanced or explained.enhanced)
    assert explained.enhanced.count(".") == 2
    if not reply.enhanced:
        assert explained.enhanced[0] == str(reply.code)[0]


def witnesses(rule: Rule) -> Iterator[tuple[Reply, At]]:
    """Answers that fit the rule as barely as can be."""
    classes = [4] if rule.temporary else [5] if rule.temporary is False else [4, 5]
    for number in rule.codes or [100 * first + 54 for first in classes]:
        for detail in rule.enhanced or [""]:
            enhanced = f"{number // 100}.{detail.replace('x', '99')}" if detail else ""
            for words in rule.words.split("|"):
                for at in rule.at or At:
                    yield Reply(number, enhanced, (words,)), at


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.reason} {RULES.index(r)}")
def test_no_rule_is_idle(rule: Rule) -> None:
    """Every rule decides something: none is hidden behind those above it."""
    found = list(witnesses(rule))
    assert all(rule.fits(reply, at) for reply, at in found)
    assert any(next(r for r in RULES if r.fits(reply, at)) is rule for reply, at in found)
