"""Where the forms of names, networks and addresses end: the cases that are easy to get wrong.

Plain examples of each form are in tests/api/test_wire.py, which holds the
definitions of the API server against them.
"""

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_contract import grammar


@pytest.mark.parametrize(
    ("networks", "everybody"),
    [
        pytest.param([], False, id="nobody"),
        pytest.param(["0.0.0.0/0"], True, id="all of IPv4"),
        pytest.param(["::/0"], True, id="all of IPv6"),
        pytest.param(["0.0.0.0/1"], False, id="half of IPv4"),
        pytest.param(["0.0.0.0/1", "128.0.0.0/1"], True, id="both halves of IPv4"),
        pytest.param(["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2"], True, id="three parts of IPv4"),
        pytest.param(["0.0.0.0/1", "8000::/1"], False, id="half of each"),
        pytest.param(["::/1", "8000::/1"], True, id="both halves of IPv6"),
        pytest.param(["8000::/1", "10.0.0.0/8"], False, id="half of IPv6 and a network"),
        pytest.param(["::/1"], True, id="the half of IPv6 that has IPv4 in it"),
        pytest.param(["nonsense", "10.0.0.0/8"], False, id="what is no network counts for nothing"),
    ],
)
def test_everybody(networks: list[str], everybody: bool) -> None:
    """A relay is open when its networks together hold all of IPv4 or of IPv6, however they are cut."""
    assert grammar.everybody(networks) is everybody


@given(st.integers(1, 6), st.randoms(use_true_random=False))
def test_everybody_is_seen_through_any_cutting(depth: int, dice: random.Random) -> None:
    """All of IPv4 in many pieces is still all of it; without one of the pieces it is not."""
    pieces = [str(n) for n in ipaddress.IPv4Network("0.0.0.0/0").subnets(depth)]
    dice.shuffle(pieces)
    assert grammar.everybody(pieces)
    assert not grammar.everybody(pieces[1:])


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param(
            "10.1.2.3/8", "write 10.0.0.0/8 for the network, or 10.1.2.3/32 for the one host", id="IPv4"
        ),
        pytest.param(
            "2001:db8::1/64",
            "write 2001:db8::/64 for the network, or 2001:db8::1/128 for the one host",
            id="IPv6",
        ),
        pytest.param("::ffff:10.0.0.0/104", "write 10.0.0.0/8", id="IPv4 in IPv6 notation"),
    ],
)
def test_network_that_was_nearly_right(text: str, remedy: str) -> None:
    """The remedy is what to write instead, not a lecture."""
    complaint = grammar.network(text)
    assert complaint is not None
    assert complaint.remedy == remedy


@given(st.ip_addresses(), st.integers(0, 128))
def test_networks(address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int) -> None:
    """Exactly the texts that name a network are taken: address without host bits, prefix in range."""
    text = f"{address}/{prefix}"
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        network = None
    mapped = ipaddress.ip_network("::ffff:0:0/96")
    expected = network is not None and not (network.version == 6 and network.subnet_of(mapped))
    assert (grammar.network(text) is None) is expected


@pytest.mark.parametrize(
    ("text", "good"),
    [
        pytest.param("a" * 252 + "@x.example", True, id="longest local part"),
        pytest.param("a" * 253 + "@x.example", False, id="local part too long"),
        pytest.param("ä" * 126 + "@x.example", True, id="local part of 252 bytes in UTF-8"),
        pytest.param("ä" * 127 + "@x.example", False, id="local part of 254 bytes in UTF-8"),
        pytest.param('"a b"@x.example', True, id="quoted"),
        pytest.param('"a@b"@x.example', True, id="quoted at-sign"),
        pytest.param(r'"a\"b"@x.example', True, id="quoted quote"),
        pytest.param('"a"b"@x.example', False, id="bare quote"),
        pytest.param('"a\nb"@x.example', False, id="line end in quotes"),
        pytest.param("a@x.example\n", False, id="line end after it"),
        pytest.param("a@x.example.", False, id="the root's dot"),
        pytest.param(".a@x.example", False, id="dot first"),
        pytest.param("a..b@x.example", False, id="two dots"),
        pytest.param("a@[192.0.2.1]", True, id="address literal"),
        pytest.param("a@[IPv6:2001:db8::1]", True, id="IPv6 literal"),
        pytest.param("a@[IPv6:2001:db8::zz]", False, id="bad IPv6 literal"),
        pytest.param("a@[]", False, id="empty literal"),
        pytest.param("a@" + ".".join(["b" * 63] * 4), False, id="domain of 255 characters"),
        pytest.param("a@b", True, id="one label"),
    ],
)
def test_addresses(text: str, good: bool) -> None:
    """RFC 5321 §4.1.2, with the lengths of §4.5.3.1."""
    assert (grammar.address(text) is None) is good
    assert (grammar.pattern(text) is None) is good  # an address is a pattern too


@pytest.mark.parametrize(
    ("text", "good"),
    [
        pytest.param("a", True, id="shortest"),
        pytest.param("mail.tls", True, id="namespace and secret"),
        pytest.param("a" * 317, True, id="longest"),
        pytest.param("a" * 318, False, id="too long"),
        pytest.param("", False, id="empty"),
        pytest.param("..", False, id="the folder above"),
        pytest.param("a/b", False, id="a path"),
        pytest.param("a..b", False, id="two dots"),
        pytest.param(".a", False, id="hidden"),
        pytest.param("A", False, id="upper case"),
        pytest.param("a\x00", False, id="NUL"),
        pytest.param("a\n", False, id="line end"),
    ],
)
def test_file_names(text: str, good: bool) -> None:
    """A credential's name becomes part of a file's name: nothing in it leads elsewhere."""
    assert (grammar.file_name(text) is None) is good


@given(st.text(max_size=30))
def test_complaints_are_complete(text: str) -> None:
    """Whatever the text, each form answers, and a complaint says what is wrong and what to do."""
    for form in (
        grammar.domain, grammar.host_name, grammar.host, grammar.ip, grammar.network, grammar.dns_server,
        grammar.address, grammar.pattern, grammar.file_name, grammar.enhanced_code, grammar.reply_text,
        grammar.reason,
    ):  # fmt: skip
        complaint = form(text)
        assert complaint is None or (complaint.problem and complaint.remedy)
