"""What a server says, from its first byte on: replies, and the lines of EHLO's.

Invariant tested: cut anywhere, the bytes are the same replies; every reply has a
code from 200 to 599, at most so many printable characters, and reads as a list
of capabilities; with these, a transaction is written in commands of one line
each or refused for every recipient.
"""

from tests.fuzz.target import pieces

from waystation_relay.delivery.offer import Offer, prepare
from waystation_relay.delivery.transaction import Transaction
from waystation_relay.mail.envelope import BodyType, Notify, Recipient, Ret
from waystation_relay.mail.outcome import Failed
from waystation_relay.mail.reply import Reply
from waystation_relay.wire import capabilities
from waystation_relay.wire.response import KEPT_CHARS, KEPT_LINES, QUOTED_BYTES, Responses

TOKENS = (
    b"250", b"250-", b"250 ", b"354 ", b"421 ", b"550 5.1.1 ", b"2.1.5 ", b"\r\n", b"\n", b"\r", b"-",
    b"\0", b"\xff", b"\xe2\x80\xa8", b"mx.test", b"PIPELINING", b"SIZE ", b"SIZE 0", b"8BITMIME",
    b"SMTPUTF8", b"DSN", b"CHUNKING", b"STARTTLS", b"AUTH PLAIN LOGIN", b"AUTH=PLAIN",
    b"LIMITS RCPTMAX=1 MAILMAX=", b"RCPTDOMAINMAX=1", b"99999999999999999999",
)  # fmt: skip

MAIL = Transaction(
    "ann@shop.test",
    (
        Recipient("bob@next.test", Notify.SUCCESS | Notify.FAILURE, "rfc822;b+2Bc@next.test"),
        Recipient("jörg@bücher.test"),
        Recipient("eve@third.test", Notify.NEVER),
    ),
    "From: ann@shop.test\r\n\r\nGrüße\r\n".encode(),
    body_type=BodyType.EIGHT_BIT,
    smtputf8=True,
    ret=Ret.FULL,
    envid="Q1",
)


def run(data: bytes) -> None:
    whole = Responses()
    replies = whole.receive(data)
    for cut in ([data[n : n + 1] for n in range(len(data))], list(pieces(data))):
        parts = Responses()
        assert [said for piece in cut for said in parts.receive(piece)] == replies
        assert (parts.malformed, parts.is_pending) == (whole.malformed, whole.is_pending)
    assert whole.malformed.isprintable()
    assert len(whole.malformed) <= QUOTED_BYTES
    for reply in replies:
        sound(reply)
        understood(reply)


def sound(reply: Reply) -> None:
    assert 200 <= reply.code <= 599
    assert not reply.enhanced or reply.enhanced[0] == str(reply.code)[0]
    assert 1 <= len(reply.lines) <= KEPT_LINES
    assert sum(map(len, reply.lines)) <= KEPT_CHARS
    assert reply.text.isprintable()


def understood(reply: Reply) -> None:
    offered = capabilities.parse(reply)
    for limit in (offered.size_bytes, offered.rcpt_max, offered.mail_max, offered.rcpt_domain_max):
        assert limit is None or limit > 0
    asked = prepare(MAIL, offered)
    if not isinstance(asked, Offer):
        assert len(asked) == len(MAIL.recipients)
        assert all(isinstance(outcome, Failed) for outcome in asked)
        return
    assert asked.places, "somebody is asked for"
    assert sorted([*asked.places, *asked.refused, *asked.left]) == [0, 1, 2]
    for command in (asked.mail, *asked.rcpts):
        assert command.endswith(b"\r\n")
        assert command.count(b"\n") == command.count(b"\r") == 1
