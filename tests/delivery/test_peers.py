"""Real servers as next hops: Postfix, Dovecot's LMTP, aiosmtpd."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.support import dovecot as dovecots
from tests.support import postfix as postfixes
from tests.support.delivering import connection_to, failure_of, send, told, transaction
from tests.support.dovecot import Dovecot
from tests.support.postfix import Postfix
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_relay.delivery.connection import Connection
from waystation_relay.mail.envelope import BodyType, Notify, Recipient

ANN, BOB = postfixes.USERS
DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\nend\r\n"
UMLAUTS = (
    b"Subject: text\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    + "grüß\r\n".encode()
)
LARGE = b"Subject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 150_000  # 2.8 MB


class Source:
    """A body that is read in pieces."""

    size_bytes = len(LARGE)

    def read(self, offset: int, size: int, /) -> bytes:
        return LARGE[offset : offset + size]


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    with Postfix(tmp_path_factory.mktemp("postfix")) as running:
        yield running


@pytest.fixture(scope="module")
def bare_postfix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    """One that offers next to nothing."""
    hidden = "pipelining, chunking, 8bitmime, smtputf8, dsn, size, etrn, vrfy"
    with Postfix(
        tmp_path_factory.mktemp("bare"), smtpd_discard_ehlo_keywords=hidden, strict_7bit_headers="yes"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dovecot]:
    with Dovecot(tmp_path_factory.mktemp("dovecot")) as running:
        yield running


def text_of(stored: bytes) -> bytes:
    """A stored mail's text as it was sent, with CRLF line ends."""
    return stored.partition(b"\n\n")[2].replace(b"\n", b"\r\n")


def body_of(sent: bytes) -> bytes:
    return sent.partition(b"\r\n\r\n")[2]


def arrived(postfix: Postfix, before: int, user: str = ANN) -> bytes:
    until(lambda: len(postfix.mailbox(user)) > before, "the mail in the mailbox")
    return postfix.mailbox(user)[-1]


# Postfix


async def test_postfix_offers_what_we_use(postfix: Postfix) -> None:
    """The next hop most often met offers everything the relay knows."""
    connection = await connection_to(postfix.port)
    offered = connection.capabilities
    assert offered.name == "mx.postfix.test"
    assert all(
        (
            offered.pipelining,
            offered.chunking,
            offered.eight_bit_mime,
            offered.smtputf8,
            offered.dsn,
            offered.size,
        )
    )
    connection.quit()


@pytest.mark.parametrize("server", ["postfix", "bare_postfix"])
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(DOTS, id="dots"),
        pytest.param(UMLAUTS, id="8-bit"),
        pytest.param(b"Subject: open end\r\n\r\nno line end", id="no line end"),
    ],
)
async def test_postfix_takes(server: str, content: bytes, request: pytest.FixtureRequest) -> None:
    """What is in the mailbox is what was sent, over BDAT and over DATA."""
    postfix: Postfix = request.getfixturevalue(server)
    before = len(postfix.mailbox(ANN))
    connection = await connection_to(postfix.port)
    result = await send(connection, transaction(ANN, body=content))
    assert told(result.outcomes[0]) == "delivered 250 2.0.0"
    assert "queued as" in result.outcomes[0].reply.text
    connection.quit()
    expected = body_of(content) if content.endswith(b"\r\n") else body_of(content) + b"\r\n"
    if server == "bare_postfix":
        expected = expected.replace("ü".encode(), b"=C3=BC").replace("ß".encode(), b"=C3=9F")
    assert text_of(arrived(postfix, before)) == expected


@pytest.mark.parametrize("server", ["postfix", "bare_postfix"])
async def test_postfix_takes_a_large_mail(server: str, request: pytest.FixtureRequest) -> None:
    """A mail of megabytes is streamed and arrives whole."""
    postfix: Postfix = request.getfixturevalue(server)
    before = len(postfix.mailbox(BOB))
    connection = await connection_to(postfix.port)
    result = await send(connection, transaction(BOB, body=Source()))
    assert told(result.outcomes[0]) == "delivered 250 2.0.0"
    connection.quit()
    assert text_of(arrived(postfix, before, BOB)) == body_of(LARGE)


async def test_postfix_refuses_each_for_its_own_reason(postfix: Postfix) -> None:
    """A transaction of known, unknown and foreign recipients ends differently for each."""
    before = len(postfix.mailbox(ANN))
    connection = await connection_to(postfix.port)
    people = (f"nobody@{postfixes.DOMAIN}", ANN, "someone@elsewhere.test")
    for _ in range(3):  # the connection serves on
        result = await send(connection, transaction(*people))
        assert [told(outcome) for outcome in result.outcomes] == [
            "failed bad-address 550 5.1.1",
            "delivered 250 2.0.0",
            "failed policy 554 5.7.1",
        ]
        assert result.reusable
    connection.quit()
    arrived(postfix, before + 2)


async def test_postfix_refuses_all_then_takes_the_next(postfix: Postfix) -> None:
    """After a transaction that nobody wanted, the next one on the connection goes through."""
    connection = await connection_to(postfix.port)
    for _ in range(3):
        result = await send(connection, transaction("nobody@postfix.test"))
        assert told(result.outcomes[0]) == "failed bad-address 550 5.1.1"
        assert told((await send(connection, transaction(BOB))).outcomes[0]) == "delivered 250 2.0.0"
    connection.quit()


async def test_postfix_with_two_hundred_mails_on_one_connection(postfix: Postfix) -> None:
    """Hundreds of mails follow one another without anything getting out of step."""
    before = len(postfix.mailbox(ANN))
    connection = await connection_to(postfix.port)
    for n in range(200):
        content = b"Subject: %d\r\n\r\n%s\r\n" % (n, b"x" * (n * 37 % 1000))
        assert (
            told((await send(connection, transaction(ANN, body=content))).outcomes[0])
            == "delivered 250 2.0.0"
        )
    connection.quit()
    until(lambda: len(postfix.mailbox(ANN)) == before + 200, "all mails")


async def test_postfix_passes_success_notices_on(postfix: Postfix) -> None:
    """A server that offers DSN is told NOTIFY and ORCPT and takes over the duty (RFC 3461)."""
    connection = await connection_to(postfix.port)
    person = Recipient(ANN, Notify.SUCCESS, "rfc822;someone+2Belse@shop.test")
    (outcome,) = (await send(connection, transaction(person, envid="q+2B7"))).outcomes
    assert told(outcome) == "delivered 250 2.0.0"
    assert outcome.dsn_passed  # type: ignore[union-attr]
    connection.quit()
    until(lambda: "sender delivery status notification" in postfix.log(), "Postfix to report success")


async def test_postfix_takes_an_internationalized_address(postfix: Postfix) -> None:
    """An address beyond ASCII is understood as such, and refused as unknown, not as a syntax error."""
    connection = await connection_to(postfix.port)
    what = transaction("jürgen@postfix.test", smtputf8=True, body_type=BodyType.EIGHT_BIT)
    assert told((await send(connection, what)).outcomes[0]) == "failed bad-address 550 5.1.1"
    connection.quit()


async def test_postfix_that_is_stopped_defers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server stopped under an open connection: the mail waits or is sent again, and none is lost."""
    with Postfix(tmp_path_factory.mktemp("stopped")) as running:
        connection = await connection_to(running.port)
        await send(connection, transaction(ANN))
    result = await send(connection, transaction(ANN))
    assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
    assert result.again == (0,)


# Dovecot


async def lmtp(dovecot: Dovecot) -> Connection:
    return await connection_to(dovecot.lmtp_port, lmtp=True)


async def test_dovecot_answers_for_each_recipient(dovecot: Dovecot) -> None:
    """Over LMTP one mail is stored for one user, refused for a full mailbox, and unknown for another."""
    ann, bob = dovecots.USERS
    connection = await lmtp(dovecot)
    for count in (1, 2):
        result = await send(
            connection, transaction(ann, f"nobody@{dovecots.DOMAIN}", dovecots.FULL, bob, body=DOTS)
        )
        assert [told(outcome) for outcome in result.outcomes] == [
            "delivered 250 2.0.0",
            "failed bad-address 550 5.1.1",
            "failed mailbox-full 552 5.2.2",
            "delivered 250 2.0.0",
        ]
        assert all(outcome.final for outcome in (result.outcomes[0], result.outcomes[3]))  # type: ignore[union-attr]
        assert len(dovecot.mails(ann)) == len(dovecot.mails(bob)) == count
    connection.quit()
    assert text_of(dovecot.mails(ann)[0]) == body_of(DOTS)
    assert dovecot.mails(dovecots.FULL) == []


async def test_dovecot_knows_nobody(dovecot: Dovecot) -> None:
    """When no recipient is known no content is sent, and the connection serves on."""
    connection = await lmtp(dovecot)
    result = await send(connection, transaction("a@dovecot.test", "b@dovecot.test"))
    assert [told(outcome) for outcome in result.outcomes] == ["failed bad-address 550 5.1.1"] * 2
    assert told((await send(connection, transaction(dovecots.USERS[0]))).outcomes[0]) == "delivered 250 2.0.0"
    connection.quit()


async def test_dovecot_takes_a_large_mail(dovecot: Dovecot) -> None:
    """A mail of megabytes is streamed over LMTP and arrives whole."""
    bob = dovecots.USERS[1]
    before = len(dovecot.mails(bob))
    connection = await lmtp(dovecot)
    result = await send(connection, transaction(bob, body=Source()))
    assert told(result.outcomes[0]) == "delivered 250 2.0.0"
    connection.quit()
    assert text_of(dovecot.mails(bob)[before]) == body_of(LARGE)


async def test_smtp_to_an_lmtp_server_waits(dovecot: Dovecot) -> None:
    """A route that takes an LMTP server for an SMTP server makes mail wait and shows the server's word."""
    failure = await failure_of(dovecot.lmtp_port)
    assert told(failure.outcome).startswith("deferred ")
    assert "HELO" in failure.outcome.reply.text


# aiosmtpd


async def test_aiosmtpd_with_many_connections() -> None:
    """Twenty connections at once deliver what they are given, each mail once."""
    with Sink() as sink:
        connections = [await connection_to(sink.port) for _ in range(20)]

        async def several(connection: Connection, who: int) -> None:
            for n in range(10):
                content = b"Subject: %d-%d\r\n\r\nhello\r\n" % (who, n)
                result = await send(connection, transaction(body=content))
                assert told(result.outcomes[0]) == "delivered 250 2.0.0"
            connection.quit()

        async with asyncio.TaskGroup() as group:
            for who, connection in enumerate(connections):
                group.create_task(several(connection, who))
        subjects = [received.content.split(b"\r\n")[0] for received in sink.received]
        assert sorted(subjects) == sorted(
            b"Subject: %d-%d" % (who, n) for who in range(20) for n in range(10)
        )
        assert sink.connections == 20


async def test_aiosmtpd_refusing() -> None:
    """What the sink answers is what becomes of each recipient."""
    with Sink() as sink:
        sink.answers = {"ann@x.test": ["451 4.7.1 greylisted"], "bob@x.test": ["550 5.1.1 who?"]}
        connection = await connection_to(sink.port)
        result = await send(connection, transaction("ann@x.test", "bob@x.test", "cid@x.test"))
        assert [told(outcome) for outcome in result.outcomes] == [
            "deferred greylisted 451 4.7.1",
            "failed bad-address 550 5.1.1",
            "delivered 250 2.0.0",
        ]
        assert sink.received[0].recipients == ("cid@x.test",)
        connection.quit()
