"""uvloop, as in the relay; one nsd and one unbound for the folder's tests."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop
from tests.support.dns import Nsd, Unbound

BIG = "\n".join(f"big MX {n} host-{n}-with-a-rather-long-name.mail" for n in range(10, 150))

ZONES = {
    "real.test": f"""
@ MX 20 backup
@ MX 10 mx1
@ MX 10 mx2
mx1 A 192.0.2.1
mx2 A 192.0.2.2
mx2 AAAA 2001:db8::2
backup A 192.0.2.3
two 300 A 192.0.2.21
two 300 A 192.0.2.22
two 300 AAAA 2001:db8::21
two 300 AAAA 2001:db8::22
null MX 0 .
plain A 192.0.2.10
six AAAA 2001:db8::10
text TXT "neither MX nor address"
hostless MX 10 nowhere
hostless MX 20 text
numeric MX 10 192.0.2.99.
alias CNAME canonical.other.test.
www CNAME plain
chain1 CNAME chain2
chain2 CNAME chain3.other.test.
loop1 CNAME loop2
loop2 CNAME loop1
aliased-mx MX 10 alias-of-mx1
alias-of-mx1 CNAME mx1
dangling CNAME gone.other.test.
half MX 10 x.broken.test.
half MX 20 mx1
worse MX 10 x.broken.test.
worse MX 20 nowhere
unspecified MX 10 zero
zero A 0.0.0.0
zero AAAA ::
short 7 A 192.0.2.40
zerottl 0 A 192.0.2.41
xn--bcher-kva MX 10 mx1
ours MX 10 mx1
ours MX 20 relay
ours MX 30 backup
relay A 192.0.2.50
best MX 10 relay
best MX 20 mx1
{BIG}
host-10-with-a-rather-long-name.mail A 192.0.2.60
""",
    "other.test": """
canonical MX 5 mail
mail A 192.0.2.70
chain3 MX 10 mail
""",
}


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def nsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nsd]:
    with Nsd(tmp_path_factory.mktemp("nsd"), ZONES) as server:
        yield server


@pytest.fixture(scope="session")
def unbound(nsd: Nsd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unbound]:
    """Knows the zones, and ``broken.test``, which is delegated to a server that does not have it."""
    with Unbound(
        tmp_path_factory.mktemp("unbound"), {**dict.fromkeys(ZONES, nsd.port), "broken.test": nsd.port}
    ) as u:
        yield u
