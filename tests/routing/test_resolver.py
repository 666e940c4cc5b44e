"""Where mail for a domain goes, asked of real servers: unbound, and nsd behind it."""

import random
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from tests.support.dns import Nsd, Unbound, silent_server
from tests.support.tables import table

from waystation_relay.aio.clock import ManualClock
from waystation_relay.mail.outcome import Deferred, Failed, Reason
from waystation_relay.routing.mx import Host
from waystation_relay.routing.refusal import TABLE, Case
from waystation_relay.routing.resolver import MailHosts, Resolver
from waystation_relay.routing.servers import Server, Servers


def reachable(address: str) -> bool:
    return True


def keep(items: list[object]) -> None:
    """The shuffle that changes nothing: what a server sends first stays first."""


def sort(items: list[object]) -> None:
    items.sort(key=str)


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Resolver]]:
    made: list[Resolver] = []

    def build(port: int, search: Sequence[str] = (), ndots: int = 1, **options: object) -> Resolver:
        options = {"reachable": reachable, "shuffle": sort, "timeout_s": 2.0, **options}
        found = Servers((Server("127.0.0.1", port),), tuple(search), ndots)
        resolver = Resolver((), ManualClock(), system=lambda _: found, **options)  # type: ignore[arg-type]
        made.append(resolver)
        return resolver

    yield build
    for resolver in made:
        await resolver.close()


def shown(found: MailHosts | Deferred | Failed) -> str:
    """``"mx1 192.0.2.1 / mx2 …"``, or the reply and its reason."""
    if isinstance(found, MailHosts):
        return " / ".join(f"{h.name.removesuffix('.real.test')} {' '.join(h.addresses)}" for h in found.hosts)
    return f"{found.reply.code} {found.reply.enhanced} {found.reason}"


MX1 = "mx1 192.0.2.1"
ANSWERS = [
    pytest.param(
        "real.test", "mx1 192.0.2.1 / mx2 192.0.2.2 2001:db8::2 / backup 192.0.2.3", id="by preference"
    ),
    pytest.param("REAL.Test.", "mx1 192.0.2.1 / mx2 192.0.2.2 2001:db8::2 / backup 192.0.2.3", id="any case"),
    pytest.param("plain.real.test", "plain 192.0.2.10", id="implicit MX"),
    pytest.param("six.real.test", "six 2001:db8::10", id="implicit MX with AAAA only"),
    pytest.param(
        "two.real.test", "two 192.0.2.21 2001:db8::21 192.0.2.22 2001:db8::22", id="families by turns"
    ),
    pytest.param("alias.real.test", "mail.other.test 192.0.2.70", id="domain is an alias in another zone"),
    pytest.param("www.real.test", "www 192.0.2.10", id="implicit MX of an alias"),
    pytest.param("chain1.real.test", "mail.other.test 192.0.2.70", id="chain of aliases"),
    pytest.param("aliased-mx.real.test", "alias-of-mx1 192.0.2.1", id="mail host is an alias"),
    pytest.param("half.real.test", MX1, id="trouble with one host, the other is used"),
    pytest.param("bücher.real.test", MX1, id="IDN as U-label"),
    pytest.param("xn--bcher-kva.real.test", MX1, id="IDN as A-label"),
    pytest.param("[192.0.2.7]", "[192.0.2.7] 192.0.2.7", id="IPv4 literal"),
    pytest.param("[IPv6:2001:db8::7]", "[ipv6:2001:db8::7] 2001:db8::7", id="IPv6 literal"),
    pytest.param(
        "big.real.test", "host-10-with-a-rather-long-name.mail 192.0.2.60", id="140 MX records, by TCP"
    ),
    pytest.param("null.real.test", "556 5.1.10 bad-address", id="null MX"),
    pytest.param("nope.real.test", "550 5.1.2 bad-address", id="NXDOMAIN"),
    pytest.param("dangling.real.test", "550 5.1.2 bad-address", id="alias of nothing"),
    pytest.param("text.real.test", "550 5.4.4 bad-address", id="neither MX nor address"),
    pytest.param("hostless.real.test", "550 5.4.4 dns", id="mail hosts without addresses"),
    pytest.param("numeric.real.test", "550 5.4.4 dns", id="address in the place of a mail host"),
    pytest.param("unspecified.real.test", "550 5.4.4 dns", id="mail host at 0.0.0.0"),
    pytest.param("worse.real.test", "451 4.4.3 dns", id="trouble with the only usable host"),
    pytest.param("loop1.real.test", "451 4.4.3 dns", id="CNAME loop"),
    pytest.param("x.broken.test", "451 4.4.3 dns", id="SERVFAIL"),
    pytest.param("[192.0.2.256]", "553 5.1.3 bad-address", id="not an address literal"),
    pytest.param("[0.0.0.0]", "553 5.1.3 bad-address", id="literal that is nowhere"),
    pytest.param("", "553 5.1.3 bad-address", id="no domain"),
    pytest.param("\N{PILE OF POO}\u2028.test", "553 5.1.3 bad-address", id="not IDNA"),
    pytest.param("a b.test", "550 5.1.2 bad-address", id="not a host name"),
    pytest.param("a..test", "550 5.1.2 bad-address", id="empty label"),
    pytest.param(f"{'a' * 64}.test", "550 5.1.2 bad-address", id="over-long label"),
]


@pytest.mark.parametrize(("domain", "expected"), ANSWERS)
async def test_mail_hosts(
    domain: str, expected: str, unbound: Unbound, make: Callable[..., Resolver]
) -> None:
    """Each kind of domain leads to its mail hosts or to the reply its senders deserve."""
    assert shown(await make(unbound.port).mail_hosts(domain)) == expected


@pytest.mark.parametrize(
    ("domain", "expected"), [a for a in ANSWERS if not {"SERVFAIL", "NXDOMAIN"} & {str(a.id)}]
)
async def test_mail_hosts_of_an_authoritative_server(
    domain: str, expected: str, nsd: Nsd, make: Callable[..., Resolver]
) -> None:
    """A server that follows no alias itself and shows loops as they are leads to the same ends."""
    assert shown(await make(nsd.port).mail_hosts(domain)) == expected


async def test_equal_preferences_are_shuffled_each_time(
    unbound: Unbound, make: Callable[..., Resolver]
) -> None:
    """Mail hosts of one preference share the load even while the answer is cached."""
    resolver = make(unbound.port, shuffle=random.Random(7).shuffle)
    firsts = set()
    for _ in range(20):
        found = await resolver.mail_hosts("real.test")
        assert isinstance(found, MailHosts)
        firsts.add(found.hosts[0].name)
        assert found.hosts[2].name == "backup.real.test"
    assert firsts == {"mx1.real.test", "mx2.real.test"}


# This relay among the mail hosts


def by_name(host: Host) -> bool:
    return host.name == "relay.real.test"


def by_address(host: Host) -> bool:
    return "192.0.2.50" in host.addresses


@pytest.mark.parametrize("is_self", [by_name, by_address])
@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        pytest.param("ours.real.test", MX1, id="only better hosts than us"),
        pytest.param("best.real.test", "554 5.4.6 loop", id="we are the best"),
        pytest.param("relay.real.test", "554 5.4.6 loop", id="implicit MX is us"),
        pytest.param(
            "real.test", "mx1 192.0.2.1 / mx2 192.0.2.2 2001:db8::2 / backup 192.0.2.3", id="not us"
        ),
    ],
)
async def test_loop_to_self(
    domain: str,
    expected: str,
    is_self: Callable[[Host], bool],
    unbound: Unbound,
    make: Callable[..., Resolver],
) -> None:
    """A relay that is a domain's backup never hands its mail to itself or to the other backups."""
    assert shown(await make(unbound.port, is_self=is_self).mail_hosts(domain)) == expected


async def test_literal_of_our_own_address_loops(make: Callable[..., Resolver]) -> None:
    """An address literal that names this relay is no way out."""
    assert shown(await make(1, is_self=by_address).mail_hosts("[192.0.2.50]")) == "554 5.4.6 loop"


# Families


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("two.real.test", "two 192.0.2.21 192.0.2.22"),
        ("real.test", "mx1 192.0.2.1 / mx2 192.0.2.2 / backup 192.0.2.3"),
        ("six.real.test", "451 4.4.4 dns"),
        ("[IPv6:2001:db8::7]", "451 4.4.4 dns"),
    ],
)
async def test_without_a_route_to_ipv6(
    domain: str, expected: str, unbound: Unbound, make: Callable[..., Resolver]
) -> None:
    """Without IPv6 its addresses are not tried; mail that needs it waits, as the network may be mended."""
    assert shown(await make(unbound.port, reachable=lambda a: ":" not in a).mail_hosts(domain)) == expected


# A backend's host


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("plain.real.test", "plain 192.0.2.10", id="a name"),
        pytest.param("plain.real.test.", "plain 192.0.2.10", id="with the final dot"),
        pytest.param("www.real.test", "www 192.0.2.10", id="an alias"),
        pytest.param("plain", "plain 192.0.2.10", id="by the search list"),
        pytest.param("mail.other", "mail.other 192.0.2.70", id="by the search list, second suffix"),
        pytest.param("192.0.2.8", "192.0.2.8 192.0.2.8", id="an address"),
        pytest.param("[2001:db8::8]", "[2001:db8::8] 2001:db8::8", id="an address in brackets"),
        pytest.param("localhost", "localhost 127.0.0.1 ::1", id="localhost"),
        pytest.param("null.real.test", "451 4.4.4 dns", id="MX records do not matter"),
        pytest.param("nope.real.test", "451 4.4.4 dns", id="NXDOMAIN is our mistake: wait"),
        pytest.param("plain.", "451 4.4.4 dns", id="no search with the final dot"),
        pytest.param("x.broken.test", "451 4.4.3 dns", id="SERVFAIL"),
    ],
)
async def test_host(name: str, expected: str, unbound: Unbound, make: Callable[..., Resolver]) -> None:
    """A smart host or LMTP server is found by its addresses, and never being found is temporary."""
    assert shown(await make(unbound.port, search=["real.test", "test"]).host(name)) == expected


@pytest.mark.parametrize(("ndots", "expected"), [(1, "192.0.2.70"), (5, "192.0.2.71")])
async def test_search_list_respects_ndots(
    ndots: int, expected: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[..., Resolver]
) -> None:
    """With Kubernetes' ndots:5 a Service's name is tried inside the cluster first."""
    zones = {"svc.test": "mail A 192.0.2.70", "cluster.test": "mail.svc.test A 192.0.2.71"}
    with Nsd(tmp_path_factory.mktemp("search"), zones) as nsd:
        found = await make(nsd.port, search=["cluster.test"], ndots=ndots).host("mail.svc.test")
    assert isinstance(found, MailHosts)
    assert found.hosts[0].addresses == (expected,)


async def test_host_out_of_reach_waits(unbound: Unbound, make: Callable[..., Resolver]) -> None:
    """A backend with addresses of the wrong family only: the mail waits and the reply shows the addresses."""
    found = await make(unbound.port, reachable=lambda a: ":" not in a).host("six.real.test")
    assert shown(found) == "451 4.4.4 dns"
    assert isinstance(found, Deferred)
    assert "2001:db8::10" in found.reply.text


async def test_silence_defers(make: Callable[..., Resolver]) -> None:
    """A DNS server that never answers makes mail wait, and says which server it was."""
    with silent_server() as port:
        found = await make(port, timeout_s=0.05).mail_hosts("real.test")
    assert shown(found) == "451 4.4.3 dns"
    assert isinstance(found, Deferred)
    assert "127.0.0.1 does not answer" in found.reply.text


async def test_configured_servers_are_asked(unbound: Unbound) -> None:
    """`delivery.dnsServers` replaces the system's servers."""
    resolver = Resolver([f"127.0.0.1:{unbound.port}"], ManualClock(), reachable=reachable)
    try:
        assert shown(await resolver.mail_hosts("plain.real.test")) == "plain 192.0.2.10"
        assert (resolver.cached, resolver.counts.misses, resolver.counts.failures) == (3, 3, 0)
    finally:
        await resolver.close()


# The documentation


def test_documented_outcomes_are_the_table() -> None:
    """docs/routing.md lists every case with its outcome, reply and reason, and no other."""
    rows = table("routing.md", "case", "what DNS says", "outcome", "reply", "reason")
    documented = {r["case"]: (r["outcome"], r["reply"], r["reason"]) for r in rows}
    assert documented == {
        case.name: (
            "failed" if row.code >= 500 else "deferred",
            f"{row.code} {row.enhanced}",
            str(row.reason),
        )
        for case, row in TABLE.items()
    }
    assert set(TABLE) == set(Case)
    assert all(row.reason in Reason for row in TABLE.values())
