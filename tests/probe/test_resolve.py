"""DNS, asked of real servers: hosts of backends, mail hosts of domains, and every way not to find them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.probe.asking import SHORT_S, found
from tests.support.dns import Nsd, Unbound, silent_server

from waystation_operator.plan.findings import Target
from waystation_operator.probe import resolve
from waystation_operator.probe.resolve import Resolver, in_namespace

ZONE = """
smtp A 127.0.0.1
six AAAA 2001:db8::1
both A 192.0.2.2
both AAAA 2001:db8::2
alias CNAME smtp
text TXT nothing-else
shop MX 20 mx2.shop
shop MX 10 MX1.shop
mx1.shop A 192.0.2.11
mx2.shop A 192.0.2.12
half MX 10 gone
half MX 20 smtp
none MX 0 .
implicit A 192.0.2.3
dangling MX 10 gone
dangling MX 20 text
lame MX 10 mx.lame.test.
dovecot.mail.svc.cluster A 192.0.2.4
dovecot.waystation.svc.cluster A 192.0.2.5
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Knows example.test; of lame.test its own server knows nothing, so the answer is SERVFAIL."""
    folder = tmp_path_factory.mktemp("dns")
    with (
        Nsd(folder, {"example.test": ZONE}) as nsd,
        Unbound(folder, {"example.test": nsd.port, "lame.test": nsd.port}) as unbound,
    ):
        yield f"127.0.0.1:{unbound.port}"


@pytest.fixture
def resolver(server: str) -> Resolver:
    return Resolver([server])


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("smtp.example.test", {"127.0.0.1"}),
        ("SMTP.example.test.", {"127.0.0.1"}),
        ("six.example.test", {"2001:db8::1"}),
        ("both.example.test", {"192.0.2.2", "2001:db8::2"}),
        ("alias.example.test", {"127.0.0.1"}),
        ("192.0.2.9", {"192.0.2.9"}),
        ("2001:DB8::9", {"2001:db8::9"}),
    ],
)
async def test_addresses_of_a_host(resolver: Resolver, host: str, addresses: set[str]) -> None:
    """Both families, aliases followed; an address is its own."""
    assert set(await resolver.addresses(host)) == addresses


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        ("shop.example.test", ("mx1.shop.example.test", "mx2.shop.example.test")),
        ("half.example.test", ("smtp.example.test",)),
        ("implicit.example.test", ("implicit.example.test",)),
    ],
    ids=["preferred first", "one of two has an address", "no MX: the domain itself"],
)
async def test_mail_hosts_of_a_domain(resolver: Resolver, domain: str, hosts: tuple[str, ...]) -> None:
    """RFC 5321 §5.1; one host with an address is enough."""
    assert await resolver.mail_hosts(domain) == hosts


@pytest.mark.parametrize(
    ("kind", "host", "reason", "told"),
    [
        ("smartHost", "nosuch.example.test", "HostNotFound", "does not exist in DNS"),
        ("smartHost", "text.example.test", "HostNotFound", "has no address"),
        ("lmtp", "nosuch.example.test", "HostNotFound", "does not exist in DNS"),
        ("smartHost", "smtp.lame.test", "DnsFailed", "SERVFAIL"),
        ("mx", "shop.example.test", "Reachable", "mx1.shop.example.test, mx2.shop.example.test"),
        ("mx", "none.example.test", "NullMx", "takes no mail"),
        ("mx", "nosuch.example.test", "MxNotFound", "does not exist"),
        ("mx", "text.example.test", "MxNotFound", "neither MX nor address records"),
        ("mx", "dangling.example.test", "MxUnresolvable", "gone.example.test, text.example.test"),
        ("mx", "lame.test", "DnsFailed", "SERVFAIL"),
        ("mx", "lame.example.test", "DnsFailed", "SERVFAIL"),
    ],
)
async def test_what_is_found(resolver: Resolver, kind: str, host: str, reason: str, told: str) -> None:
    """What the domain's owner must mend is told from what nobody could say."""
    finding = await found(Target(kind, host, 25), names=resolver)  # type: ignore[arg-type]
    assert (finding.ok, finding.reason) == (reason == "Reachable", reason)
    assert host in finding.message
    assert told in finding.message


async def test_which_server_could_not_say(resolver: Resolver, server: str) -> None:
    """The DNS server and its answer are named."""
    finding = await found(Target("mx", "lame.test", 25), names=resolver)
    assert "SERVFAIL" in finding.message
    assert "127.0.0.1" in finding.message


async def test_dns_that_is_silent() -> None:
    """The whole look-up has a deadline."""
    with silent_server() as port:
        resolver = Resolver([f"127.0.0.1:{port}"], within_s=SHORT_S)
        finding = await found(Target("smartHost", "smtp.example.test", 25), names=resolver)
    assert finding.reason == "DnsFailed"
    assert f"no DNS server answers within {SHORT_S} s" in finding.message


@pytest.mark.parametrize(
    ("suffix", "namespace", "there"),
    [
        ("waystation.svc.cluster.local", "mail", "mail.svc.cluster.local"),
        ("svc.cluster.local", "mail", "svc.cluster.local"),
        ("cluster.local", "mail", "cluster.local"),
        ("corp.example", "mail", "corp.example"),
        ("waystation.svc.cluster.local", "", "waystation.svc.cluster.local"),
    ],
)
def test_the_search_list_of_the_relays_namespace(suffix: str, namespace: str, there: str) -> None:
    """Only the suffix that bears the operator's own namespace is another in the relays' pods."""
    assert in_namespace(suffix, namespace) == there


async def test_a_short_name_is_a_neighbour_of_the_relays(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dovecot` of a pool in namespace mail is dovecot.mail, not the operator's neighbour of that name."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch waystation.svc.cluster.example.test\noptions ndots:5\n")
    monkeypatch.setattr(resolve, "RESOLV_CONF", str(file))
    resolver = Resolver([server], namespace="mail")
    assert await resolver.addresses("dovecot") == ("192.0.2.4",)


async def test_a_suffix_whose_servers_are_down(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ndots 5, as in every pod, a full name is tried below the suffixes first; that may fail."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch lame.test\noptions ndots:5\n")
    monkeypatch.setattr(resolve, "RESOLV_CONF", str(file))
    resolver = Resolver([server])
    assert await resolver.addresses("smtp.example.test") == ("127.0.0.1",)
    finding = await found(Target("smartHost", "nosuch.example.test", 25), names=resolver)
    assert finding.reason == "DnsFailed"


def test_without_resolv_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DNS server on this machine, as the C library has it."""
    monkeypatch.setattr(resolve, "RESOLV_CONF", str(tmp_path / "nosuch"))
    assert Resolver().search == ()


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("192.0.2.53:5353", "192.0.2.53", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
    ],
)
def test_servers_as_pools_write_them(text: str, address: str, port: int) -> None:
    """delivery.dnsServers, with and without a port."""
    (server,) = Resolver([text]).servers
    assert (server.address, server.port) == (address, port)
