"""Which route takes a recipient, and the order of its backends."""

import random
import timeit
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tables import table

from waystation_contract.model import MX, Route, SmartHost
from waystation_relay.mail.address import normal_domain
from waystation_relay.routing.table import Table, choose


def route(
    name: str, recipients: str = "*", senders: str = "*", created: float = 0, listeners: str = "smtp"
) -> Route:
    """Patterns and listeners separated by spaces."""
    return Route(
        name=name,
        created=created,
        listeners=tuple(listeners.split()),
        senders=tuple(senders.split()),
        recipients=tuple(recipients.split()),
    )


# The documentation's examples


def documented_routes() -> list[Route]:
    rows = table("routing.md", "route", "created", "senders", "recipients")
    return [
        route(
            row["route"],
            row["recipients"].replace(",", ""),
            row["senders"].replace(",", ""),
            float(row["created"]),
            "smtp submission" if row["route"] == "mail/late" else "smtp",
        )
        for row in rows
    ]


@pytest.mark.parametrize(
    "row",
    table("routing.md", "listener", "sender", "recipient", "route", "because"),
    ids=lambda row: f"{row['listener']} {row['sender']} {row['recipient']}",
)
def test_documented_example(row: dict[str, str]) -> None:
    """Every worked example of docs/routing.md is what the table answers."""
    listener = "" if row["listener"] == "(made here)" else row["listener"]
    sender = "" if row["sender"] == "<>" else row["sender"]
    found = Table(documented_routes()).match(listener, sender, row["recipient"])
    assert (found.name if found else "(none)") == row["route"]


# Rules the examples do not show


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        pytest.param(("b", 1), ("a", 2), "b", id="the older one"),
        pytest.param(("b", 1), ("a", 1), "a", id="of one age, the first by name"),
    ],
)
def test_tie_is_broken(first: tuple[str, int], second: tuple[str, int], winner: str) -> None:
    """Equal patterns: the older route wins, then the name, however the configuration lists them."""
    routes = [route(name, "*@x.test", created=created) for name, created in (first, second)]
    for order in (routes, routes[::-1]):
        found = Table(order).match("smtp", "a@b.test", "c@x.test")
        assert found is not None
        assert found.name == winner


def test_sender_mismatch_falls_through_to_a_less_specific_recipient() -> None:
    """A route with the better recipient pattern does not take mail of senders it is not for."""
    found = Table([route("special", "c@x.test", "*@vip.test"), route("general")]).match(
        "smtp", "a@b.test", "c@x.test"
    )
    assert found is not None
    assert found.name == "general"


@pytest.mark.parametrize(
    ("sender", "winner"),
    [
        pytest.param("a@shop.test", "general", id="the domain itself is no sub-domain"),
        pytest.param("a@eu.shop.test", "sub", id="a sub-domain"),
        pytest.param("a@web.eu.shop.test", "sub-eu", id="the longest wildcard"),
        pytest.param("web.eu.shop.test", "general", id="a sender without a domain"),
        pytest.param("", "general", id="the null sender"),
    ],
)
def test_sender_wildcard(sender: str, winner: str) -> None:
    """Senders are matched by the same patterns as recipients."""
    routes = [
        route("general"),
        route("sub", senders="*@*.shop.test"),
        route("sub-eu", senders="*@*.eu.shop.test"),
    ]
    found = Table(routes).match("smtp", sender, "c@x.test")
    assert found is not None
    assert found.name == winner


def test_listener_without_routes_has_none() -> None:
    """A listener no route is attached to relays nothing, whatever the other routes match."""
    routes = Table([route("r")])
    assert routes.match("submission", "a@b.test", "c@x.test") is None


def test_no_routes() -> None:
    """A pool without routes takes no recipient, not even for its own bounces."""
    assert Table([]).match("smtp", "a@b.test", "c@x.test") is None
    assert Table([]).match("", "", "c@x.test") is None


def test_address_literal_is_a_domain_like_others() -> None:
    """`*@[192.0.2.1]` takes mail for that literal; a wildcard never matches inside a literal."""
    routes = Table([route("literal", "*@[192.0.2.1]"), route("wild", "*@*.1]".replace("1]", "0.2.1]"))])
    found = routes.match("smtp", "", "a@[192.0.2.1]")
    assert found is not None
    assert found.name == "literal"


@pytest.mark.parametrize(
    "pattern",
    ["", "x.test", "@x.test", "a@", "a*@x.test", "a@*.x.test", "*@*", "*@*.", "*@a.*.test", "**", "<>"],
)
def test_pattern_that_is_none_is_refused(pattern: str) -> None:
    """A pattern that would silently match nothing never gets into a table."""
    bad = Route(name="ns/bad", created=0, listeners=("smtp",), recipients=(pattern,))
    with pytest.raises(ValueError, match="route ns/bad"):
        Table([bad])


# Against a slow reading of the same rules

LABELS = st.sampled_from(["a", "B", "xy"])
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
LOCALS = st.sampled_from(["u", "U", "v.w", "*"])
ADDRESSES = st.builds("{}@{}".format, LOCALS, DOMAINS) | st.just("postmaster")
PATTERNS = st.one_of(
    st.just("*"),
    DOMAINS.map("*@{}".format),
    DOMAINS.map("*@*.{}".format),
    st.builds("{}@{}".format, st.sampled_from(["u", "U", "v.w"]), DOMAINS),
)
ROUTES = st.lists(
    st.tuples(
        st.lists(PATTERNS, min_size=1, max_size=3),
        st.lists(PATTERNS, min_size=1, max_size=3),
        st.integers(0, 2),
        st.lists(st.sampled_from(["smtp", "other"]), max_size=2),
    ),
    max_size=8,
)

Rank = tuple[int, int]


def rank(pattern: str, address: str) -> Rank | None:
    """How specific a matching pattern is, smaller first; None when it does not match."""
    if pattern == "*":
        return 3, 0
    local, _, right = pattern.rpartition("@")
    mailbox, at, domain = address.rpartition("@")
    if not at:
        return None
    domain = normal_domain(domain)
    if local != "*":
        return (0, 0) if (local.lower(), normal_domain(right)) == (mailbox.lower(), domain) else None
    if not right.startswith("*."):
        return (1, 0) if normal_domain(right) == domain else None
    suffix = normal_domain(right[2:]).split(".")
    labels = domain.split(".")
    return (2, -len(suffix)) if len(labels) > len(suffix) and labels[-len(suffix) :] == suffix else None


def best(patterns: tuple[str, ...], address: str) -> Rank | None:
    return min((r for p in patterns if (r := rank(p, address)) is not None), default=None)


def slow_match(routes: list[Route], listener: str, sender: str, recipient: str) -> str | None:
    candidates = []
    for r in routes:
        to, by = best(r.recipients, recipient), best(r.senders, sender)
        if (not listener or listener in r.listeners) and to is not None and by is not None:
            candidates.append((to, by, r.created, r.name))
    return min(candidates)[3] if candidates else None


@given(ROUTES, st.sampled_from(["smtp", "other", ""]), ADDRESSES | st.just(""), ADDRESSES)
def test_table_agrees_with_reading_every_route(
    parts: list[tuple[list[str], list[str], int, list[str]]], listener: str, sender: str, recipient: str
) -> None:
    """The compiled table finds what comparing every pattern of every route finds."""
    routes = [
        Route(name=f"r{n}", created=created, listeners=tuple(on), senders=tuple(by), recipients=tuple(to))
        for n, (by, to, created, on) in enumerate(parts)
    ]
    found = Table(routes).match(listener, sender, recipient)
    assert (found.name if found else None) == slow_match(routes, listener, sender, recipient)


def test_match_costs_the_same_with_ten_thousand_routes() -> None:
    """The number of routes of a pool does not slow its mail."""

    def cost(count: int) -> float:
        routes = Table([route(f"r{n}", f"*@d{n}.test *@*.w{n}.test") for n in range(count)])
        assert routes.match("smtp", "s@x.test", f"u@a.b.w{count - 1}.test") is not None
        look: Callable[[], object] = lambda: routes.match("smtp", "s@x.test", "u@d7.test")  # noqa: E731
        return min(timeit.repeat(look, number=2000, repeat=7))

    assert cost(10_000) < 4 * cost(10)


# The order of backends


def host(name: str, priority: int = 0, weight: int = 1) -> SmartHost:
    return SmartHost(host=name, priority=priority, weight=weight)


def names(backends: list[SmartHost], roll: Callable[[], float]) -> list[str]:
    chosen = choose(Route(name="r", created=0, listeners=(), backends=tuple(backends)), roll)
    return [b.host for b in chosen if isinstance(b, SmartHost)]


@pytest.mark.parametrize(
    ("backends", "roll", "expected"),
    [
        pytest.param([host("a")], 0.5, ["a"], id="one"),
        pytest.param([host("b", 20), host("a", 10)], 0.5, ["a", "b"], id="priority is failover order"),
        pytest.param([host("a"), host("b")], 0.0, ["a", "b"], id="low roll takes the first"),
        pytest.param([host("a"), host("b")], 0.999, ["b", "a"], id="high roll takes the last"),
        pytest.param([host("a", weight=3), host("b")], 0.74, ["a", "b"], id="three quarters of the rolls"),
        pytest.param([host("a", weight=3), host("b")], 0.75, ["b", "a"], id="and one"),
        pytest.param([host("a", weight=0), host("b")], 0.0, ["b"], id="weight 0 takes no part"),
        pytest.param([host("a", weight=0), host("b", weight=0)], 0.9, ["b", "a"], id="unless all are 0"),
        pytest.param([host("a", 1, 0), host("b", 2)], 0.0, ["a", "b"], id="alone in its priority"),
    ],
)
def test_choose(backends: list[SmartHost], roll: float, expected: list[str]) -> None:
    """Failover follows priority, share follows weight."""
    assert names(backends, lambda: roll) == expected


def test_share_follows_weight() -> None:
    """Of many messages, each backend gets first its weight's share."""
    dice = random.Random(1)
    backends = [host("a", weight=6), host("b", weight=3), host("c", weight=1), host("d", weight=0)]
    first = Counter(names(backends, dice.random)[0] for _ in range(10_000))
    assert first.keys() == {"a", "b", "c"}
    assert abs(first["a"] - 6000) < 200
    assert abs(first["b"] - 3000) < 200


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=8),
    st.floats(0, 1, exclude_max=True),
)
def test_choose_keeps_every_backend_that_has_a_part(parts: list[tuple[int, int]], roll: float) -> None:
    """Nobody with a share is forgotten, nobody comes twice, priorities ascend."""
    backends = [
        MX(priority=priority, weight=weight, port=n + 1) for n, (priority, weight) in enumerate(parts)
    ]
    chosen = choose(Route(name="r", created=0, listeners=(), backends=tuple(backends)), lambda: roll)
    weighted = {b.priority for b in backends if b.weight}
    expected = (
        backends if len(backends) == 1 else [b for b in backends if b.weight or b.priority not in weighted]
    )
    assert sorted(b.port for b in chosen if isinstance(b, MX)) == sorted(b.port for b in expected)
    assert [b.priority for b in chosen] == sorted(b.priority for b in expected)
