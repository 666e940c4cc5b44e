"""The order in which a pool's routes are consulted, for people to read.

The relay decides with its own table (``routing.table``); this says beforehand
what it will do: recipients before senders, an address before ``*@domain``
before the longest ``*@*.domain`` before ``*``, then the oldest route, then
its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from waystation_contract.model import (
    LMTP,
    MX,
    Backend,
    Discard,
    Document,
    Reject,
    Route,
    SmartHost,
    Unavailable,
)


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


@dataclass(frozen=True, slots=True)
class Conflict:
    """``earlier`` match some of the very same mail and come first; ``whole``: nothing is left over."""

    earlier: tuple[str, ...]
    whole: bool


def conflicts(routes: Sequence[Route]) -> dict[str, Conflict]:
    """By name, the routes of which earlier ones have the same pair of patterns at the same listener.

    ``routes`` are in the order in which ties are broken, as in a document.
    """
    first: dict[tuple[str, str, str], str] = {}
    found: dict[str, Conflict] = {}
    for route in routes:
        matches = [(x, r, s) for x in route.listeners for r in route.recipients for s in route.senders]
        taken = [first[match] for match in matches if match in first]
        if taken:
            found[route.name] = Conflict(tuple(sorted(set(taken))), len(taken) == len(matches))
        for match in matches:
            first.setdefault(match, route.name)
    return found


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
        case Unavailable():
            return f"not ready: {backend.reason}"
        case _:
            return "quarantine"
