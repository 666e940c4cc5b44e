"""TLS towards servers: taken when offered, demanded when configured, never a way to slip something in."""

import contextlib
import ssl
from collections.abc import Callable

import pytest
from tests.support.certificates import Authority
from tests.support.delivering import (
    IMPATIENT,
    At,
    connection_to,
    failure_of,
    send,
    told,
    transaction,
)
from tests.support.scripted import Peer, Script, Scripted, takes_mail

from waystation_relay.delivery import tls
from waystation_relay.delivery.target import Security

Serving = Callable[..., ssl.SSLContext]


def starts_tls(context: ssl.SSLContext) -> Script:
    """Offers STARTTLS, and DSN only over it."""

    async def script(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        await peer.upgrade(context)
        await peer.expect("EHLO relay.test")
        peer.offer("DSN")
        await peer.take()
        await peer.goodbye()

    return script


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("mx.test",), id="its certificate"),
        pytest.param(("elsewhere.test",), id="somebody else's certificate"),
    ],
)
async def test_opportunistic_takes_any_certificate(names: tuple[str, ...], serving: Serving) -> None:
    """Encryption to a server of unknown identity beats none; what was offered before it is forgotten."""
    async with Scripted(starts_tls(serving(*names))) as server:
        connection = await connection_to(server.port, security=Security.OPPORTUNISTIC)
        assert connection.tls_version == "TLSv1.3"
        assert connection.capabilities.dsn
        assert not connection.capabilities.starttls
        assert told((await send(connection, transaction())).outcomes[0]) == "delivered 250 2.0.0"
        connection.quit()


async def test_opportunistic_without_starttls_is_plain() -> None:
    """A server without STARTTLS gets the mail in the clear."""
    async with Scripted(takes_mail) as server:
        connection = await connection_to(server.port, security=Security.OPPORTUNISTIC)
        assert connection.tls_version == ""
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_none_ignores_starttls(serving: Serving) -> None:
    """Where the route says no TLS, an offer of it is not taken."""

    async def offering(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.take()
        await peer.goodbye()

    async with Scripted(offering) as server:
        connection = await connection_to(server.port, security=Security.NONE)
        assert (await send(connection, transaction())).reusable
        connection.quit()


def refuses_starttls(answer: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.say(answer)
        await peer.hang_up()

    return script


async def garbles_the_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 2.0.0 go ahead")
    await peer.read(5)
    peer.say("554 what was that?")
    await peer.hang_up()


async def hangs_up_in_the_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 2.0.0 go ahead")
    await peer.read(5)
    peer.drop()


async def hangs_up_instead_of_a_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 2.0.0 go ahead")
    peer.close()


async def stalls_in_the_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 2.0.0 go ahead")
    await peer.hang_up()


def old_protocol(serving: Serving) -> Script:
    context = serving("mx.test")
    context.minimum_version = ssl.TLSVersion.SSLv3
    context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")

    async def script(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await peer.upgrade(context)

    return script


BROKEN = [
    pytest.param(refuses_starttls("454 4.7.0 not now"), "answered STARTTLS with 454", id="454"),
    pytest.param(refuses_starttls("502 5.5.1 not at all"), "answered STARTTLS with 502", id="502"),
    pytest.param(refuses_starttls("250 ok"), "answered STARTTLS with 250", id="250 is no 220"),
    pytest.param(garbles_the_handshake, "the TLS handshake failed", id="plain text for a handshake"),
    pytest.param(hangs_up_in_the_handshake, "the TLS handshake failed", id="hangs up in it"),
    pytest.param(hangs_up_instead_of_a_handshake, "TLS handshake", id="hangs up instead"),
    pytest.param(stalls_in_the_handshake, "TLS handshake", id="stalls"),
]


@pytest.mark.parametrize(("script", "text"), BROKEN)
async def test_opportunistic_tls_that_fails_is_retried_in_plain(script: Script, text: str) -> None:
    """A server whose TLS is broken gets the mail as before it had TLS, over a new connection."""

    async def second(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.take()
        await peer.goodbye()

    async with Scripted(script, second) as server:
        connection = await connection_to(server.port, security=Security.OPPORTUNISTIC, timeouts=IMPATIENT)
        assert connection.tls_version == ""
        assert (await send(connection, transaction())).reusable
        connection.quit()


@pytest.mark.parametrize(("script", "text"), BROKEN)
async def test_required_tls_that_fails_waits(script: Script, text: str) -> None:
    """Where TLS is required, mail waits until it works, and says what is wrong with it."""
    async with Scripted(script) as server:
        failure = await failure_of(server.port, security=Security.REQUIRED, timeouts=IMPATIENT)
        assert server.connections == 1
    assert told(failure.outcome) == "deferred tls 454 4.7.5"
    assert text in failure.outcome.reply.text


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")  # that is why it is tested
async def test_protocols_of_old_are_not_spoken(serving: Serving) -> None:
    """A server that has only TLS 1.0 has no TLS as far as required TLS is concerned."""
    async with Scripted(old_protocol(serving)) as server:
        failure = await failure_of(server.port, security=Security.REQUIRED)
    assert told(failure.outcome) == "deferred tls 454 4.7.5"


async def test_plain_retry_may_be_unwelcome() -> None:
    """A server that insists on TLS we could not make work does not bounce the mail: its TLS may be mended."""

    async def insists(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.line()
        peer.say("530 5.7.0 Must issue a STARTTLS command first")
        await peer.goodbye()

    async with Scripted(garbles_the_handshake, insists) as server:
        connection = await connection_to(server.port, mx=True, security=Security.OPPORTUNISTIC)
        (outcome,) = (await send(connection, transaction())).outcomes
        assert told(outcome) == "deferred auth 530 5.7.0"
        connection.quit()


# Whose certificate


async def is_found_out(peer: Peer, context: ssl.SSLContext) -> None:
    """In TLS 1.3 the server's handshake is over before the client has looked at the certificate."""
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 2.0.0 go ahead")
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await peer.upgrade(context)
        assert await peer.hang_up() == b""


@pytest.mark.parametrize(
    ("names", "trusted", "text"),
    [
        pytest.param(("mx.test",), False, "unable to get local issuer certificate", id="unknown authority"),
        pytest.param(("elsewhere.test",), True, "Hostname mismatch", id="another's name"),
        pytest.param(("127.0.0.1",), True, "Hostname mismatch", id="its address, asked by name"),
    ],
)
@pytest.mark.parametrize("security", [Security.REQUIRED, Security.IMPLICIT])
async def test_invalid_certificate_waits(
    names: tuple[str, ...],
    trusted: bool,
    text: str,
    security: Security,
    serving: Serving,
    authority: Authority,
) -> None:
    """Where a valid certificate is demanded, mail waits for one and says what is wrong with this one."""
    context = serving(*names)
    ca_file = str(authority.file) if trusted else ""
    if security is Security.IMPLICIT:
        server = Scripted(takes_mail, tls=context)
    else:
        server = Scripted(lambda peer: is_found_out(peer, context))
    async with server:
        failure = await failure_of(server.port, security=security, ca_file=ca_file)
    assert told(failure.outcome) == "deferred tls 454 4.7.5"
    assert "its certificate is not valid for it" in failure.outcome.reply.text
    assert text in failure.outcome.reply.text


@pytest.mark.parametrize(
    ("host", "names"),
    [
        pytest.param("mx.test", ("mx.test",), id="by name"),
        pytest.param("a.mx.test", ("*.mx.test", "other.example"), id="by wildcard"),
        pytest.param("127.0.0.1", ("127.0.0.1",), id="by address"),
        pytest.param("[127.0.0.1]", ("127.0.0.1",), id="by address literal"),
    ],
)
async def test_required_with_a_valid_certificate(
    host: str, names: tuple[str, ...], serving: Serving, authority: Authority
) -> None:
    """A certificate that names the host, by a trusted authority, opens the way."""
    async with Scripted(starts_tls(serving(*names))) as server:
        connection = await connection_to(
            server.port, At(host), security=Security.REQUIRED, ca_file=str(authority.file)
        )
        assert connection.tls_version == "TLSv1.3"
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_required_without_starttls_waits() -> None:
    """A server that no longer offers STARTTLS, or whose offer was stripped on the way, gets nothing."""

    async def stripped(peer: Peer) -> None:
        await peer.hello("PIPELINING")
        await peer.expect("QUIT")

    async with Scripted(stripped) as server:
        failure = await failure_of(server.port, security=Security.REQUIRED)
    assert told(failure.outcome) == "deferred tls 454 4.7.5"
    assert "does not offer STARTTLS" in failure.outcome.reply.text


async def test_required_moves_on_to_a_host_with_tls(serving: Serving, authority: Authority) -> None:
    """One mail host without TLS does not keep mail from another that has it."""

    async def without(peer: Peer) -> None:
        await peer.hello()
        await peer.expect("QUIT")

    async with Scripted(without, starts_tls(serving("b.test"))) as server:
        connection = await connection_to(
            server.port, At("a.test"), At("b.test"), security=Security.REQUIRED, ca_file=str(authority.file)
        )
        assert connection.remote.host == "b.test"
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_implicit(serving: Serving, authority: Authority) -> None:
    """TLS from the first byte (RFC 8314); STARTTLS is not asked for within it."""

    async def within(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.take()
        await peer.goodbye()

    async with Scripted(within, tls=serving("mx.test")) as server:
        connection = await connection_to(server.port, security=Security.IMPLICIT, ca_file=str(authority.file))
        assert connection.tls_version == "TLSv1.3"
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def greets_in_plain(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.hang_up()


async def says_nothing(peer: Peer) -> None:
    await peer.hang_up()


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        pytest.param(greets_in_plain, "deferred tls 454 4.7.5", id="a server without TLS"),
        pytest.param(says_nothing, "deferred connect 451 4.4.1", id="a server that waits for plain text"),
    ],
)
async def test_implicit_to_a_plain_server_waits(script: Script, outcome: str) -> None:
    """Nothing is sent in the clear where TLS is expected from the start."""
    async with Scripted(script) as server:
        failure = await failure_of(server.port, security=Security.IMPLICIT, timeouts=IMPATIENT)
    assert told(failure.outcome) == outcome


# Injection


@pytest.mark.parametrize("security", [Security.OPPORTUNISTIC, Security.REQUIRED])
@pytest.mark.parametrize(
    "injected", [b"250 DSN\r\n", b"250-mx.test\r\n250 AUTH PLAIN\r\n", b"2"], ids=["reply", "EHLO", "a byte"]
)
async def test_plain_text_behind_the_answer_to_starttls(security: Security, injected: bytes) -> None:
    """What comes in the clear after the answer to STARTTLS could be anybody's: the server is given up."""

    async def injecting(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.write(b"220 2.0.0 go ahead\r\n" + injected)
        await peer.hang_up()

    async with Scripted(injecting) as server:
        failure = await failure_of(server.port, security=security)
        assert server.connections == 1, "an attacker must not talk us into plain text"
    assert told(failure.outcome) == "deferred tls 454 4.7.5"
    assert "sent more in plain text" in failure.outcome.reply.text


async def test_nothing_said_before_tls_is_believed_after_it(serving: Serving) -> None:
    """Extensions announced in the clear do not count; only those announced over TLS do."""
    context = serving("mx.test")

    async def promising(peer: Peer) -> None:
        await peer.hello("STARTTLS", "CHUNKING", "SIZE 1", "AUTH PLAIN")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        await peer.upgrade(context)
        await peer.expect("EHLO relay.test")
        peer.say("250 mx.test")
        await peer.take()
        await peer.goodbye()

    async with Scripted(promising) as server:
        connection = await connection_to(server.port, security=Security.OPPORTUNISTIC)
        offered = connection.capabilities
        assert (offered.chunking, offered.size, offered.auth) == (False, False, frozenset())
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_ehlo_refused_over_tls(serving: Serving) -> None:
    """A server that knew EHLO in the clear and refuses it over TLS is spoken to as of old."""
    context = serving("mx.test")

    async def forgetful(peer: Peer) -> None:
        await peer.hello("STARTTLS", "DSN")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        await peer.upgrade(context)
        await peer.expect("EHLO relay.test")
        peer.say("502 what?")
        await peer.expect("HELO relay.test")
        peer.say("250 mx.test")
        await peer.take()
        await peer.goodbye()

    async with Scripted(forgetful) as server:
        connection = await connection_to(server.port, security=Security.OPPORTUNISTIC)
        assert not connection.capabilities.dsn
        assert (await send(connection, transaction())).reusable
        connection.quit()


# The words


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "it did not complete the TLS handshake in time"),
        (ConnectionResetError("reset"), "the TLS handshake failed: reset"),
        (ConnectionResetError(), "the TLS handshake failed: connection closed"),
        (ssl.SSLError(1, "[SSL] something"), "the TLS handshake failed: [SSL] something"),
    ],
    ids=["time", "reset", "wordless", "without a reason"],
)
def test_why(error: Exception, text: str) -> None:
    """However a handshake fails, a postmaster reads a reason."""
    assert text in tls.why(error)
