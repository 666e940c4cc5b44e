"""A smart host that wants to know us: Postfix with AUTH, its passwords checked by Dovecot, over TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.certificates import Authority
from tests.support.dovecot import PASSWORD, Dovecot
from tests.support.postfix import Postfix
from tests.support.relay import RelayProcess, route
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import SmartHost, UpstreamTLS

USER = "ann@dovecot.test"
NewPostfix = Callable[..., Postfix]


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, authority: Authority, module_sink: Sink) -> RelayProcess:
    """Trusts the test's authority alone. Each test configures where mail goes."""
    new_relay.environment["SSL_CERT_FILE"] = str(authority.file)
    new_relay.credential("upstream", USER, PASSWORD)
    new_relay.configure(route(SmartHost(host="127.0.0.1", port=module_sink.port)))
    return new_relay.start()


@pytest.fixture(autouse=True)
def empty(relay: RelayProcess) -> Iterator[None]:
    """What one test leaves in the queue is not the next one's."""
    yield
    if relay.queued():
        relay.queue_run("delete", "--all")


@pytest.fixture
def new_postfix(
    tmp_path: Path, authority: Authority, dovecot: Dovecot, module_sink: Sink
) -> Iterator[NewPostfix]:
    """Makes a Postfix that relays to the sink for who has logged in, and for nobody else."""
    made: list[Postfix] = []

    def make(mechanism: str, host: str = "127.0.0.1", **options: str) -> Postfix:
        issued = authority.issue(host)
        postfix = Postfix(
            tmp_path,
            relay_to_port=module_sink.port,
            smtpd_relay_restrictions="permit_sasl_authenticated, reject",
            smtpd_sasl_auth_enable="yes",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path=f"inet:127.0.0.1:{dovecot.auth_port}",
            smtpd_sasl_mechanism_filter=mechanism,
            smtpd_tls_chain_files=f"{issued.key} {issued.chain}",
            **{"smtpd_tls_security_level": "may", "smtpd_tls_auth_only": "yes", **options},
        )
        postfix.start()
        made.append(postfix)
        return postfix

    yield make
    for postfix in made:
        postfix.stop()


def deliver_by(relay: RelayProcess, postfix: Postfix, tls: UpstreamTLS) -> None:
    """From now on the relay's mail goes to this Postfix, logged in."""
    relay.apply(route(SmartHost(host="127.0.0.1", port=postfix.port, tls=tls, credential="upstream")))


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5"])
def test_logged_in_over_verified_tls(
    relay: RelayProcess, new_postfix: NewPostfix, sink: Sink, mechanism: str
) -> None:
    """Whichever of the three mechanisms the smart host offers, the mail is relayed under our user name."""
    postfix = new_postfix(mechanism)
    deliver_by(relay, postfix, UpstreamTLS.REQUIRED)
    clients.send(relay.port, "ann@shop.test", "bob@next.test", clients.mail("let me through"))
    (received,) = sink.wait(1)
    assert received.recipients == ("bob@next.test",)
    assert f"sasl_method={mechanism.upper()}, sasl_username={USER}" in postfix.log()
    assert b"with ESMTPSA" in received.content


def test_cram_md5_needs_no_tls(relay: RelayProcess, new_postfix: NewPostfix, sink: Sink) -> None:
    """Where there is no TLS the password itself is never sent, but its CRAM-MD5 digest may be."""
    postfix = new_postfix("plain, cram-md5", smtpd_tls_security_level="none", smtpd_tls_auth_only="no")
    deliver_by(relay, postfix, UpstreamTLS.OPPORTUNISTIC)
    clients.send(relay.port, "ann@shop.test", "bob@next.test", clients.mail("in the clear"))
    sink.wait(1)
    assert "sasl_method=CRAM-MD5" in postfix.log()


def waits(relay: RelayProcess, reason: str) -> str:
    """The last reply that one mail waits with, once it waits for ``reason``."""
    line = relay.wait_log("message.deferred", reason=reason)
    (message,) = relay.queue("list")
    assert message["recipients"][0]["reason"] == reason
    return str(line["reply"])


def test_a_wrong_password_waits_until_it_is_corrected(
    relay: RelayProcess, new_postfix: NewPostfix, sink: Sink
) -> None:
    """A refused login bounces nobody's mail: it waits with reason auth, and goes once the Secret is right."""
    postfix = new_postfix("plain")
    relay.credential("upstream", USER, "wrong")
    try:
        deliver_by(relay, postfix, UpstreamTLS.REQUIRED)
        clients.send(relay.port, "ann@shop.test", "bob@next.test", clients.mail("who are you"))
        reply = waits(relay, "auth")
        assert "535" in reply
        assert "wrong" not in reply
        assert sink.received == []
    finally:
        relay.credential("upstream", USER, PASSWORD)
    sink.wait(1)
    until(lambda: relay.queued() == 0, "an empty queue")


def test_a_password_is_not_sent_to_who_cannot_prove_its_name(
    relay: RelayProcess, new_postfix: NewPostfix, sink: Sink
) -> None:
    """A certificate for another host: with tls Required neither login nor mail is sent; the mail waits."""
    postfix = new_postfix("plain", host="impostor.test")
    deliver_by(relay, postfix, UpstreamTLS.REQUIRED)
    clients.send(relay.port, "ann@shop.test", "bob@next.test", clients.mail("are you who you say"))
    assert "certificate" in waits(relay, "tls")
    assert "sasl_method" not in postfix.log()
    assert sink.received == []
