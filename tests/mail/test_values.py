"""The values that travel: addresses taken apart, replies put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.mail.address import domain_of, normal_domain, split
from waystation_relay.mail.envelope import Notify
from waystation_relay.mail.reply import encode, reply


@pytest.mark.parametrize(
    ("address", "local", "domain", "normal"),
    [
        ("ann@corp.test", "ann", "corp.test", "corp.test"),
        ("Ann@Corp.TEST.", "Ann", "Corp.TEST.", "corp.test"),
        ('"a@b"@corp.test', '"a@b"', "corp.test", "corp.test"),
        ("postmaster", "postmaster", "", ""),
        ("", "", "", ""),
        ("ann@[192.0.2.1]", "ann", "[192.0.2.1]", "[192.0.2.1]"),
        ("ann@[IPv6:2001:DB8::1]", "ann", "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]"),
        ("dörte@Bücher.test", "dörte", "Bücher.test", "xn--bcher-kva.test"),
        ("ann@xn--bcher-kva.test", "ann", "xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("ann@bad domain ü.test", "ann", "bad domain ü.test", "bad domain ü.test"),
        ("ann@" + "ü" * 80 + ".test", "ann", "ü" * 80 + ".test", "ü" * 80 + ".test"),
    ],
)
def test_addresses_are_taken_apart(address: str, local: str, domain: str, normal: str) -> None:
    """Local part and domain as written; the domain for comparing in lower case and as A-labels."""
    assert split(address) == (local, domain)
    assert domain_of(address) == normal


@given(st.text(max_size=80))
def test_any_domain_has_a_normal_form(domain: str) -> None:
    """Whatever a stranger calls a domain, comparing it raises nothing, and twice is the same as once."""
    once = normal_domain(domain)
    assert normal_domain(once) == once


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (reply(250, "2.1.5", "ok"), b"250 2.1.5 ok\r\n"),
        (reply(220, "", "relay.test ESMTP"), b"220 relay.test ESMTP\r\n"),
        (reply(250, "", "a.test", "PIPELINING", "SIZE 1"), b"250-a.test\r\n250-PIPELINING\r\n250 SIZE 1\r\n"),
        (reply(550, "5.7.1", "no", "never"), b"550-5.7.1 no\r\n550 5.7.1 never\r\n"),
        (reply(354, ""), b"354 \r\n"),
        (reply(250, "2.0.0", "grüß"), "250 2.0.0 grüß\r\n".encode()),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_replies_on_the_wire(value, wire: bytes) -> None:
    """RFC 5321 §4.2.1: a hyphen after the code of every line but the last; the enhanced code on each line."""
    assert encode(value) == wire


@pytest.mark.parametrize(
    ("code", "positive", "temporary", "permanent"),
    [
        (250, True, False, False),
        (354, True, False, False),
        (421, False, True, False),
        (599, False, False, True),
        (199, False, False, False),
        (600, False, False, False),
    ],
)
def test_the_first_digit_decides(code: int, positive: bool, temporary: bool, permanent: bool) -> None:
    """2 and 3 go on, 4 is for now, 5 for good; anything else is none of these."""
    said = reply(code, "", "x")
    assert (said.is_positive, said.is_temporary, said.is_permanent) == (positive, temporary, permanent)


def test_a_reply_reads_as_one_line() -> None:
    """In logs and reports a reply is its code, its enhanced code where it has one, and its words."""
    assert str(reply(550, "5.1.1", "no such", "mailbox")) == "550 5.1.1 no such mailbox"
    assert str(reply(550, "", "no")) == "550 no"
    assert str(reply(550, "")) == "550"


def test_notify_never_is_not_the_default() -> None:
    """No NOTIFY means failure and perhaps delay; NEVER means nothing: they must not be mixed up."""
    assert Notify.DEFAULT is not Notify.NEVER
    assert not Notify.DEFAULT
    assert Notify.NEVER
