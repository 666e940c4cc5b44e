"""Which backends a message's due recipients go to, grouped into transactions.

Pure: a route table, a choice among backends (the dice are an argument) and the
grouping. Recipients share a transaction when they share the route and, where
the route looks up MX hosts, the domain.

Known limits
    Two domains served by the same MX hosts get a transaction each.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from waystation_contract.model import LMTP, MX, Backend, Route, SmartHost, UpstreamTLS
from waystation_relay.delivery.target import Protocol, Security, Target
from waystation_relay.mail.address import domain_of
from waystation_relay.mail.message import Message
from waystation_relay.routing.table import Table, choose

RECIPIENTS_PER_TRANSACTION = 100  # every server must take as many (RFC 5321 §4.5.3.1.8)


@dataclasses.dataclass(frozen=True, slots=True)
class Assignment:
    """``numbers`` go to the first of ``choices`` that takes mail; ``domain`` is "" where none matters."""

    numbers: tuple[int, ...]
    route: Route
    choices: tuple[Backend, ...]
    domain: str


def assign(
    message: Message, numbers: Iterable[int], table: Table, roll: Callable[[], float]
) -> tuple[list[Assignment], tuple[int, ...]]:
    """The assignments, and the recipients that no route takes."""
    envelope, listener = message.envelope, message.origin.listener
    sender, recipients = envelope.reverse_path, envelope.recipients
    groups: dict[tuple[str, str], list[int]] = {}
    chosen: dict[str, tuple[Route, tuple[Backend, ...], bool]] = {}
    homeless: list[int] = []
    for number in numbers:
        address = recipients[number].address
        route = table.match(listener, sender, address)
        if route is None:
            homeless.append(number)
            continue
        if route.name not in chosen:
            backends = tuple(choose(route, roll))
            chosen[route.name] = route, backends, any(isinstance(b, MX) for b in backends)
        domain = domain_of(address) if chosen[route.name][2] else ""
        groups.setdefault((route.name, domain), []).append(number)
    return [
        Assignment(part, *chosen[name][:2], domain)
        for (name, domain), members in groups.items()
        for part in _parts(members)
    ], tuple(homeless)


def _parts(numbers: list[int]) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(numbers), RECIPIENTS_PER_TRANSACTION):
        yield tuple(numbers[start : start + RECIPIENTS_PER_TRANSACTION])


_SECURITY = {
    UpstreamTLS.NONE: Security.NONE,
    UpstreamTLS.OPPORTUNISTIC: Security.OPPORTUNISTIC,
    UpstreamTLS.REQUIRED: Security.REQUIRED,
    UpstreamTLS.IMPLICIT: Security.IMPLICIT,
}


def target_of(backend: Backend, domain: str) -> Target | None:
    """Where a backend's mail goes; None for what settles here (verdicts) or is not ready."""
    match backend:
        case MX():
            return Target(Protocol.SMTP, domain, backend.port, Security(backend.tls.value), mx=True)
        case SmartHost():
            return Target(
                Protocol.SMTP,
                backend.host,
                backend.port,
                _SECURITY[backend.tls],
                credential=backend.credential,
            )
        case LMTP():
            return Target(Protocol.LMTP, backend.host, backend.port, Security.NONE)
        case _:
            return None
