"""TLS as the route demands it, and the certificate told from what is wrong with it."""

import contextlib
import datetime
import ssl
from pathlib import Path

import pytest
from tests.probe.asking import CREDENTIAL, SHORT_S, Book, examined, found, server_context, smart_host
from tests.support.certificates import Authority, Certificate
from tests.support.scripted import Peer, Scripted

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.findings import Finding

HOST = "smtp.test"
YEAR = datetime.timedelta(days=365)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def starttls(peer: Peer, context: ssl.SSLContext) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 go ahead")
    await peer.upgrade(context)
    await peer.expect("EHLO relay.test")
    peer.offer("SIZE 1000")
    await peer.goodbye()


async def implicit(peer: Peer) -> None:
    await peer.hello()
    await peer.goodbye()


async def over_starttls(
    certificate: Certificate, ca_file: Path | None, tls: UpstreamTLS = UpstreamTLS.REQUIRED
) -> Finding:
    context = server_context(certificate)

    async def secured(peer: Peer) -> None:
        with contextlib.suppress(ssl.SSLError, ConnectionError):  # a client that does not trust us
            await starttls(peer, context)

    async with Scripted(secured) as server:
        return await found(smart_host(server.port, tls, HOST), ca_file=ca_file)


async def over_implicit(certificate: Certificate, ca_file: Path | None) -> Finding:
    async with Scripted(implicit, tls=server_context(certificate)) as server:
        return await found(smart_host(server.port, UpstreamTLS.IMPLICIT, HOST), ca_file=ca_file)


OVER = {"STARTTLS": over_starttls, "implicit": over_implicit}


@pytest.mark.parametrize("how", OVER)
async def test_a_valid_certificate(authority: Authority, how: str) -> None:
    """Over STARTTLS and over TLS from the first byte."""
    finding = await OVER[how](authority.issue(HOST, valid_for=YEAR), authority.file)
    assert (finding.ok, finding.reason) == (True, "Reachable")


@pytest.mark.parametrize("how", OVER)
async def test_a_certificate_that_expires_soon(authority: Authority, how: str) -> None:
    """Within three weeks it is said, with the day, while mail still flows."""
    valid_for = datetime.timedelta(days=20)
    finding = await OVER[how](authority.issue(HOST, valid_for=valid_for), authority.file)
    assert (finding.ok, finding.reason) == (True, "CertificateExpiresSoon")
    assert f"{datetime.datetime.now(datetime.UTC) + valid_for:%Y-%m-%d}" in finding.message


@pytest.mark.parametrize("how", OVER)
async def test_an_expired_certificate(authority: Authority, how: str) -> None:
    """Who runs the server must renew it."""
    expired = authority.issue(HOST, valid_for=-datetime.timedelta(hours=1))
    finding = await OVER[how](expired, authority.file)
    assert (finding.ok, finding.reason) == (False, "CertificateInvalid")
    assert f"the certificate of {HOST} [127.0.0.1]" in finding.message
    assert "has expired; have it renewed" in finding.message


@pytest.mark.parametrize("how", OVER)
async def test_a_certificate_for_another_name(authority: Authority, how: str) -> None:
    """The remedy is the route's: use the name that the certificate bears."""
    finding = await OVER[how](authority.issue("other.test", valid_for=YEAR), authority.file)
    assert (finding.ok, finding.reason) == (False, "CertificateInvalid")
    assert f"is not for {HOST}" in finding.message


@pytest.mark.parametrize("how", OVER)
@pytest.mark.parametrize("trusted", ["the system's", "another of the same name"])
async def test_a_certificate_of_an_unknown_authority(
    authority: Authority, tmp_path: Path, how: str, trusted: str
) -> None:
    """As of a company's own authority that the relay's image does not know."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").file if trusted == "another of the same name" else None
    finding = await OVER[how](authority.issue(HOST, valid_for=YEAR), other)
    assert (finding.ok, finding.reason) == (False, "CertificateInvalid")
    assert "from an authority that is not trusted" in finding.message


async def test_opportunistic_takes_any_certificate(authority: Authority) -> None:
    """Expired, for another name, of an unknown authority: mail would go, so all is well."""
    bad = authority.issue("other.test", valid_for=-datetime.timedelta(hours=1))
    finding = await over_starttls(bad, None, UpstreamTLS.OPPORTUNISTIC)
    assert (finding.ok, finding.reason) == (True, "Reachable")


async def no_starttls(peer: Peer) -> None:
    await peer.hello("SIZE 1000")
    await peer.goodbye()


async def test_required_where_it_is_not_offered() -> None:
    """No mail in plain text: the finding names the ports where TLS is to be had."""
    async with Scripted(no_starttls) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.REQUIRED))
    assert (finding.ok, finding.reason) == (False, "TlsNotOffered")
    assert "tls Implicit at 465" in finding.message


async def test_opportunistic_where_it_is_not_offered() -> None:
    """Plain text it is, then."""
    async with Scripted(no_starttls) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.OPPORTUNISTIC))
    assert finding.reason == "Reachable"


async def refuses_starttls(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("454 4.7.0 no key at the moment")
    await peer.goodbye()


async def test_required_where_it_is_refused() -> None:
    """The server's words are in the finding."""
    async with Scripted(refuses_starttls) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.REQUIRED))
    assert (finding.ok, finding.reason) == (False, "TlsFailed")
    assert "454 4.7.0 no key at the moment" in finding.message


async def test_opportunistic_where_it_is_refused() -> None:
    """The same server is asked once more without, as for mail."""
    async with Scripted(refuses_starttls, no_starttls) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.OPPORTUNISTIC))
        assert server.connections == 2
    assert finding.reason == "Reachable"


async def breaks_the_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 go ahead")
    await peer.read(1)
    peer.write(b"this is not TLS at all\r\n")
    await peer.hang_up()


async def hangs_in_the_handshake(peer: Peer) -> None:
    await peer.hello("STARTTLS")
    await peer.expect("STARTTLS")
    peer.say("220 go ahead")
    await peer.hang_up()


@pytest.mark.parametrize("script", [breaks_the_handshake, hangs_in_the_handshake])
async def test_a_handshake_that_fails(script: object) -> None:
    """Nonsense or silence in the place of TLS."""
    async with Scripted(script) as server:  # type: ignore[arg-type]
        finding = await found(smart_host(server.port, UpstreamTLS.REQUIRED), within_s=SHORT_S)
    assert (finding.ok, finding.reason) == (False, "TlsFailed")


async def test_implicit_at_a_port_for_starttls() -> None:
    """The usual mistake, told with its remedy."""

    async def plain(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.hang_up()

    async with Scripted(plain) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.IMPLICIT))
    assert (finding.ok, finding.reason) == (False, "TlsFailed")
    assert "Required where STARTTLS begins it" in finding.message


async def test_starttls_at_a_port_for_implicit_tls(authority: Authority) -> None:
    """The usual mistake the other way round: both wait for the other to speak."""
    async with Scripted(implicit, tls=server_context(authority.issue(HOST))) as server:
        finding = await found(smart_host(server.port, UpstreamTLS.REQUIRED), within_s=SHORT_S)
    assert (finding.ok, finding.reason) == (False, "NoGreeting")
    assert "set tls to Implicit" in finding.message


async def test_no_password_before_the_certificate_is_good(authority: Authority) -> None:
    """A server that cannot prove its name learns nothing but ours."""
    context = server_context(authority.issue("other.test", valid_for=YEAR))
    heard: list[str] = []

    async def impostor(peer: Peer) -> None:
        await peer.hello("STARTTLS", "AUTH PLAIN")
        await peer.expect("STARTTLS")
        heard.extend(peer.heard)
        peer.say("220 go ahead")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await peer.upgrade(context)
            heard.append(await peer.line())

    async with Scripted(impostor) as server:
        result = await examined(
            smart_host(server.port, UpstreamTLS.REQUIRED, HOST),
            CREDENTIAL,
            names=Book("127.0.0.1"),
            ca_file=authority.file,
        )
    assert result.finding.reason == "CertificateInvalid"
    assert not result.login
    assert heard == ["EHLO relay.test", "STARTTLS"]
