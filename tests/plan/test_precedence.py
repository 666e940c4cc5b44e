"""The order shown to people is the order in which the relay decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_contract.model import (
    LMTP,
    MX,
    VERSION,
    Backend,
    Discard,
    Document,
    Listener,
    Quarantine,
    Reject,
    Route,
    SmartHost,
    Unavailable,
)
from waystation_operator.plan.precedence import Row, describe, rank, table
from waystation_relay.routing.table import Table

LOCALS = ("ann", "bob")
DOMAINS = ("a.example", "b.a.example", "c.b.a.example", "example")
ADDRESSES = [f"{local}@{domain}" for local in LOCALS for domain in DOMAINS]
PATTERNS = ["*", *ADDRESSES, *(f"*@{domain}" for domain in DOMAINS), *(f"*@*.{domain}" for domain in DOMAINS)]
LISTENERS = ("smtp", "apps")


def matches(pattern: str, address: str) -> bool:
    """What a pattern means, said as simply as possible."""
    domain = address.rpartition("@")[2]
    if pattern == "*":
        return True
    if pattern.startswith("*@*."):
        return domain.endswith(pattern[3:])
    return domain == pattern[2:] if pattern.startswith("*@") else address == pattern


def first(rows: list[Row], listener: str, sender: str, recipient: str) -> str | None:
    return next(
        (
            row.route
            for row in rows
            if listener in row.listeners
            and matches(row.recipients, recipient)
            and matches(row.senders, sender)
        ),
        None,
    )


patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple)
routes = st.lists(
    st.builds(
        Route,
        name=st.sampled_from([f"mail/{letter}" for letter in "abcdefgh"]),
        created=st.sampled_from([0.0, 1.0, 2.0]),
        listeners=st.lists(st.sampled_from(LISTENERS), min_size=1, max_size=2, unique=True).map(tuple),
        senders=patterns,
        recipients=patterns,
    ),
    max_size=8,
    unique_by=lambda route: route.name,
)


@given(
    routes,
    st.sampled_from(LISTENERS),
    st.sampled_from(["", *ADDRESSES]),
    st.sampled_from(ADDRESSES),
)
def test_the_first_row_that_matches_is_what_the_relay_chooses(
    given_routes: list[Route], listener: str, sender: str, recipient: str
) -> None:
    """Whatever the routes: reading `waystation check` from the top finds the relay's own answer."""
    document = Document(
        version=VERSION,
        pool="mail/outbound",
        hostname="relay.example",
        listeners=tuple(Listener(name=name, port=1, service_port=1) for name in LISTENERS),
        routes=tuple(given_routes),
    )
    chosen = Table(given_routes).match(listener, sender, recipient)
    assert first(table(document), listener, sender, recipient) == (chosen.name if chosen else None)


def test_ranks() -> None:
    """An address is more exact than a domain, that than a wildcard, and a longer wildcard than a shorter."""
    ordered = ["ann@a.example", "*@a.example", "*@*.c.b.a.example", "*@*.b.a.example", "*@*.example", "*"]
    assert sorted(set(ordered), key=rank) == ordered


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (MX(), "MX of the recipient's domain"),
        (SmartHost(host="a.example", port=587), "smart host a.example:587"),
        (LMTP(host="b.example"), "LMTP b.example:24"),
        (Reject(code=450, enhanced="4.7.1"), "reject 450 4.7.1"),
        (Discard(), "discard"),
        (Quarantine(), "quarantine"),
        (Unavailable(reason="SecretNotFound"), "not ready: SecretNotFound"),
    ],
)
def test_backends_in_words(backend: Backend, words: str) -> None:
    """Each kind of backend in a few words."""
    assert describe(backend) == words
