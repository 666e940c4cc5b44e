"""The message's needs meet what the server offers: passed on, converted, or failed with the reason."""

import pytest
from tests.support.delivering import CONTENT, transaction
from tests.support.dialogue import offered

from waystation_relay.delivery.offer import Offer, prepare, reads_body
from waystation_relay.delivery.transaction import Body, Transaction
from waystation_relay.mail.envelope import BodyType, Notify, Recipient, Ret
from waystation_relay.mail.outcome import Failed

EIGHT_BIT = "Subject: hello\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngrüß dich\r\n".encode()
UTF8_HEADER = "Subject: grüß dich\r\n\r\nhello\r\n".encode()
ALL = "SIZE, 8BITMIME, SMTPUTF8, DSN"


class Source:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def read(self, offset: int, size: int, /) -> bytes:
        return self._content[offset : offset + size]


def asked(what: Transaction, keywords: str = "") -> Offer:
    offer = prepare(what, offered(keywords))
    assert isinstance(offer, Offer), offer
    return offer


def refused(what: Transaction, keywords: str = "") -> tuple[Failed, ...]:
    failures = prepare(what, offered(keywords))
    assert isinstance(failures, tuple), failures
    assert len(failures) == len(what.recipients)
    return failures


def line(command: bytes) -> str:
    assert command.endswith(b"\r\n")
    return command[:-2].decode()


# SIZE


@pytest.mark.parametrize(
    ("keywords", "mail"),
    [
        pytest.param("", "MAIL FROM:<app@shop.test>", id="not offered"),
        pytest.param("SIZE", "MAIL FROM:<app@shop.test> SIZE=25", id="no limit"),
        pytest.param("SIZE 25", "MAIL FROM:<app@shop.test> SIZE=25", id="just fits"),
    ],
)
def test_size_is_declared_where_offered(keywords: str, mail: str) -> None:
    """A server that offers SIZE is told the size."""
    assert line(asked(transaction(), keywords).mail) == mail


def test_too_large_fails_unasked() -> None:
    """A message larger than the server takes fails for every recipient, and both sizes are told."""
    failures = refused(transaction("a@x.test", "b@x.test"), "SIZE 24")
    assert {str(f.reply) for f in failures} == {
        "552 5.3.4 the message has 25 bytes and mx.x.test takes at most 24"
    }


def test_size_of_what_is_sent_counts() -> None:
    """A message that a conversion to 7-bit makes too large for the server is not sent in vain."""
    grown = len(asked(transaction(body=EIGHT_BIT), "SIZE 10000").body)  # type: ignore[arg-type]
    assert grown > len(EIGHT_BIT)
    assert asked(transaction(body=EIGHT_BIT), f"SIZE {grown}").size_bytes == grown
    assert refused(transaction(body=EIGHT_BIT), f"SIZE {grown - 1}")[0].reply.code == 552


def test_missing_line_end_is_counted() -> None:
    """The line end we add is part of the size we declare."""
    offer = asked(transaction(body=b"Subject: x\r\n\r\nhello"), "SIZE")
    assert "SIZE=21" in line(offer.mail)
    assert offer.body == b"Subject: x\r\n\r\nhello\r\n"


# 8BITMIME


@pytest.mark.parametrize(
    ("body", "body_type", "eight_bit", "declared"),
    [
        pytest.param(CONTENT, BodyType.SEVEN_BIT, None, False, id="ASCII"),
        pytest.param(CONTENT, BodyType.EIGHT_BIT, None, False, id="ASCII that was declared 8-bit"),
        pytest.param(EIGHT_BIT, BodyType.EIGHT_BIT, None, True, id="8-bit"),
        pytest.param(EIGHT_BIT, BodyType.SEVEN_BIT, None, True, id="8-bit that was not declared"),
        pytest.param(EIGHT_BIT, BodyType.SEVEN_BIT, True, True, id="known to be 8-bit"),
        pytest.param(CONTENT, BodyType.EIGHT_BIT, False, False, id="known to be 7-bit"),
        pytest.param(Source(EIGHT_BIT), BodyType.EIGHT_BIT, None, True, id="on disk, declared 8-bit"),
        pytest.param(Source(CONTENT), BodyType.SEVEN_BIT, None, False, id="on disk, declared 7-bit"),
    ],
)
def test_8bitmime(body: Body, body_type: BodyType, eight_bit: bool | None, declared: bool) -> None:
    """Content with 8-bit data is declared as such, other content is not."""
    offer = asked(transaction(body=body, body_type=body_type, eight_bit=eight_bit), "8BITMIME")
    assert line(offer.mail).endswith("BODY=8BITMIME") is declared
    assert offer.body == body


def test_8bit_to_a_7bit_server_is_converted() -> None:
    """A server that takes only 7-bit gets the same text in 7-bit (RFC 6152 §3)."""
    offer = asked(transaction(body=EIGHT_BIT), "SIZE")
    assert isinstance(offer.body, bytes)
    assert offer.body.isascii()
    assert line(offer.mail) == f"MAIL FROM:<app@shop.test> SIZE={len(offer.body)}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(UTF8_HEADER, "its header holds 8-bit data", id="header"),
        pytest.param(Source(EIGHT_BIT), "it is too large to be converted", id="on disk"),
    ],
)
def test_8bit_that_cannot_be_converted_fails(body: Body, why: str) -> None:
    """What cannot be made 7-bit without harm fails and says why."""
    (failure,) = refused(transaction(body=body, body_type=BodyType.EIGHT_BIT))
    assert (failure.reply.code, failure.reply.enhanced, failure.reason) == (554, "5.6.3", "content")
    assert why in failure.reply.text


# SMTPUTF8


def test_smtputf8_is_passed_on() -> None:
    """An internationalized message goes to a server that takes such as it came."""
    what = transaction("jürgen@bücher.test", body=UTF8_HEADER, smtputf8=True)
    offer = asked(what, ALL)
    assert line(offer.mail) == f"MAIL FROM:<app@shop.test> SIZE={len(UTF8_HEADER)} BODY=8BITMIME SMTPUTF8"
    assert line(offer.rcpts[0]) == "RCPT TO:<jürgen@bücher.test>"


@pytest.mark.parametrize("body", [CONTENT, Source(CONTENT)], ids=["in memory", "on disk"])
def test_smtputf8_that_needs_none_is_plain(body: Body) -> None:
    """A message that asked for SMTPUTF8 without need goes to any server; domains become A-labels."""
    what = Transaction(
        "app@bücher.test", (Recipient("ann@grün.test"), Recipient("bob@x.test")), body, smtputf8=True
    )
    assert reads_body(what, offered("")) is not isinstance(body, bytes)
    assert not reads_body(what, offered("SMTPUTF8"))
    offer = asked(what)
    assert line(offer.mail) == "MAIL FROM:<app@xn--bcher-kva.test>"
    assert [line(r) for r in offer.rcpts] == ["RCPT TO:<ann@xn--grn-ioa.test>", "RCPT TO:<bob@x.test>"]


def test_internationalized_sender_needs_smtputf8() -> None:
    """A sender that no plain server could answer to fails the message there (RFC 6531 §3.2)."""
    what = Transaction("jürgen@x.test", (Recipient("ann@x.test"),), CONTENT, smtputf8=True)
    (failure,) = refused(what)
    assert str(failure.reply) == (
        "553 5.6.7 the sender's address <jürgen@x.test> is internationalized and mx.x.test lacks SMTPUTF8"
    )


@pytest.mark.parametrize("body", [UTF8_HEADER, Source(UTF8_HEADER)], ids=["in memory", "on disk"])
def test_internationalized_header_needs_smtputf8(body: Body) -> None:
    """A header in UTF-8 cannot go where only ASCII is understood."""
    (failure,) = refused(transaction(body=body, smtputf8=True), "8BITMIME")
    assert (failure.reply.code, failure.reply.enhanced) == (553, "5.6.9")


def test_internationalized_body_needs_only_8bitmime() -> None:
    """A text in UTF-8 under a plain header is 8-bit mail like any other."""
    assert asked(transaction(body=EIGHT_BIT, smtputf8=True), "8BITMIME").body == EIGHT_BIT


def test_only_the_internationalized_recipients_fail() -> None:
    """Who cannot be named to a plain server fails, each with its own name; the others get the mail."""
    people = ("ann@x.test", "jürgen@x.test", "bob@x.test", "jörg@x.test")
    offer = asked(transaction(*people, smtputf8=True))
    assert offer.places == [0, 2]
    assert {place: f.reply.text for place, f in offer.refused.items()} == {
        1: "the address <jürgen@x.test> is internationalized and mx.x.test lacks SMTPUTF8",
        3: "the address <jörg@x.test> is internationalized and mx.x.test lacks SMTPUTF8",
    }


def test_all_recipients_internationalized() -> None:
    """When none can be named, each fails with its own name, not with another's."""
    people = ("jürgen@x.test", "jörg@x.test")
    failures = refused(transaction(*people, smtputf8=True))
    assert [f"<{who}>" in failure.reply.text for who, failure in zip(people, failures, strict=True)] == [
        True,
        True,
    ]


# DSN


def test_dsn_is_passed_on() -> None:
    """What the sender wants to be told is handed on to a server that can see to it (RFC 3461 §5.2.1)."""
    person = Recipient("ann@x.test", Notify.SUCCESS | Notify.DELAY, "rfc822;a@y.test")
    offer = asked(transaction(person, ret=Ret.HEADERS, envid="q+2B1"), "DSN")
    assert line(offer.mail) == "MAIL FROM:<app@shop.test> RET=HDRS ENVID=q+2B1"
    assert line(offer.rcpts[0]) == "RCPT TO:<ann@x.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@y.test"


def test_dsn_is_kept_back_from_who_does_not_offer_it() -> None:
    """A server without DSN is not confused with its parameters (RFC 3461 §5.2.2)."""
    person = Recipient("ann@x.test", Notify.NEVER, "rfc822;a@y.test")
    offer = asked(transaction(person, ret=Ret.FULL, envid="q"), "SIZE, 8BITMIME")
    assert line(offer.mail) == "MAIL FROM:<app@shop.test> SIZE=25"
    assert line(offer.rcpts[0]) == "RCPT TO:<ann@x.test>"


# LIMITS


@pytest.mark.parametrize(
    ("limits", "places", "left"),
    [
        pytest.param("", [0, 1, 2, 3, 4], [], id="none"),
        pytest.param("LIMITS RCPTMAX=5", [0, 1, 2, 3, 4], [], id="enough"),
        pytest.param("LIMITS RCPTMAX=2", [0, 1], [2, 3, 4], id="two recipients"),
        pytest.param("LIMITS RCPTDOMAINMAX=1", [0, 2, 4], [1, 3], id="one domain"),
        pytest.param("LIMITS RCPTDOMAINMAX=2", [0, 1, 2, 4], [3], id="two domains"),
        pytest.param("LIMITS RCPTMAX=2 RCPTDOMAINMAX=1", [0, 2], [1, 3, 4], id="both"),
    ],
)
def test_limits(limits: str, places: list[int], left: list[int]) -> None:
    """No transaction has more recipients, or more domains, than the server says it takes (RFC 9422)."""
    people = ("a@x.test", "b@y.test", "c@X.Test", "d@z.test", "e@x.test")
    offer = asked(transaction(*people), limits)
    assert (offer.places, offer.left) == (places, left)
    assert len(offer.rcpts) == len(places)
