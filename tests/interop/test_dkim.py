"""A signature made before the relay is still good behind it: nothing that was signed has changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.dkim import OpenDKIM
from tests.support.dovecot import Dovecot
from tests.support.postfix import Postfix
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import LMTP

HEADER = (
    b"From: Ann <ann@shop.test>\r\nTo: bob@next.test,\r\n\tcarol@next.test\r\n"
    b"Subject:  two  spaces and\r\n  a folded line \r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\n"
    b"Message-Id: <signed@shop.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
)
BODY = ".\r\n..hidden\r\ntrailing \t \r\n\tGrüße\r\n\r\nFrom the start of a line\r\n\r\n".encode()


@pytest.fixture(scope="module")
def opendkim(folder: Path) -> OpenDKIM:
    return OpenDKIM(folder, "shop.test")


@pytest.fixture(scope="module")
def postfix(folder: Path) -> Iterator[Postfix]:
    with Postfix(folder) as running:
        yield running


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, postfix: Postfix, dovecot: Dovecot, module_sink: Sink) -> RelayProcess:
    new_relay.configure(
        route(to(module_sink.port)),
        route(to(postfix.port), recipients=["*@postfix.test"], name="test/postfix"),
        route(
            LMTP(host="127.0.0.1", port=dovecot.lmtp_port), recipients=["*@dovecot.test"], name="test/lmtp"
        ),
    )
    return new_relay.start()


@pytest.fixture(scope="module")
def signed(opendkim: OpenDKIM) -> bytes:
    message = opendkim.sign(HEADER + BODY)
    assert opendkim.verdict(message) == "succeeded"
    return message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"two  spaces", b"two spaces", id="a space in the header"),
        pytest.param(b"trailing \t ", b"trailing", id="a space in the body"),
        pytest.param(b"..hidden", b".hidden", id="a dot"),
    ],
)
def test_the_probe_notices_a_changed_byte(opendkim: OpenDKIM, signed: bytes, old: bytes, new: bytes) -> None:
    """A message with one byte less does not verify: the tests below can fail."""
    assert opendkim.verdict(signed.replace(old, new)).startswith("failed")


def test_verifies_at_the_next_hop(relay: RelayProcess, sink: Sink, opendkim: OpenDKIM, signed: bytes) -> None:
    """As received from the relay, with its Received field on top."""
    clients.send(relay.port, "ann@shop.test", "bob@next.test", signed, options=["BODY=8BITMIME"])
    (received,) = sink.wait(1)
    assert received.content.startswith(b"Received: ")
    assert opendkim.verdict(received.content) == "succeeded"


def test_verifies_in_the_mailbox_of_postfix(
    relay: RelayProcess, postfix: Postfix, opendkim: OpenDKIM, signed: bytes
) -> None:
    """Two relays later, in the file that Postfix wrote."""
    clients.send(relay.port, "ann@shop.test", "bob@postfix.test", signed, options=["BODY=8BITMIME"])
    (mail,) = until(lambda: postfix.mailbox("bob@postfix.test"), "the mail in Bob's mailbox")
    assert opendkim.verdict(mail.replace(b"\n", b"\r\n")) == "succeeded"


def test_verifies_in_the_mailbox_of_dovecot(
    relay: RelayProcess, dovecot: Dovecot, opendkim: OpenDKIM, signed: bytes
) -> None:
    """By LMTP, in the file that Dovecot wrote."""
    clients.send(relay.port, "ann@shop.test", "bob@dovecot.test", signed, options=["BODY=8BITMIME"])
    (mail,) = until(lambda: dovecot.mails("bob@dovecot.test"), "the mail in Bob's mailbox")
    assert opendkim.verdict(mail.replace(b"\n", b"\r\n")) == "succeeded"


def test_verifies_when_streamed(relay: RelayProcess, sink: Sink, opendkim: OpenDKIM, tmp_path: Path) -> None:
    """A message above 1 MiB, which never is in memory as a whole."""
    large = opendkim.sign(HEADER + BODY + b"0123456789abcdef .\r\n" * 100_000)
    clients.send(relay.port, "ann@shop.test", "bob@next.test", large, options=["BODY=8BITMIME"])
    (received,) = sink.wait(1)
    assert opendkim.verdict(received.content) == "succeeded"
