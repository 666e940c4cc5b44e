"""Which addresses can be sent to from here."""

import pytest

from waystation_relay.routing.reach import has_route, reachable_from


def test_ipv4_is_taken_for_granted() -> None:
    """IPv4 addresses are always tried."""
    assert has_route("192.0.2.1")


def test_address_nobody_can_route_to() -> None:
    """An IPv6 address the kernel has no way to (here: one that needs an interface's name) is not tried."""
    assert not has_route("fe80::1")


@pytest.mark.parametrize(
    ("bind_address", "address", "expected"),
    [
        ("", "192.0.2.1", True),
        ("192.0.2.10", "192.0.2.1", True),
        ("192.0.2.10", "::1", False),
        ("2001:db8::10", "192.0.2.1", False),
    ],
)
def test_bind_address_decides_the_family(bind_address: str, address: str, expected: bool) -> None:
    """A relay bound to an IPv4 address sends to IPv4 addresses only."""
    assert reachable_from(bind_address)(address) is expected
