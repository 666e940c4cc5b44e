"""Logging in at a smart host: which mechanism, what is written, and never a password in the clear."""

import base64
import hashlib
import hmac
import ssl
from collections.abc import Callable, Iterator

import pytest
from tests.support.certificates import Authority
from tests.support.delivering import At, connection_to, failure_of, send, told, transaction
from tests.support.dovecot import PASSWORD, Dovecot
from tests.support.dovecot import USERS as DOVECOT_USERS
from tests.support.postfix import Postfix
from tests.support.scripted import Peer, Script, Scripted
from tests.support.waiting import until

from waystation_relay.delivery import sasl
from waystation_relay.delivery.connect import Settings
from waystation_relay.delivery.target import Security

Serving = Callable[..., ssl.SSLContext]
USER = DOVECOT_USERS[0]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# A real server that checks: Postfix, asking Dovecot


@pytest.fixture(scope="module")
def smart_host(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Callable[[str], Postfix]]:
    """Takes mail from who logs in and from nobody else; offers TLS. Made for a list of mechanisms."""
    folder = tmp_path_factory.mktemp("smart-host")
    certificate = authority.issue("submission.test")
    made: dict[str, Postfix] = {}
    with Dovecot(folder) as dovecot:

        def start(filtered: str) -> Postfix:
            if filtered not in made:
                made[filtered] = Postfix(
                    folder,
                    smtpd_tls_security_level="may",
                    smtpd_tls_chain_files=f"{certificate.key}, {certificate.chain}",
                    smtpd_sasl_auth_enable="yes",
                    smtpd_sasl_type="dovecot",
                    smtpd_sasl_path=f"inet:127.0.0.1:{dovecot.auth_port}",
                    smtpd_sasl_mechanism_filter=filtered,
                    smtpd_recipient_restrictions="permit_sasl_authenticated, reject",
                )
                made[filtered].start()
            return made[filtered]

        yield start
        for running in made.values():
            running.stop()


@pytest.mark.parametrize(
    ("mechanism", "security"),
    [
        pytest.param("plain", Security.REQUIRED, id="PLAIN over TLS"),
        pytest.param("login", Security.REQUIRED, id="LOGIN over TLS"),
        pytest.param("cram-md5", Security.REQUIRED, id="CRAM-MD5 over TLS"),
        pytest.param("cram-md5", Security.NONE, id="CRAM-MD5 in the clear"),
        pytest.param("plain", Security.OPPORTUNISTIC, id="PLAIN over opportunistic TLS"),
    ],
)
async def test_login_at_a_real_server(
    mechanism: str, security: Security, smart_host: Callable[[str], Postfix], authority: Authority
) -> None:
    """The right password opens the way, and the mail of who logged in is taken."""
    postfix = smart_host(mechanism)
    connection = await connection_to(
        postfix.port,
        At("submission.test"),
        security=security,
        username=USER,
        password=PASSWORD,
        ca_file=str(authority.file),
    )
    before = len(postfix.mailbox("ann@postfix.test"))
    (outcome,) = (await send(connection, transaction("ann@postfix.test"))).outcomes
    assert told(outcome) == "delivered 250 2.0.0"
    connection.quit()
    until(lambda: len(postfix.mailbox("ann@postfix.test")) > before, "the mail in the mailbox")
    assert f"sasl_method={mechanism.upper()}, sasl_username={USER}" in postfix.log()


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5"])
async def test_wrong_password_at_a_real_server(
    mechanism: str, smart_host: Callable[[str], Postfix], authority: Authority
) -> None:
    """A wrong password is our configuration's fault: the mail waits, and the reply says what to mend."""
    failure = await failure_of(
        smart_host(mechanism).port,
        At("submission.test"),
        security=Security.REQUIRED,
        username=USER,
        password="wrong",
        ca_file=str(authority.file),
    )
    assert told(failure.outcome) == "deferred auth 454 4.7.8"
    assert "535" in failure.outcome.reply.text
    assert "correct the credentials" in failure.outcome.reply.text


async def test_mail_without_login_is_not_bounced() -> None:
    """A smart host that wants a login the route does not give is a misconfiguration: the mail waits."""

    async def wants_login(peer: Peer) -> None:
        await peer.hello("AUTH PLAIN")
        await peer.line()
        peer.say("530 5.7.0 Authentication required")
        await peer.goodbye()

    async with Scripted(wants_login) as server:
        connection = await connection_to(server.port)
        assert told((await send(connection, transaction())).outcomes[0]) == "deferred auth 530 5.7.0"
        connection.quit()


# Never in the clear


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        pytest.param(
            ("AUTH PLAIN LOGIN",), "not encrypted, so the password is not sent", id="PLAIN and LOGIN"
        ),
        pytest.param(("AUTH=LOGIN",), "not encrypted, so the password is not sent", id="AUTH as of old"),
        pytest.param(("AUTH GSSAPI",), "not encrypted, so the password is not sent", id="nothing we know"),
        pytest.param((), "does not offer AUTH; many servers offer it only over TLS", id="none"),
    ],
)
@pytest.mark.parametrize("security", [Security.NONE, Security.OPPORTUNISTIC])
async def test_password_is_never_sent_in_the_clear(
    keywords: tuple[str, ...], text: str, security: Security
) -> None:
    """Without TLS, mechanisms that hand over the password are not used, whatever the server offers."""
    said: list[bytes] = []

    async def eager(peer: Peer) -> None:
        await peer.hello(*keywords)
        said.append(await peer.hang_up())

    async with Scripted(eager) as server:
        failure = await failure_of(
            server.port, At("a.test"), At("b.test"), security=security, username="ann", password="secret"
        )
        assert server.connections == 1, "another address of the smart host would say the same"
    assert told(failure.outcome) == "deferred auth 454 4.7.8"
    assert text in failure.outcome.reply.text
    assert said == [b"QUIT\r\n"]


async def test_no_password_after_a_failed_handshake() -> None:
    """When opportunistic TLS fails and plain text is all there is, the password stays here."""

    async def no_tls(peer: Peer) -> None:
        await peer.hello("STARTTLS", "AUTH PLAIN")
        await peer.expect("STARTTLS")
        peer.say("454 4.7.0 not now")
        await peer.hang_up()

    async def without(peer: Peer) -> None:
        await peer.hello("STARTTLS", "AUTH PLAIN")
        assert await peer.hang_up() == b"QUIT\r\n"

    async with Scripted(no_tls, without) as server:
        failure = await failure_of(
            server.port, security=Security.OPPORTUNISTIC, username="ann", password="secret"
        )
    assert told(failure.outcome) == "deferred auth 454 4.7.8"


# What is written, and odd servers


def over_tls(context: ssl.SSLContext, mechanisms: str, then: Script) -> Script:
    async def script(peer: Peer) -> None:
        await peer.hello("STARTTLS")
        await peer.expect("STARTTLS")
        peer.say("220 2.0.0 go ahead")
        await peer.upgrade(context)
        await peer.expect("EHLO relay.test")
        peer.offer(f"AUTH {mechanisms}")
        await then(peer)

    return script


async def plain(peer: Peer) -> None:
    await peer.expect("AUTH PLAIN " + encoded("\0ann\0sécret"))
    peer.say("235 2.7.0 welcome")
    await peer.goodbye()


async def login(peer: Peer) -> None:
    await peer.expect("AUTH LOGIN")
    peer.say("334 VXNlcm5hbWU6")
    await peer.expect(encoded("ann"))
    peer.say("334 UGFzc3dvcmQ6")
    await peer.expect(encoded("sécret"))
    peer.say("235 2.7.0 welcome")
    await peer.goodbye()


async def login_without_prompts(peer: Peer) -> None:
    await peer.expect("AUTH LOGIN")
    peer.say("334")
    await peer.expect(encoded("ann"))
    peer.say("334 ")
    await peer.expect(encoded("sécret"))
    peer.say("235 welcome")
    await peer.goodbye()


async def cram_md5(peer: Peer) -> None:
    challenge = "<1896.697170952@mx.test>"
    await peer.expect("AUTH CRAM-MD5")
    peer.say(f"334 {encoded(challenge)}")
    digest = hmac.new("sécret".encode(), challenge.encode(), hashlib.md5).hexdigest()
    await peer.expect(encoded(f"ann {digest}"))
    peer.say("235 2.7.0 welcome")
    await peer.goodbye()


@pytest.mark.parametrize(
    ("mechanisms", "script"),
    [
        pytest.param("CRAM-MD5 LOGIN PLAIN", plain, id="PLAIN is preferred"),
        pytest.param("plain", plain, id="lower case"),
        pytest.param("CRAM-MD5 LOGIN", login, id="then LOGIN"),
        pytest.param("LOGIN", login_without_prompts, id="LOGIN without prompts"),
        pytest.param("CRAM-MD5 X-OTHER", cram_md5, id="then CRAM-MD5"),
    ],
)
async def test_mechanism(mechanisms: str, script: Script, serving: Serving) -> None:
    """Over TLS the simplest mechanism offered is used, with user name and password in UTF-8."""
    async with Scripted(over_tls(serving("mx.test"), mechanisms, script)) as server:
        connection = await connection_to(
            server.port, security=Security.OPPORTUNISTIC, username="ann", password="sécret"
        )
        connection.quit()


async def wants_more_than_plain_has(peer: Peer) -> None:
    await peer.line()
    peer.say("334 ")
    await peer.expect("*")
    peer.say("334 go on, go on")
    await peer.hang_up()


async def challenges_in_no_base64(peer: Peer) -> None:
    await peer.line()
    peer.say("334 what's the word?")
    await peer.expect("*")
    peer.say("501 5.7.0 cancelled")
    await peer.hang_up()


async def no_login(peer: Peer) -> None:
    assert await peer.hang_up() == b"QUIT\r\n"


def answers(line: str) -> Script:
    async def script(peer: Peer) -> None:
        await peer.line()
        peer.say(line)
        await peer.hang_up()

    return script


@pytest.mark.parametrize(
    ("mechanisms", "script", "text", "tries"),
    [
        pytest.param("PLAIN", answers("535 5.7.8 bad credentials"), "535 5.7.8 bad", 1, id="535"),
        pytest.param(
            "PLAIN", answers("454 4.7.0 try later"), "454 4.7.0 try later", 2, id="454: another may do"
        ),
        pytest.param("PLAIN", answers("250 ok"), "250 ok", 2, id="250 is no 235"),
        pytest.param("PLAIN", wants_more_than_plain_has, "challenges make no sense", 2, id="334 without end"),
        pytest.param("LOGIN", challenges_in_no_base64, "challenges make no sense", 2, id="no base64"),
        pytest.param("XOAUTH2 GSSAPI", no_login, "it offers only GSSAPI, XOAUTH2", 1, id="none we know"),
    ],
)
async def test_login_refused(
    mechanisms: str, script: Script, text: str, tries: int, serving: Serving
) -> None:
    """A refused login defers; another address is tried where it could know better."""
    async with Scripted(over_tls(serving("mx.test"), mechanisms, script)) as server:
        failure = await failure_of(
            server.port,
            At("a.test"),
            At("b.test"),
            security=Security.OPPORTUNISTIC,
            username="ann",
            password="secret",
        )
    assert told(failure.outcome) == "deferred auth 454 4.7.8"
    assert text in failure.outcome.reply.text
    assert server.connections == tries


async def test_lost_while_logging_in(serving: Serving) -> None:
    """A server that hangs up on our login is told as lost, not as a wrong password."""

    async def hangs_up(peer: Peer) -> None:
        await peer.line()
        peer.close()

    async with Scripted(over_tls(serving("mx.test"), "PLAIN", hangs_up)) as server:
        failure = await failure_of(
            server.port, security=Security.OPPORTUNISTIC, username="ann", password="secret"
        )
    assert told(failure.outcome) == "deferred connect 451 4.4.2"


# The lines (RFC 4616, RFC 2195)


def test_long_password_waits_for_its_own_line() -> None:
    """An initial response that would make the command line too long is sent when asked for (RFC 4954 §4)."""
    login = sasl.choose({"PLAIN"}, secure=True)
    assert login is not None
    lines = login("ann", "x" * 1000)
    assert next(lines) == b"AUTH PLAIN\r\n"
    assert base64.b64decode(lines.send(b"")) == b"\0ann\0" + b"x" * 1000


def test_cram_md5_as_in_its_rfc() -> None:
    """The worked example of RFC 2195 §2."""
    login = sasl.choose({"CRAM-MD5"}, secure=False)
    assert login is not None
    lines = login("tim", "tanstaaftanstaaf")
    next(lines)
    answer = lines.send(b"<1896.697170952@postoffice.reston.mci.net>")
    assert answer == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\r\n"


def test_credentials_are_not_shown() -> None:
    """Settings that end up in a log or a traceback do not show the password."""
    assert "secret" not in repr(Settings("relay.test", username="ann", password="secret"))


@pytest.mark.parametrize(
    ("text", "challenge"),
    [("", b""), ("YWJj", b"abc"), ("YWJ", None), ("a b", None), ("ä", None), ("YW=Jj", None)],
)
def test_challenge(text: str, challenge: bytes | None) -> None:
    """A challenge is base64 or it is nothing."""
    assert sasl.decode(text) == challenge
