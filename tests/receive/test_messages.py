"""Mail that is taken, from a socket to the spool."""

import asyncio
import re
import smtplib
import ssl
from collections.abc import Callable

import pytest
from tests.receive.reception import Reception, eventually, limits, listener
from tests.support.certificates import Certificate

from waystation_relay.mail.envelope import BodyType, Notify, Origin, Recipient, Ret
from waystation_relay.mail.message import Message
from waystation_relay.receive.session import PENDING_BYTES

ARRIVAL = "Fri, 15 Jan 2027 08:00:00 +0000"  # the clock of these tests stands still


async def only(reception: Reception) -> tuple[Message, bytes]:
    """The one message that was taken, and its content."""
    (message,) = reception.accepted
    return message, await reception.content(message)


async def test_a_message_is_on_disk_when_its_250_comes(reception: Reception) -> None:
    """The reply names the queue id under which the spool has the message, whole."""
    client = await reception.greeted()
    said = await client.send(b"Subject: hello\r\n\r\n...world\r\n")
    found = re.fullmatch(r"250 2\.0\.0 Ok: queued as ([0-9A-Z]{11}-[0-9A-Z]{5})", said)
    assert found is not None
    message = await reception.spool.get(found[1])
    assert message is not None
    assert (await reception.content(message)).decode() == (
        "Received: from client.test ([127.0.0.1])\r\n"
        "\tby relay.test (Waystation) with ESMTP\r\n"
        f"\tid {found[1]}\r\n"
        "\tfor <b@next.test>;\r\n"
        f"\t{ARRIVAL}\r\n"
        "Subject: hello\r\n\r\n..world\r\n"
    )
    assert message.envelope.reverse_path == "a@shop.test"
    assert message.envelope.recipients == (Recipient("b@next.test"),)
    assert message.origin == Origin("smtp", "ESMTP", "127.0.0.1", "client.test")
    assert await client.say("QUIT") == "221 2.0.0 Bye"
    assert await client.rest() == b""
    await reception.empty()


async def test_its_250_is_told_to_log_and_metrics(reception: Reception) -> None:
    """One line and one count for a message, with what is needed to find it again."""
    client = await reception.greeted()
    queue_id = (await client.send(b"x\r\n", "b@next.test", "c@next.test")).rpartition(" ")[2]
    message, content = await only(reception)
    assert reception.log.of("message.accepted") == [
        {
            "queue_id": queue_id,
            "listener": "smtp",
            "client": "127.0.0.1",
            "helo": "client.test",
            "protocol": "ESMTP",
            "sender": "a@shop.test",
            "recipients": ["b@next.test", "c@next.test"],
            "count": 2,
            "size_bytes": len(content),
        }
    ]
    assert message.size_bytes == len(content)
    assert reception.count("messages_accepted_total") == 1
    assert reception.metrics.registry.get_sample_value("waystation_message_bytes_sum") == len(content)


async def test_many_recipients_are_counted_and_some_named(reception: Reception) -> None:
    """A thousand recipients do not make a log line of a thousand addresses."""
    client = await reception.greeted()
    people = [f"b{n}@next.test" for n in range(1000)]
    client.write(b"MAIL FROM:<a@shop.test>\r\n")
    client.write(b"".join(f"RCPT TO:<{person}>\r\n".encode() for person in people))
    client.write(b"DATA\r\n")
    replies = [(await client.reply())[:3] for _ in range(1002)]
    assert replies == ["250"] * 1001 + ["354"]
    client.write(b"x\r\n.\r\n")
    assert (await client.reply()).startswith("250")
    message, content = await only(reception)
    assert [recipient.address for recipient in message.envelope.recipients] == people
    assert b"next.test" not in content
    (line,) = reception.log.of("message.accepted")
    assert line["count"] == 1000
    assert line["recipients"] == people[:20]


async def test_a_recipient_named_twice_is_one(reception: Reception) -> None:
    """The same recipient with the same wishes gets the mail once."""
    client = await reception.greeted()
    await client.send(b"x\r\n", "b@next.test", "b@next.test", "c@next.test", "b@next.test")
    message, _ = await only(reception)
    assert [r.address for r in message.envelope.recipients] == ["b@next.test", "c@next.test"]


async def test_postmaster_is_somebody(reception: Reception) -> None:
    """Mail to <postmaster> goes to postmaster at the relay's name,"""
    client = await reception.greeted()
    await client.send(b"x\r\n", "Postmaster")
    message, _ = await only(reception)
    assert message.envelope.recipients == (Recipient("postmaster@relay.test"),)


async def test_postmaster_is_who_the_configuration_says(new_reception: Callable[..., Reception]) -> None:
    """or to the address that the configuration names."""
    reception = await new_reception().start(postmaster="ops@corp.test")
    client = await reception.greeted()
    await client.send(b"x\r\n", "postmaster")
    message, _ = await only(reception)
    assert message.envelope.recipients == (Recipient("ops@corp.test"),)


async def test_the_envelope_is_kept_with_its_parameters(reception: Reception) -> None:
    """What MAIL and RCPT said reaches the spool: DSN, SMTPUTF8, the null sender."""
    client = await reception.greeted()
    assert await client.script(
        "MAIL FROM:<> SMTPUTF8 RET=HDRS ENVID=Q+2B1",
        "RCPT TO:<b@next.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@old.test",
        "RCPT TO:<ü@bücher.test>",
        "BDAT 3 LAST\r\nx",
    ) == ["250", "250", "250", "250"]
    message, content = await only(reception)
    envelope = message.envelope
    assert envelope.reverse_path == ""
    assert envelope.recipients == (
        Recipient("b@next.test", Notify.SUCCESS | Notify.DELAY, "rfc822;b@old.test"),
        Recipient("ü@bücher.test"),
    )
    assert (envelope.smtputf8, envelope.ret, envelope.envid) == (True, Ret.HEADERS, "Q+2B1")
    assert message.origin.protocol == "UTF8SMTP"
    assert b" with UTF8SMTP\r\n" in content


@pytest.mark.parametrize(
    ("mail", "content", "body"),
    [
        pytest.param("", b"x\r\n", BodyType.SEVEN_BIT, id="seven bits"),
        pytest.param(" BODY=8BITMIME", b"x\r\n", BodyType.SEVEN_BIT, id="declared, not used"),
        pytest.param(" BODY=8BITMIME", b"\xfc\r\n", BodyType.EIGHT_BIT, id="declared and used"),
        pytest.param("", b"\xfc\r\n", BodyType.EIGHT_BIT, id="used, not declared"),
        pytest.param(" BODY=7BIT", b"\xfc\r\n", BodyType.EIGHT_BIT, id="declared otherwise"),
    ],
)
async def test_what_the_content_is_decides(
    reception: Reception, mail: str, content: bytes, body: BodyType
) -> None:
    """Bytes from 0x80 make a message 8BITMIME, whatever MAIL said: the next server is told the truth."""
    client = await reception.greeted()
    assert await client.script(f"MAIL FROM:<a@shop.test>{mail}", "RCPT TO:<b@next.test>", "DATA") == [
        "250", "250", "354",
    ]  # fmt: skip
    client.write(content + b".\r\n")
    assert (await client.reply()).startswith("250")
    message, kept = await only(reception)
    assert message.envelope.body is body
    assert kept.endswith(content)


async def test_several_messages_in_one_session(reception: Reception) -> None:
    """One after the other, each with its own envelope, by DATA and by BDAT."""
    client = await reception.greeted()
    await client.send(b"one\r\n", "b@next.test")
    await client.script("MAIL FROM:<c@shop.test>", "RCPT TO:<d@next.test>")
    client.write(b"BDAT 4\r\ntwo\rBDAT 1 LAST\r\n\n")
    assert [(await client.reply())[:3] for _ in range(2)] == ["250", "250"]
    await client.send(b"three\r\n", "e@next.test")
    assert [m.envelope.recipients[0].address for m in reception.accepted] == [
        "b@next.test", "d@next.test", "e@next.test",
    ]  # fmt: skip
    contents = [await reception.content(message) for message in reception.accepted]
    assert [c.rpartition(b"+0000\r\n")[2] for c in contents] == [b"one\r\n", b"two\r\n", b"three\r\n"]
    assert len({message.queue_id for message in reception.accepted}) == 3


async def test_a_whole_conversation_in_one_packet(reception: Reception) -> None:
    """After EHLO a client may send everything at once, two messages and QUIT, and hang up its side."""
    client = await reception.greeted()
    one = b"MAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\nDATA\r\nx\r\n.\r\n"
    client.write(one + one + b"QUIT\r\n")
    client.writer.write_eof()
    said = (await client.rest()).decode().splitlines()
    assert [line[:3] for line in said] == ["250", "250", "354", "250"] * 2 + ["221"]
    assert len(reception.accepted) == 2
    await reception.empty()


async def test_a_client_that_half_closes_hears_of_its_message(reception: Reception) -> None:
    """The end of what a client says is not the end of what it hears."""
    client = await reception.greeted()
    await client.begin()
    client.write(b"x\r\n.\r\n")
    client.writer.write_eof()
    said = await client.rest()
    assert said.startswith(b"250 2.0.0 Ok: queued as ")
    assert said.count(b"\r\n") == 1
    await reception.empty()


async def test_messages_of_many_sessions_share_commits(reception: Reception) -> None:
    """Forty clients at once are all answered."""

    async def one(number: int) -> None:
        client = await reception.greeted()
        assert (await client.send(b"x\r\n", f"b{number}@next.test")).startswith("250")
        client.close()

    await asyncio.gather(*(one(number) for number in range(40)))
    assert len(reception.accepted) == 40
    await reception.empty()


async def test_smtplib_sends_mail(
    new_reception: Callable[..., Reception], certificate: Certificate, trusting: ssl.SSLContext
) -> None:
    """Python's own client, through STARTTLS."""
    reception = new_reception()
    reception.certificate("relay", certificate)
    await reception.start(listener(reception.port, tls="Required", certificate="relay"))

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", reception.port, timeout=5) as client:
            client._host = "relay.test"  # the name that is checked
            client.starttls(context=trusting)
            assert client.sendmail("a@shop.test", ["b@next.test"], b"Subject: x\r\n\r\n.x\r\n") == {}

    await asyncio.to_thread(send)
    message, content = await only(reception)
    assert message.origin.protocol == "ESMTPS"
    assert content.endswith(b"Subject: x\r\n\r\n.x\r\n")


# Large ones


async def test_a_large_message_streams_to_a_file(reception: Reception) -> None:
    """A message is on its way to disk while it arrives, and memory holds no more of it than a mebibyte."""
    client = await reception.greeted()
    await client.begin()
    line = b"0123456789abcdef" * 4 + b"\r\n"
    for _ in range(5):
        client.write(line * (2**20 // len(line)))
        await client.flush()
    await eventually(lambda: sum(path.stat().st_size for path in reception.files()) > 3 * 2**20, "its file")
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    draft = session._conversation._draft
    assert draft is not None
    await eventually(lambda: draft._unwritten < 2**20, "the writer")
    assert sum(map(len, draft.chunks)) < 2**20
    client.write(b".\r\n")
    assert (await client.reply()).startswith("250")
    _, content = await only(reception)
    assert content.endswith(line * 5)
    assert len(content) > 5 * 2**20 - 500


async def test_a_session_goes_on_after_large_messages(reception: Reception) -> None:
    """A client that is paused while the disk writes is heard again, wherever its message ended."""
    client = await reception.greeted()
    for size in range(1, 12):
        content = b"x" * 70 + b"\r\n"
        said = await client.send(content * (size * 400_000 // len(content)))
        assert said.startswith("250")
    assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_a_byte_at_a_time_costs_no_more_memory(reception: Reception) -> None:
    """Content in many small pieces is kept in few."""
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write(b"BDAT 2\r\nxx" * 5000)
    assert [await client.reply() for _ in range(5000)] == ["250 2.0.0 2 octets received"] * 5000
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    draft = session._conversation._draft
    assert draft is not None
    assert len(draft.chunks) < 100
    client.write(b"BDAT 2 LAST\r\n\r\n")
    assert (await client.reply()).startswith("250")
    _, content = await only(reception)
    assert content.endswith(b"\r\n" + b"x" * 10_000 + b"\r\n")


async def test_the_limit_of_a_message_counts_what_the_client_sent(
    new_reception: Callable[..., Reception],
) -> None:
    """A message of exactly the limit is taken: our own Received field does not count."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=1000)))
    client = await reception.greeted()
    assert (await client.send(b"x" * 998 + b"\r\n")).startswith("250")
    assert (await client.send(b"x" * 999 + b"\r\n")).startswith("552 5.3.4")


async def test_what_waits_behind_a_message_is_bounded(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk works no more than so much is read ahead; all of it is answered afterwards."""
    held: list[tuple[object, ...]] = []
    accept = reception.spool.accept
    monkeypatch.setattr(reception.spool, "accept", lambda *call: held.append(call))
    client = await reception.greeted()
    await client.begin()
    client.write(b"x\r\n.\r\n")
    await eventually(lambda: held, "the message to reach the spool")
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    client.write(b"MAIL FROM:<a@shop.test>\r\n" + b"RCPT TO:<b@next.test>\r\n" * 50_000)
    await eventually(lambda: session._paused, "the reading to stop")
    await asyncio.sleep(0.05)
    assert session._server.pending_bytes <= PENDING_BYTES + 2**18  # what one read brings
    accept(*held[0])  # type: ignore[arg-type] # what it was called with
    answered = 0
    async with asyncio.timeout(10):
        while answered < 50_002:
            answered += (await client.reader.read(2**20)).count(b"\r\n")
    assert session._server.pending_bytes == 0
