"""The resolver in force follows the configuration."""

import msgspec
import pytest
from tests.support.relay import document, route, to

from waystation_contract.model import Delivery, Document
from waystation_relay.aio.clock import ManualClock
from waystation_relay.routing.lookup import Counts
from waystation_relay.routing.mx import Host
from waystation_relay.routing.resolvers import Resolvers


def configured(hostname: str = "relay.test", **delivery: object) -> Document:
    made = document(2525, route(to(25)), delivery=Delivery(**delivery))  # type: ignore[arg-type]
    return msgspec.structs.replace(made, hostname=hostname)


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({"connections_per_destination": 3}, False, id="something else"),
        pytest.param({"dns_servers": ("127.0.0.2",)}, True, id="servers"),
        pytest.param({"bind_address": "127.0.0.9"}, True, id="bind address"),
    ],
)
async def test_a_resolver_is_replaced_when_it_must_be(change: dict[str, object], replaced: bool) -> None:
    """What it was built from has changed: a new one, with an empty cache. Otherwise the cache is kept."""
    resolvers = Resolvers(configured(dns_servers=("127.0.0.1",)), ManualClock())
    first = resolvers.current
    resolvers.apply(configured(**{"dns_servers": ("127.0.0.1",), **change}))
    assert (resolvers.current is not first) == replaced


async def test_counts_go_on_across_a_change() -> None:
    """A counter never falls because somebody changed the DNS servers."""
    resolvers = Resolvers(configured(), ManualClock())
    resolvers.current.counts.misses, resolvers.current.counts.failures = 7, 2
    resolvers.apply(configured(dns_servers=("127.0.0.2",)))
    resolvers.current.counts.misses += 1
    assert resolvers.counts == Counts(hits=0, misses=8, failures=2, stale=0)


async def test_the_relay_knows_itself_by_its_present_name() -> None:
    """A mail host of our name is us, in any case of letters; once renamed, by the new name only."""
    resolvers = Resolvers(configured("Relay.Test"), ManualClock())

    def is_us(name: str) -> bool:
        return resolvers._is_self(Host(name, 10, ("192.0.2.1",)))

    assert is_us("relay.test")
    assert not is_us("mx.test")
    resolvers.apply(configured("mx.test"))
    assert is_us("MX.test")
    assert not is_us("relay.test")
