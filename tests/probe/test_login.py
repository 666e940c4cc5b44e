"""Logging in: the relay's mechanisms in its order, one try a probe, no password anywhere but at AUTH."""

import base64
import datetime
import logging
from collections.abc import Iterator

import pytest
from tests.probe.asking import CREDENTIAL, SECRET, Book, examined, server_context, smart_host
from tests.probe.submission import submission
from tests.support.certificates import Authority
from tests.support.dovecot import PASSWORD
from tests.support.postfix import Postfix
from tests.support.scripted import Peer, Script, Scripted
from tests.support.waiting import until

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.findings import Target
from waystation_operator.plan.probing import Credential
from waystation_operator.probe.examine import Examined

HOST = "smtp.test"
PLAIN = base64.b64encode(f"\0{CREDENTIAL.username}\0{CREDENTIAL.password}".encode()).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def answers(*replies: str, offer: str = "AUTH PLAIN LOGIN", heard: list[str] | None = None) -> Script:
    """A server that gives these replies, one a line of AUTH."""

    async def script(peer: Peer) -> None:
        await peer.hello(offer)
        for reply in replies:
            line = await peer.line()
            if heard is not None:
                heard.append(line)
            peer.say(reply)
        await peer.goodbye()

    return script


async def logged_in(authority: Authority, script: Script, *, addresses: tuple[str, ...] = ()) -> Examined:
    year = datetime.timedelta(days=365)
    context = server_context(authority.issue(HOST, valid_for=year))
    async with Scripted(script, tls=context) as server:
        target = Target("smartHost", HOST, server.port, UpstreamTLS.IMPLICIT.value, SECRET)
        return await examined(target, CREDENTIAL, names=Book(*addresses), ca_file=authority.file)


@pytest.mark.parametrize(
    ("offer", "replies", "first"),
    [
        ("AUTH CRAM-MD5 LOGIN PLAIN", ("235 2.7.0 welcome",), f"AUTH PLAIN {PLAIN}"),
        ("AUTH=PLAIN", ("235 2.7.0 welcome",), f"AUTH PLAIN {PLAIN}"),
        ("AUTH CRAM-MD5 LOGIN", ("334 UGFzc3dvcmQ6", "235 2.7.0 welcome"), "AUTH LOGIN YW5u"),
        ("AUTH SCRAM-SHA-1 CRAM-MD5", ("334 PDEyM0B4Pg==", "235 2.7.0 welcome"), "AUTH CRAM-MD5"),
    ],
    ids=["all", "old syntax", "no PLAIN", "CRAM-MD5 alone"],
)
async def test_the_first_mechanism_that_is_offered(
    authority: Authority, offer: str, replies: tuple[str, ...], first: str
) -> None:
    """Over TLS PLAIN, then LOGIN, then CRAM-MD5."""
    heard: list[str] = []
    result = await logged_in(authority, answers(*replies, offer=offer, heard=heard))
    assert (result.finding.ok, result.finding.reason, result.login) == (True, "Reachable", True)
    assert "accepts the login" in result.finding.message
    assert heard[0] == first


REFUSALS = {
    "wrong password": ("535 5.7.8 authentication failed", "AuthRefused"),
    "must change password": ("534 5.7.9 use an application password", "AuthRefused"),
    "not now": ("454 4.7.0 temporary authentication failure", "AuthTemporarilyRefused"),
    "shutting down": ("421 4.3.2 closing", "AuthTemporarilyRefused"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refused_login(authority: Authority, case: str) -> None:
    """The server's code and words are told, and whether another try may help."""
    reply, reason = REFUSALS[case]

    async def script(peer: Peer) -> None:
        await peer.hello("AUTH PLAIN")
        await peer.line()
        peer.say(reply)
        await (peer.hang_up() if reply.startswith("421") else peer.goodbye())

    result = await logged_in(authority, script)
    assert (result.finding.ok, result.finding.reason, result.login) == (False, reason, True)
    assert reply in result.finding.message


async def test_one_try_a_probe(authority: Authority) -> None:
    """A host of several addresses is logged in to at one of them: each try may count towards a lock."""
    heard: list[str] = []
    result = await logged_in(
        authority, answers("454 4.7.0 later", heard=heard), addresses=("127.0.0.1", "127.0.0.1")
    )
    assert result.finding.reason == "AuthTemporarilyRefused"
    assert len(heard) == 1


async def hangs_up_at_auth(peer: Peer) -> None:
    await peer.hello("AUTH PLAIN")
    await peer.line()
    peer.drop()


async def test_a_try_without_an_answer_is_a_try(authority: Authority) -> None:
    """Who hangs up at AUTH may have counted it."""
    result = await logged_in(authority, hangs_up_at_auth)
    assert (result.finding.reason, result.login) == ("AuthTemporarilyRefused", True)


async def test_no_auth_offered(authority: Authority) -> None:
    """A port for delivery, not for submission."""
    result = await logged_in(authority, answers(offer="SIZE 1000"))
    assert (result.finding.ok, result.finding.reason, result.login) == (False, "AuthNotOffered", False)
    assert "offers no AUTH" in result.finding.message


async def test_no_mechanism_in_common(authority: Authority) -> None:
    """Those that are offered are named, and those that are known here."""
    result = await logged_in(authority, answers(offer="AUTH XOAUTH2 GSSAPI"))
    assert (result.finding.reason, result.login) == ("AuthNotOffered", False)
    assert "only with GSSAPI, XOAUTH2" in result.finding.message
    assert "PLAIN, LOGIN or CRAM-MD5" in result.finding.message


async def test_no_password_in_plain_text() -> None:
    """Without TLS neither PLAIN nor LOGIN is used, whatever the server offers."""
    async with Scripted(answers(offer="AUTH PLAIN LOGIN")) as server:
        result = await examined(smart_host(server.port), CREDENTIAL)
    assert (result.finding.ok, result.finding.reason, result.login) == (False, "AuthNotOffered", False)
    assert "set tls to Required or Implicit" in result.finding.message


async def test_a_secret_that_is_not_there() -> None:
    """The rest is probed; that the login was not is said."""
    async with Scripted(answers()) as server:
        target = Target("smartHost", "127.0.0.1", server.port, UpstreamTLS.NONE.value, SECRET)
        result = await examined(target)
    assert (result.finding.ok, result.login) == (True, False)
    assert "the login was not tried" in result.finding.message


async def test_the_password_is_told_to_nobody(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the server repeats it: as it is, in base64, or as AUTH PLAIN sends it."""
    encoded = base64.b64encode(CREDENTIAL.password.encode()).decode()
    echo = f"535 5.7.8 no such pair {CREDENTIAL.password} {encoded} {PLAIN}"
    with caplog.at_level(logging.DEBUG):
        result = await logged_in(authority, answers(echo))
    told = f"{result!r} {CREDENTIAL!r} {caplog.text}"
    assert "no such pair … … …" in result.finding.message
    for form in (CREDENTIAL.password, encoded, PLAIN):
        assert form not in told


USER = "ann@dovecot.test"


@pytest.fixture(scope="module")
def postfix(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Postfix]:
    """A submission server as they are run: AUTH after STARTTLS only, passwords checked by Dovecot."""
    folder = tmp_path_factory.mktemp("submission")
    issued = authority.issue("127.0.0.1", valid_for=datetime.timedelta(days=365))
    with submission(folder, issued) as running:
        yield running


@pytest.mark.parametrize(
    ("tls", "password", "reason"),
    [
        (UpstreamTLS.REQUIRED, PASSWORD, "Reachable"),
        (UpstreamTLS.OPPORTUNISTIC, PASSWORD, "Reachable"),
        (UpstreamTLS.REQUIRED, "wrong", "AuthRefused"),
        (UpstreamTLS.NONE, PASSWORD, "AuthNotOffered"),
    ],
)
async def test_postfix(
    postfix: Postfix, authority: Authority, tls: UpstreamTLS, password: str, reason: str
) -> None:
    """A real submission server: logged in where the password is right and the connection encrypted."""
    result = await examined(smart_host(postfix.port, tls), Credential(USER, password), ca_file=authority.file)
    assert result.finding.reason == reason
    assert ("535" in result.finding.message) == (reason == "AuthRefused")
    until(lambda: "quit=1" in postfix.log(), "Postfix to tell what it was asked")
    assert "mail=" not in postfix.log()
