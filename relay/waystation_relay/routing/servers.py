"""The DNS servers to ask and the search list, from the configuration or from resolv.conf.

Known limits
    resolv.conf is read once: a pod's does not change. ``/etc/hosts`` is not read.
"""

from collections.abc import Sequence
from pathlib import Path

import dns.exception
import dns.name
import dns.resolver
import msgspec

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
MOST_SERVERS = 3  # as in the C library: more only makes a failing look-up slower


class Server(msgspec.Struct, frozen=True, gc=False):
    address: str
    port: int = DNS_PORT


class Servers(msgspec.Struct, frozen=True):
    """Whom to ask, in order; ``search`` and ``ndots`` are resolv.conf(5)'s and serve backends' hosts only."""

    servers: tuple[Server, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1


def parse(text: str) -> Server:
    """``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:5353``, already checked."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return Server(address, int(port.removeprefix(":") or DNS_PORT))
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return Server(address, int(port))
    return Server(text)


def find(configured: Sequence[str], resolv_conf: Path = RESOLV_CONF) -> Servers:
    """The configured servers, else the system's, else the one on this machine (as the C library does)."""
    system = dns.resolver.Resolver(configure=False)
    try:
        system.read_resolv_conf(str(resolv_conf))
    except (dns.resolver.NoResolverConfiguration, dns.exception.DNSException, OSError, ValueError):
        system.nameservers = ["127.0.0.1"]
    servers = [parse(text) for text in configured] or [
        Server(address) for address in system.nameservers if isinstance(address, str)
    ]
    search = system.search or [system.domain]
    return Servers(
        tuple(servers[:MOST_SERVERS]),
        tuple(name.to_text(omit_final_dot=True) for name in search if name != dns.name.root),
        1 if system.ndots is None else system.ndots,
    )
