"""What a listener offers, who may relay, and the Received field."""

import ipaddress
import ssl

import pytest
from tests.support.tables import table

from waystation_contract.model import Document, Limits, Listener, ListenerTLS
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.receive import trace
from waystation_relay.receive.terms import Terms, client_address
from waystation_relay.routing.table import Table

OFFERED = ("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN")


def terms(**fields: object) -> Terms:
    listener = Listener(name="smtp", port=2525, service_port=25, **fields)  # type: ignore[arg-type] # by name
    document = Document(version=1, pool="mail/relay", hostname="relay.test", listeners=(listener,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return Terms(Snapshot(document, "", Table(()), {}, {"relay": context}, Table(())), listener)


def lines(reply: bytes) -> list[str]:
    found = reply.decode().splitlines()
    assert [line[3] for line in found] == ["-"] * (len(found) - 1) + [" "]
    return [line[4:] for line in found]


@pytest.mark.parametrize(
    ("tls", "plain", "secured"),
    [
        pytest.param(ListenerTLS.NONE, False, False, id="None"),
        pytest.param(ListenerTLS.OPPORTUNISTIC, True, False, id="Opportunistic"),
        pytest.param(ListenerTLS.REQUIRED, True, False, id="Required"),
        pytest.param(ListenerTLS.IMPLICIT, False, False, id="Implicit"),
    ],
)
def test_ehlo_offers_what_there_is(tls: ListenerTLS, plain: bool, secured: bool) -> None:
    """The extensions, the limits, and STARTTLS where and while it can be had."""
    made = terms(tls=tls, certificate="relay", limits=Limits(max_message_bytes=5000, max_recipients=7))
    everything = ["relay.test", *OFFERED, "SIZE 5000", "LIMITS RCPTMAX=7"]
    assert lines(made.ehlo) == everything + ["STARTTLS"] * plain
    assert lines(made.ehlo_tls) == everything + ["STARTTLS"] * secured


def test_greeting_and_helo() -> None:
    """The relay says its name and what it is, but no version."""
    made = terms()
    assert made.greeting == b"220 relay.test ESMTP Waystation\r\n"
    assert made.helo == b"250 relay.test\r\n"


@pytest.mark.parametrize(
    ("clients", "client", "allowed"),
    [
        pytest.param(("192.0.2.0/24",), "192.0.2.7", True, id="in the network"),
        pytest.param(("192.0.2.0/24",), "192.0.3.7", False, id="outside"),
        pytest.param(("192.0.2.7/32", "198.51.100.0/24"), "198.51.100.1", True, id="in one of two"),
        pytest.param((), "192.0.2.7", False, id="no network"),
        pytest.param(("2001:db8::/32",), "2001:db8::7", True, id="IPv6"),
        pytest.param(("2001:db8::/32",), "192.0.2.7", False, id="the other family"),
        pytest.param(("192.0.2.0/24",), "2001:db8::7", False, id="the other family too"),
        pytest.param(("192.0.2.0/24",), "::ffff:192.0.2.7", True, id="IPv4 in an IPv6 socket"),
        pytest.param(("fe80::/10",), "fe80::7%eth0", True, id="with its interface"),
    ],
)
def test_networks_decide_who_may_relay(clients: tuple[str, ...], client: str, allowed: bool) -> None:
    """Exactly the listener's networks may send mail on."""
    assert terms(clients=clients).may_relay(client_address(client)) == allowed


def test_a_mapped_address_is_the_address() -> None:
    """An IPv4 client of an IPv6 socket is known by its IPv4 address, in limits and logs too."""
    assert client_address("::ffff:192.0.2.7") == ipaddress.ip_address("192.0.2.7")


# Received


def field(**changed: object) -> str:
    known: dict[str, object] = {
        "helo": "client.test", "client": "192.0.2.7", "hostname": "relay.test", "word": "ESMTP",
        "queue_id": "1KA3ZQ9W0TH-7F2QX", "arrival": 1_800_000_000.9, "recipient": "b@next.test", "cipher": "",
    }  # fmt: skip
    return trace.received(**{**known, **changed}).decode()  # type: ignore[arg-type] # by name


def test_received_names_the_only_recipient() -> None:
    """RFC 5321 §4.4, folded; the time is UTC."""
    assert field() == (
        "Received: from client.test ([192.0.2.7])\r\n"
        "\tby relay.test (Waystation) with ESMTP\r\n"
        "\tid 1KA3ZQ9W0TH-7F2QX\r\n"
        "\tfor <b@next.test>;\r\n"
        "\tFri, 15 Jan 2027 08:00:00 +0000\r\n"
    )


def test_received_hides_several_recipients() -> None:
    """Nobody learns of a blind copy from the trace."""
    assert "\tid 1KA3ZQ9W0TH-7F2QX;\r\n\tFri," in field(recipient="")


def test_received_tells_of_tls_and_ipv6() -> None:
    """The cipher stands in a comment, an IPv6 address with its tag."""
    assert field(client="2001:db8::7", cipher="using TLSv1.3 with cipher X", word="ESMTPS").startswith(
        "Received: from client.test ([IPv6:2001:db8::7])\r\n"
        "\t(using TLSv1.3 with cipher X)\r\n"
        "\tby relay.test (Waystation) with ESMTPS\r\n"
    )


def test_received_in_its_own_script() -> None:
    """A recipient that needed SMTPUTF8 is written as it was said."""
    assert "for <ü@bücher.test>;" in field(recipient="ü@bücher.test", word="UTF8SMTP")


@pytest.mark.parametrize(
    ("helo", "shown"),
    [
        ("client.test", "client.test"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("a(b)c", "a?b?c"),
        ("x;by", "x?by"),
        ("<a@b>", "?a?b?"),
        ('"\\', "??"),
        ("a,b", "a?b"),
    ],
)
def test_what_a_client_calls_itself_means_nothing_in_the_field(helo: str, shown: str) -> None:
    """No comment, address or date can be put into the trace by saying EHLO."""
    assert field(helo=helo).startswith(f"Received: from {shown} ([192.0.2.7])\r\n")


@pytest.mark.parametrize(
    ("extended", "tls", "smtputf8", "word"),
    [
        (False, False, False, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "UTF8SMTP"),
        (True, True, True, "UTF8SMTPS"),
    ],
)
def test_the_with_word(extended: bool, tls: bool, smtputf8: bool, word: str) -> None:
    """RFC 3848 and RFC 6531 §4.3."""
    assert trace.protocol(extended=extended, tls=tls, smtputf8=smtputf8) == word


def test_lines_stay_short() -> None:
    """However long the names are, no line passes RFC 5322's 998 characters."""
    folded = field(helo="h" * 255, recipient=f"{'l' * 64}@{'d' * 189}", hostname="r" * 253)
    assert max(map(len, folded.split("\r\n"))) < 600


# Documents


def test_the_documented_extensions_are_those_offered() -> None:
    """docs/receiving.md lists what EHLO offers, in its order."""
    documented = [row["extension"] for row in table("receiving.md", "extension", "RFC", "what it means here")]
    made = terms(tls=ListenerTLS.REQUIRED, certificate="relay")
    assert documented == [line.split()[0] for line in lines(made.ehlo)[1:]]


def test_the_documented_tls_modes_are_those_there_are() -> None:
    """docs/receiving.md says what each mode means."""
    rows = table("receiving.md", "tls.mode", "what a client meets")
    assert [row["tls.mode"] for row in rows] == [mode.value for mode in ListenerTLS]
