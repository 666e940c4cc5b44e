"""What one listener offers under one configuration, compiled once: networks parsed, replies encoded.

A session looks at its door's terms at each EHLO and each MAIL, so a new
configuration counts from the next transaction on; a transaction begun keeps
the terms it began with.
"""

import functools
import ipaddress
import ssl
from collections.abc import Sequence

from waystation_contract.model import Limits, Listener, ListenerTLS
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.mail.reply import encode, reply
from waystation_relay.routing.table import Table

SOFTWARE = "Waystation"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EXTENSIONS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES", "DSN")


class Terms:
    __slots__ = (
        "certificate", "ehlo", "ehlo_tls", "greeting", "helo", "hostname", "implicit", "limits", "listener",
        "networks", "postmaster", "starttls", "table", "tls_required",
    )  # fmt: skip

    def __init__(self, snapshot: Snapshot, listener: Listener) -> None:
        self.listener = listener.name
        self.hostname = snapshot.document.hostname
        # RFC 5321 §4.1.1.3: <postmaster> without a domain is always somebody's address.
        self.postmaster = snapshot.document.postmaster or f"postmaster@{self.hostname}"
        self.limits: Limits = listener.limits
        self.networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, listener.clients))
        self.table: Table = snapshot.table
        self.certificate: ssl.SSLContext | None = (
            snapshot.certificate(listener.certificate) if listener.certificate else None
        )
        self.implicit = listener.tls is ListenerTLS.IMPLICIT
        self.tls_required = listener.tls is ListenerTLS.REQUIRED
        self.starttls = listener.tls in {ListenerTLS.OPPORTUNISTIC, ListenerTLS.REQUIRED}
        self.greeting = encode(reply(220, "", f"{self.hostname} ESMTP {SOFTWARE}"))
        self.helo = encode(reply(250, "", self.hostname))
        extensions = [*_EXTENSIONS, *_figures(self.limits)]
        self.ehlo_tls = _offer(self.hostname, extensions)
        self.ehlo = _offer(self.hostname, [*extensions, "STARTTLS"] if self.starttls else extensions)

    def may_relay(self, client: Address) -> bool:
        return any(client in network for network in self.networks)


def _figures(limits: Limits) -> tuple[str, ...]:
    """RFC 1870, RFC 9422."""
    return f"SIZE {limits.max_message_bytes}", f"LIMITS RCPTMAX={limits.max_recipients}"


def _offer(hostname: str, extensions: Sequence[str]) -> bytes:
    return encode(reply(250, "", hostname, *extensions))


@functools.lru_cache(maxsize=4096)
def client_address(text: str) -> Address:
    """The peer's address; an IPv4 client of a dual-stack socket as IPv4. Cached: clients come back."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address
