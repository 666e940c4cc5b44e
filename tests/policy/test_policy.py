"""Who may send what: every check by itself, and which speaks first."""

import pytest
from tests.support.mail import route
from tests.support.tables import table

from waystation_contract.model import MX, Discard, Quarantine, Reject, Route
from waystation_relay.mail.reply import Reply
from waystation_relay.policy import content, recipient, sender
from waystation_relay.policy.recipient import RcptFacts
from waystation_relay.policy.sender import MailFacts
from waystation_relay.policy.verdict import Refusal, Why

NO = Reject(code=554, enhanced="5.7.9", message="Not here")


def brief(refusal: Refusal | None) -> str:
    return f"{refusal.reply.code} {refusal.reply.enhanced} {refusal.why}" if refusal is not None else "taken"


# MAIL


@pytest.mark.parametrize(
    ("tls_missing", "size", "storage_full", "expected"),
    [
        pytest.param(False, None, None, "taken", id="nothing announced"),
        pytest.param(False, 0, None, "taken", id="size zero"),
        pytest.param(False, 1000, None, "taken", id="exactly the limit"),
        pytest.param(False, 1001, None, "552 5.3.4 too-large", id="a byte too much"),
        pytest.param(False, 10**20, None, "552 5.3.4 too-large", id="far too much"),
        pytest.param(False, None, True, "452 4.3.1 queue-full", id="queue full"),
        pytest.param(False, None, False, "451 4.3.0 storage", id="disk failing"),
        pytest.param(True, None, None, "530 5.7.0 tls-required", id="no TLS where it is required"),
        pytest.param(True, 1001, True, "530 5.7.0 tls-required", id="TLS is asked for first"),
        pytest.param(False, 1001, True, "552 5.3.4 too-large", id="the final no first"),
    ],
)  # fmt: skip
def test_a_message_may_begin(
    tls_missing: bool, size: int | None, storage_full: bool | None, expected: str
) -> None:
    """Asked at MAIL: TLS, the announced size, room."""
    assert brief(sender.judge(MailFacts(tls_missing, size, 1000, storage_full))) == expected


def test_too_large_says_how_much_is_taken() -> None:
    """Who is refused for size learns the size."""
    assert sender.too_large(1000).reply.text == "Message too large, at most 1000 bytes are taken"


# RCPT


@pytest.mark.parametrize(
    ("may_relay", "taken", "by", "expected"),
    [
        pytest.param(True, 0, route(backends=(MX(),)), "taken", id="delivered by MX"),
        pytest.param(True, 0, route(backends=(Discard(),)), "taken", id="discarded"),
        pytest.param(True, 0, route(backends=(Quarantine(),)), "taken", id="quarantined"),
        pytest.param(True, 0, route(backends=(NO,)), "554 5.7.9 rejected", id="rejected by its route"),
        pytest.param(True, 0, None, "451 4.4.4 no-route", id="no route"),
        pytest.param(True, 2, route(), "taken", id="the last that fits"),
        pytest.param(True, 3, route(), "452 4.5.3 too-many-recipients", id="one too many"),
        pytest.param(True, 3, None, "452 4.5.3 too-many-recipients", id="one too many, without a route"),
        pytest.param(False, 0, route(), "550 5.7.1 relay-denied", id="not a client of ours"),
        pytest.param(False, 0, None, "550 5.7.1 relay-denied", id="and learns nothing about routes"),
        pytest.param(False, 3, route(backends=(NO,)), "550 5.7.1 relay-denied", id="nor of anything else"),
    ],
)
def test_a_recipient_may_be_taken(may_relay: bool, taken: int, by: Route | None, expected: str) -> None:
    """Asked at RCPT: the client, the number, the route."""
    assert brief(recipient.judge(RcptFacts(may_relay, taken, 3, by))) == expected


def test_a_reject_route_is_quoted_to_the_letter() -> None:
    """Code, enhanced code and text are the route's."""
    refusal = recipient.judge(RcptFacts(True, 0, 3, route(backends=(NO,))))
    assert refusal is not None
    assert refusal.reply == Reply(554, "5.7.9", ("Not here",))


# Content


@pytest.mark.parametrize(
    ("bare", "nul", "hops", "expected"),
    [
        pytest.param(False, False, 0, "taken", id="nothing wrong"),
        pytest.param(True, False, 0, "550 5.6.0 line-endings", id="a bare CR or LF"),
        pytest.param(False, True, 0, "550 5.6.0 nul", id="a NUL"),
        pytest.param(False, False, 100, "taken", id="a hundred hops"),
        pytest.param(False, False, 101, "554 5.4.6 loop", id="a loop"),
        pytest.param(True, True, 101, "550 5.6.0 line-endings", id="the worst first"),
    ],
)
def test_content_may_be_kept(bare: bool, nul: bool, hops: int, expected: str) -> None:
    """Asked at its end: line endings, NULs, hops."""
    assert brief(content.judge(bare=bare, nul=nul, hops=hops)) == expected


# All of them

EVERY = [
    sender.TLS_REQUIRED, sender.QUEUE_FULL, sender.STORAGE, sender.too_large(1000),
    recipient.RELAY_DENIED, recipient.RECIPIENTS, recipient.NO_ROUTE,
    content.LINE_ENDINGS, content.NUL, content.LOOP,
]  # fmt: skip


@pytest.mark.parametrize("refusal", EVERY, ids=lambda x: x.why.value)
def test_codes_agree(refusal: Refusal) -> None:
    """A refusal is temporary, or permanent, in both of its codes (RFC 3463), and says why in one line."""
    reply = refusal.reply
    assert reply.enhanced.startswith(f"{reply.code // 100}.")
    assert reply.is_temporary or reply.is_permanent
    assert len(reply.lines) == 1
    assert reply.text.isascii()


def test_what_waiting_mends_is_temporary() -> None:
    """A client is told to come back exactly where that may help."""
    temporary = {refusal.why for refusal in EVERY if refusal.reply.is_temporary}
    assert temporary == {Why.QUEUE_FULL, Why.STORAGE, Why.NO_ROUTE, Why.RECIPIENTS}


def test_every_reason_has_its_refusal() -> None:
    """The words in metrics and log are these, and each can happen."""
    assert {refusal.why for refusal in EVERY} | {Why.REJECTED} == set(Why)


def test_the_documented_refusals_are_these() -> None:
    """docs/receiving.md lists each refusal by its reply and its reason."""
    rows = table("receiving.md", "reply", "reason", "when")
    documented = {row["reason"]: row["reply"] for row in rows}
    real = {refusal.why.value: f"{refusal.reply.code} {refusal.reply.enhanced}" for refusal in EVERY}
    assert documented == {**real, "rejected": "the route's"}
