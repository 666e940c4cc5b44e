"""From MX records to the hosts to try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.routing.mx import (
    MOST_EXCHANGES,
    Exchange,
    Host,
    NullMX,
    exchanges,
    interleave,
    is_destination,
    literal,
    order,
    without_self,
)


def parse(text: str) -> list[Exchange]:
    """``"10 a, 20 b"``; ``.`` is the root."""
    pairs = [part.split() for part in text.split(",") if part]
    return [Exchange(int(preference), "" if name == "." else name) for preference, name in pairs]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param("", "0 d.test", id="implicit MX"),
        pytest.param("20 b,10 a", "10 a,20 b", id="lowest preference first"),
        pytest.param("10 a,20 a", "10 a", id="a name once, at its best"),
        pytest.param("0 .,10 a", "10 a", id="a null MX beside others means nothing"),
        pytest.param("10 192.0.2.1,20 b", "20 b", id="an address is no name"),
        pytest.param("10 2001:db8::1", "", id="nothing usable: not the implicit MX"),
    ],
)
def test_exchanges(records: str, expected: str) -> None:
    """RFC 5321 §5.1 and RFC 7505 decide which names count as mail hosts."""
    assert exchanges(parse(records), "d.test") == tuple(parse(expected))


@pytest.mark.parametrize("records", ["0 .", "10 .", "0 .,10 ."])
def test_null_mx(records: str) -> None:
    """A domain whose MX records name nobody takes no mail."""
    assert exchanges(parse(records), "d.test") == NullMX()


def test_exchanges_are_bounded() -> None:
    """A domain with hundreds of MX records does not cause hundreds of look-ups; the best are kept."""
    many = [Exchange(n, f"mx{n}") for n in range(300, 0, -1)]
    kept = exchanges(many, "d.test")
    assert isinstance(kept, tuple)
    assert [x.preference for x in kept] == list(range(1, MOST_EXCHANGES + 1))


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param("10 a,20 b", "10 a,20 b", id="we are none of them"),
        pytest.param("10 a,20 us,30 b", "10 a", id="only better ones than us"),
        pytest.param("10 a,20 b,20 us", "10 a", id="equals go too"),
        pytest.param("10 us,20 b", "", id="we are the best: a loop"),
        pytest.param("10 a,20 us,15 us", "10 a", id="our best place counts"),
    ],
)
def test_without_self(hosts: str, expected: str) -> None:
    """A backup server hands mail on to better servers only, never to itself or to its likes."""
    kept = without_self([Host(x.name, x.preference) for x in parse(hosts)], lambda h: h.name == "us")
    assert [Exchange(h.preference, h.name) for h in kept] == parse(expected)


HOSTS = st.lists(st.builds(Host, st.sampled_from("abcdef"), st.integers(0, 4)))


@given(HOSTS, st.randoms(use_true_random=False))
def test_order_keeps_preferences_and_everybody(hosts: list[Host], dice: object) -> None:
    """Whatever the dice say, a less preferred host never comes first and none is lost."""
    shuffled = order(hosts, dice.shuffle)  # type: ignore[attr-defined]
    assert sorted(shuffled, key=repr) == sorted(hosts, key=repr)
    assert [h.preference for h in shuffled] == sorted(h.preference for h in hosts)


def test_order_shuffles_equals() -> None:
    """Hosts of one preference share the load: the dice decide who is first."""
    hosts = [Host("a", 10), Host("b", 10), Host("c", 5)]
    assert [h.name for h in order(hosts, lambda hosts: hosts.reverse())] == ["c", "b", "a"]
    assert [h.name for h in order(hosts, lambda hosts: None)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("v4", "v6", "expected"),
    [
        ("ab", "xy", "axby"),
        ("abc", "x", "axbc"),
        ("a", "xyz", "axyz"),
        ("", "xy", "xy"),
        ("", "", ""),
    ],
)
def test_interleave(v4: str, v6: str, expected: str) -> None:
    """Families take turns, IPv4 first."""
    assert interleave(v4, v6) == tuple(expected)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("x.test", None),
        ("[192.0.2.1]", "192.0.2.1"),
        ("[ipv6:2001:db8::1]", "2001:db8::1"),
        ("[IPv6:2001:DB8:0::1]", "2001:db8::1"),
        ("[2001:db8::1]", ""),
        ("[ipv6:192.0.2.1]", ""),
        ("[ipv6:fe80::1%eth0]", ""),
        ("[192.0.2.1", ""),
        ("[192.0.2.999]", ""),
        ("[]", ""),
        ("[x.test]", ""),
    ],
)
def test_literal(domain: str, expected: str | None) -> None:
    """Address literals are as RFC 5321 §4.1.3 writes them, and nothing else in brackets is one."""
    assert literal(domain) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", True),
        ("127.0.0.1", True),
        ("2001:db8::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("255.255.255.255", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_is_destination(address: str, expected: bool) -> None:
    """Addresses that are nobody's, everybody's or another one in disguise get no mail."""
    assert is_destination(address) is expected
