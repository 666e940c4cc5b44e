"""Which addresses this machine can send to at all, as its kernel's routing table has it."""

import ipaddress
import socket
from collections.abc import Callable

_ANY_PORT = 25  # never sent to: connecting a datagram socket only looks the route up


def has_route(address: str) -> bool:
    """False for an IPv6 address without a route there; IPv4 is taken for granted."""
    if ":" not in address:
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _ANY_PORT))
    except OSError:
        return False
    return True


def reachable_from(bind_address: str) -> Callable[[str], bool]:
    """The predicate for connections made from ``bind_address`` ("": the kernel's choice): its family only."""
    if not bind_address:
        return has_route
    version = ipaddress.ip_address(bind_address).version
    return lambda address: (6 if ":" in address else 4) == version and has_route(address)
