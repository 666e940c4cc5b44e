"""Which addresses a relay listens on when it is told to listen on all of them."""

import socket
from typing import NoReturn

import pytest

from waystation_relay.aio import addresses
from waystation_relay.aio.addresses import listened_on


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1", "::1", "192.0.2.1"])
def test_an_address_is_itself(bind: str) -> None:
    """Nothing is added to what was asked for."""
    assert listened_on(bind) == (bind,)


def test_every_address_is_of_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket for each, so that IPv4 clients keep their IPv4 addresses."""
    monkeypatch.setattr(addresses, "_has_v6", lambda: True)
    assert listened_on("::") == ("0.0.0.0", "::")


def test_a_kernel_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster without IPv6 needs no other manifest."""

    def unsupported(family: int, *_: object) -> NoReturn:
        assert family == socket.AF_INET6
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", unsupported)
    assert listened_on("::") == ("0.0.0.0",)
