"""From MX records to the hosts to try, in order. Pure: the caller looks up and throws the dice.

RFC 5321 §5.1 with RFC 7505 (null MX): a domain without MX records is its own
mail host; one whose only record is ``.`` takes no mail; otherwise the lowest
preference comes first and equals in random order. A server that finds itself
among the hosts keeps only those strictly better than itself, or mail would go
round in circles.

Known limits
    Only the ``MOST_EXCHANGES`` most preferred records are used, and of a host
    ``MOST_ADDRESSES`` addresses of each family: a domain's owner must not decide how much
    work its mail makes.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

MOST_EXCHANGES = 16
MOST_ADDRESSES = 16

Shuffle = Callable[[list[Any]], None]  # in place, as random.shuffle


class Exchange(msgspec.Struct, frozen=True, gc=False, order=True):
    """One MX record; ``name`` in lower case without the final dot, the root is ``""``."""

    preference: int
    name: str


class Host(msgspec.Struct, frozen=True, gc=False):
    """A server to try and where it is. ``name`` is what its certificate must bear."""

    name: str
    preference: int
    addresses: tuple[str, ...] = ()


class NullMX(msgspec.Struct, frozen=True, gc=False):
    """The domain says that it takes no mail."""


def exchanges(records: Iterable[Exchange], domain: str) -> tuple[Exchange, ...] | NullMX:
    """The exchanges of ``domain``, most preferred first, each name once; not shuffled.

    No records: the implicit MX. The root as a name means nothing beside real
    exchanges (RFC 7505 §3 forbids it there), and so does an IP address in the
    place of a name (RFC 5321 §5.1): both are left out. Empty when nothing else was there.
    """
    found = sorted(records)
    if not found:
        return (Exchange(0, domain),)
    if all(not record.name for record in found):
        return NullMX()
    best: dict[str, Exchange] = {}
    for record in found:
        if record.name and not is_address(record.name):
            best.setdefault(record.name, record)
    return tuple(best.values())[:MOST_EXCHANGES]


def without_self(hosts: Sequence[Host], is_self: Callable[[Host], bool]) -> tuple[Host, ...]:
    """The hosts strictly more preferred than the best one that is this server; all when none is."""
    ours = min((host.preference for host in hosts if is_self(host)), default=None)
    return tuple(host for host in hosts if ours is None or host.preference < ours)


def order(hosts: Iterable[Host], shuffle: Shuffle) -> tuple[Host, ...]:
    """Lowest preference first, equals in the order ``shuffle`` leaves them in."""
    mixed = list(hosts)
    shuffle(mixed)
    return tuple(sorted(mixed, key=lambda host: host.preference))


def interleave(v4: Sequence[str], v6: Sequence[str]) -> tuple[str, ...]:
    """IPv4 and IPv6 by turns: a family that leads nowhere costs one timeout before the other is tried.

    IPv4 begins: many receivers refuse mail from IPv6 addresses without reverse names, few from IPv4.
    """
    mixed: list[str] = []
    for place in range(max(len(v4), len(v6))):
        mixed += [*v4[place : place + 1], *v6[place : place + 1]]
    return tuple(mixed)


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_destination(address: str) -> bool:
    """Whether mail can be sent there at all: not to nowhere (which Linux takes for here), nor to many."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return False
    return not (parsed.is_unspecified or parsed.is_multicast or address == "255.255.255.255")


def literal(domain: str) -> str | None:
    """The IP address of an address literal (RFC 5321 §4.1.3), ``""`` when it is none, None for a name."""
    if not domain.startswith("["):
        return None
    inner = domain[1:-1] if domain.endswith("]") else ""
    version, text = (6, inner[5:]) if inner[:5].lower() == "ipv6:" else (4, inner)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(address) if address.version == version and "%" not in text else ""
