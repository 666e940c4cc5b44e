"""The order in which a pool's routes are consulted, for people to read.

The relay decides with its own table (``routing.table``); this says beforehand
what it will do: recipients before senders, an address before ``*@domain``
before the longest ``*@*.domain`` before ``*``, then the oldest route, then
its name.
"""

from dataclasses import dataclass

from waystation_contract.model import LMTP, MX, Backend, Discard, Document, Reject, SmartHost


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of patterns of one route."""

    recipients: str
    senders: str
    route: str
    listeners: tuple[str, ...]
    backends: tuple[str, ...]


def rank(pattern: str) -> tuple[int, int]:
    """Smaller is more exact."""
    if pattern == "*":
        return (3, 0)
    if pattern.startswith("*@*."):
        return (2, -pattern.count("."))
    return (1, 0) if pattern.startswith("*@") else (0, 0)


def table(document: Document) -> list[Row]:
    """Every pair of patterns, the one that is consulted first at the top."""
    rows = [
        (
            (rank(recipients), rank(senders), route.created, route.name),
            Row(recipients, senders, route.name, route.listeners, tuple(map(describe, route.backends))),
        )
        for route in document.routes
        for recipients in route.recipients
        for senders in route.senders
    ]
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def describe(backend: Backend) -> str:
    """A backend in a few words."""
    match backend:
        case MX():
            return "MX of the recipient's domain"
        case SmartHost():
            return f"smart host {backend.host}:{backend.port}"
        case LMTP():
            return f"LMTP {backend.host}:{backend.port}"
        case Reject():
            return f"reject {backend.code} {backend.enhanced}"
        case Discard():
            return "discard"
        case _:
            return "quarantine"
