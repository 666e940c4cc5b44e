"""TLS as clients meet it: offered, demanded, from the first byte; and what goes wrong."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from tests.receive.reception import Client, Reception, eventually, listener
from tests.support.certificates import Certificate

CIPHER = r"(using TLSv1.3 with cipher TLS_"


@pytest.fixture
def new_tls(new_reception: Callable[..., Reception], certificate: Certificate) -> Callable[..., Any]:
    """Starts a reception whose listener has this TLS mode."""

    async def start(tls: str) -> Reception:
        reception = new_reception()
        reception.certificate("relay", certificate)
        return await reception.start(listener(reception.port, tls=tls, certificate="relay"))

    return start


async def starttls(reception: Reception, context: ssl.SSLContext) -> Client:
    client = await reception.greeted()
    assert await client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
    await client.start_tls(context)
    return client


async def test_starttls_secures_the_session(new_tls: Callable[..., Any], trusting: ssl.SSLContext) -> None:
    """Everything begins anew, STARTTLS is no longer offered, and the trace tells of it."""
    reception = await new_tls("Opportunistic")
    client = await starttls(reception, trusting)
    assert await client.say("MAIL FROM:<a@shop.test>") == "503 5.5.1 Send EHLO or HELO first"
    assert "STARTTLS" not in await client.say("EHLO client.test")
    assert await client.say("STARTTLS") == "502 5.5.1 STARTTLS is not offered"
    assert (await client.send()).startswith("250")
    (message,) = reception.accepted
    assert message.origin.protocol == "ESMTPS"
    content = (await reception.content(message)).decode()
    assert f"\r\n\t{CIPHER}" in content
    assert " with ESMTPS\r\n" in content
    assert await client.say("QUIT") == "221 2.0.0 Bye"
    await reception.empty()


async def test_tls_may_be_left_out_where_it_is_offered(new_tls: Callable[..., Any]) -> None:
    """Opportunistic: a client without TLS sends its mail all the same."""
    reception = await new_tls("Opportunistic")
    assert (await (await reception.greeted()).send()).startswith("250")


async def test_required_tls_is_required_before_mail(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext
) -> None:
    """Required: 530 at MAIL in plain text, and everything after STARTTLS."""
    reception = await new_tls("Required")
    client = await reception.greeted()
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert await client.say("MAIL FROM:<a@shop.test>") == "530 5.7.0 Must issue a STARTTLS command first"
    assert reception.count("messages_refused_total", reason="tls-required") == 1
    client = await starttls(reception, trusting)
    await client.say("EHLO client.test")
    assert (await client.send()).startswith("250")


async def test_without_a_certificate_there_is_no_starttls(reception: Reception) -> None:
    """None: not offered, and refused."""
    client = await reception.greeted()
    assert "STARTTLS" not in await client.say("EHLO client.test")
    assert await client.say("STARTTLS") == "502 5.5.1 STARTTLS is not offered"


async def test_tls_from_the_first_byte(new_tls: Callable[..., Any], trusting: ssl.SSLContext) -> None:
    """Implicit: the greeting comes by TLS (RFC 8314)."""
    reception = await new_tls("Implicit")
    client = await reception.connect(tls=trusting, server_hostname="relay.test")
    assert await client.reply() == "220 relay.test ESMTP Waystation"
    assert "STARTTLS" not in await client.say("EHLO client.test")
    assert await client.say("STARTTLS") == "502 5.5.1 STARTTLS is not offered"
    assert (await client.send()).startswith("250")
    assert CIPHER in (await reception.content(reception.accepted[0])).decode()
    assert reception.count("sessions_total") == 1
    assert await client.say("QUIT") == "221 2.0.0 Bye"
    await reception.empty()


@pytest.mark.parametrize("tls", ["Opportunistic", "Implicit"])
async def test_a_large_message_by_tls(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext, tls: str
) -> None:
    """Three mebibytes, paused and resumed as the disk needs it, several times in one session."""
    reception = await new_tls(tls)
    if tls == "Implicit":
        client = await reception.greeted(tls=trusting, server_hostname="relay.test")
    else:
        client = await starttls(reception, trusting)
        await client.say("EHLO client.test")
    content = (b"x" * 98 + b"\r\n") * 30_000
    for _ in range(3):
        assert (await client.send(content)).startswith("250")
    assert (await reception.content(reception.accepted[2])).endswith(content)


# Injection


@pytest.mark.parametrize(
    "behind", [b"EHLO mallory.test\r\n", b"MAIL FROM:<m@shop.test>\r\n", b"\r\n", b"x"], ids=repr
)
async def test_plain_text_behind_starttls_ends_it(new_tls: Callable[..., Any], behind: bytes) -> None:
    """In the same packet: 554, and no TLS (CVE-2011-0411)."""
    reception = await new_tls("Opportunistic")
    client = await reception.greeted()
    client.write(b"STARTTLS\r\n" + behind)
    assert await client.rest() == b"554 5.5.1 Protocol error: client talks before it may\r\n"
    await reception.empty()


async def test_plain_text_after_the_go_ahead_is_never_a_command(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext
) -> None:
    """In a packet of its own it is taken for a handshake, and is none."""
    reception = await new_tls("Opportunistic")
    client = await reception.greeted()
    assert (await client.say("STARTTLS")).startswith("220")
    client.write(b"EHLO mallory.test\r\nMAIL FROM:<m@shop.test>\r\n")
    said = await client.rest()
    assert b"250" not in said
    await reception.empty()
    assert len(reception.log.of("session.failed")) == 1
    assert (await (await reception.greeted()).send()).startswith("250")


async def test_starttls_behind_a_message_waits_for_its_reply(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext
) -> None:
    """STARTTLS that was pipelined behind the end of the data is answered after it, and works."""
    reception = await new_tls("Opportunistic")
    client = await reception.greeted()
    await client.begin()
    client.write(b"x\r\n.\r\nSTARTTLS\r\n")
    assert [(await client.reply())[:9] for _ in range(2)] == ["250 2.0.0", "220 2.0.0"]
    await client.start_tls(trusting)
    assert (await client.say("EHLO client.test")).startswith("250")


# What goes wrong


async def test_old_tls_is_refused(new_tls: Callable[..., Any]) -> None:
    """Below TLS 1.2 there is no session; the log says why."""
    reception = await new_tls("Opportunistic")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    client = await reception.greeted()
    await client.say("STARTTLS")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await client.start_tls(old)
    await reception.empty()
    (line,) = reception.log.of("session.failed")
    assert "UNSUPPORTED_PROTOCOL" in line["error"] or "unsupported protocol" in line["error"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda x: x.name)
async def test_current_tls_is_taken(
    new_tls: Callable[..., Any], certificate: Certificate, authority: Any, version: ssl.TLSVersion
) -> None:
    """TLS 1.2 and 1.3."""
    reception = await new_tls("Opportunistic")
    exactly = ssl.create_default_context(cafile=str(authority.file))
    exactly.minimum_version = exactly.maximum_version = version
    client = await starttls(reception, exactly)
    assert (await client.say("EHLO client.test")).startswith("250")


async def test_a_client_that_distrusts_the_certificate_leaves_nothing(new_tls: Callable[..., Any]) -> None:
    """Its alert ends the session."""
    reception = await new_tls("Opportunistic")
    client = await reception.greeted()
    await client.say("STARTTLS")
    with pytest.raises(ssl.SSLError):
        await client.start_tls(ssl.create_default_context())
    await reception.empty()


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["at once", "half-way"])
@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["closes", "resets"])
async def test_a_client_that_vanishes_in_its_handshake(
    new_tls: Callable[..., Any], data: bytes, leave: Callable[[Client], None]
) -> None:
    """Its session is over at once, and the next client is served."""
    reception = await new_tls("Opportunistic")
    for _ in range(3):
        client = await reception.greeted()
        await client.say("STARTTLS")
        client.write(data)
        await client.flush()
        leave(client)
        await reception.empty()
    assert (await (await reception.greeted()).send()).startswith("250")


async def test_a_client_that_asks_for_tls_and_is_gone(new_tls: Callable[..., Any]) -> None:
    """STARTTLS and a reset in one go: nobody waits for a handshake that cannot come."""
    reception = await new_tls("Opportunistic")
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", reception.port)) as raw:
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_recv(raw, 100)
            await loop.sock_sendall(raw, b"EHLO client.test\r\n")
            await loop.sock_recv(raw, 1000)
            raw.send(b"STARTTLS\r\n")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await reception.empty()


async def test_deadlines_go_on_under_tls(new_tls: Callable[..., Any], trusting: ssl.SSLContext) -> None:
    """An idle client hears its 421 by TLS."""
    reception = await new_tls("Opportunistic")
    client = await starttls(reception, trusting)
    await client.say("EHLO client.test")
    reception.clock.advance(300)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"
    await reception.empty()


async def test_a_handshake_starts_the_clock_again(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext
) -> None:
    """The five minutes to the next command count from the end of the handshake."""
    reception = await new_tls("Opportunistic")
    client = await reception.greeted()
    await client.say("STARTTLS")
    reception.clock.advance(299)
    await client.start_tls(trusting)
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    await eventually(lambda: session._conversation.cipher, "TLS")
    reception.clock.advance(299)
    await asyncio.sleep(0.02)
    assert (await client.say("EHLO client.test")).startswith("250")


async def test_replies_may_pile_up_before_starttls(
    new_tls: Callable[..., Any], trusting: ssl.SSLContext
) -> None:
    """A client that read late, and then went on by TLS, is not taken for one that does not read."""
    reception = await new_tls("Opportunistic")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", reception.port))
    reader, writer = await asyncio.open_connection(sock=raw)
    client = Client(reader, writer)
    assert (await client.reply()).startswith("220")
    await client.script("EHLO client.test", "MAIL FROM:<a@shop.test>")
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    connection = session._transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    writer.transport.pause_reading()
    client.write(b"RCPT TO:<b@c>\r\n" * 4200 + b"STARTTLS\r\n")
    await eventually(lambda: session._server.tls_begins, "the go-ahead")
    assert session._deaf_since is not None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    writer.transport.resume_reading()
    assert [(await client.reply())[:3] for _ in range(4201)] == ["250"] * 4200 + ["220"]
    await client.start_tls(trusting)
    assert (await client.say("EHLO client.test")).startswith("250")
    reception.clock.advance(200)
    await asyncio.sleep(0.02)
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    client.write(b"MAIL FROM:<a@shop.test>\r\n" + b"RCPT TO:<b@next.test>\r\n" * 20_000)
    assert [(await client.reply())[:3] for _ in range(20_001)] == ["250"] * 20_001


async def test_a_client_that_asks_for_tls_and_does_not_read(new_tls: Callable[..., Any]) -> None:
    """Nor does it get a place for ever."""
    reception = await new_tls("Opportunistic")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", reception.port))
    client = Client(*await asyncio.open_connection(sock=raw))
    assert (await client.reply()).startswith("220")
    await client.script("EHLO client.test", "MAIL FROM:<a@shop.test>")
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    session._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.writer.transport.pause_reading()
    client.write(b"RCPT TO:<b@c>\r\n" * 4200 + b"STARTTLS\r\n")
    await eventually(lambda: session._server.tls_begins, "the go-ahead")
    reception.clock.advance(120)
    await reception.empty()
