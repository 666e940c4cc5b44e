"""Asking DNS servers: waiting, sharing, remembering, failing over. The servers are real."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from tests.support.dns import NEGATIVE_TTL_S, Between, Nsd, Unbound, between, silent_server
from tests.support.ports import free_port

from waystation_relay.aio.clock import ManualClock
from waystation_relay.routing import cache
from waystation_relay.routing.answer import Found, Missing, Trouble
from waystation_relay.routing.lookup import AAAA, MX, A, Lookup
from waystation_relay.routing.mx import Exchange
from waystation_relay.routing.servers import Server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def relay(unbound: Unbound) -> AsyncIterator[Between]:
    """Stands before unbound, counting."""
    async with between(unbound.port) as relay:
        yield relay


@pytest.fixture
async def make(clock: ManualClock) -> AsyncIterator[Callable[..., Lookup]]:
    made: list[Lookup] = []

    def build(*ports: int, timeout_s: float = 2.0, **options: float) -> Lookup:
        lookup = Lookup(
            tuple(Server("127.0.0.1", port) for port in ports),
            clock,
            timeout_s=timeout_s,
            **options,  # type: ignore[arg-type]
        )
        made.append(lookup)
        return lookup

    yield build
    for lookup in made:
        await lookup.close()


async def asked(relay: Between, count: int) -> None:
    """Returns when so many questions have arrived."""
    async with asyncio.timeout(5):
        while relay.asked < count:
            await asyncio.sleep(0.005)


# Remembering


@pytest.mark.parametrize(
    ("name", "kind", "ttl_s"),
    [
        pytest.param("short.real.test", A, 7, id="a record's TTL"),
        pytest.param("zerottl.real.test", A, cache.SHORTEST_S, id="TTL 0 is held for the least time"),
        pytest.param("nope.real.test", A, NEGATIVE_TTL_S, id="NXDOMAIN by its SOA"),
        pytest.param("plain.real.test", MX, NEGATIVE_TTL_S, id="NODATA by its SOA"),
        pytest.param("x.broken.test", A, cache.TROUBLE_S, id="trouble"),
    ],
)
async def test_answer_is_kept_for_its_time(
    name: str, kind: int, ttl_s: float, nsd: Nsd, clock: ManualClock, make: Callable[..., Lookup]
) -> None:
    """An answer is asked for once while it lives, and again when its time is over."""
    async with between(nsd.port) as relay:
        lookup = make(relay.port)
        first = await lookup.ask(name, kind)  # type: ignore[arg-type]
        once = relay.asked
        clock.advance(ttl_s - 0.01)
        assert await lookup.ask(name, kind) == first  # type: ignore[arg-type]
        assert relay.asked == once
        clock.advance(0.02)
        assert await lookup.ask(name, kind) == first  # type: ignore[arg-type]
        assert relay.asked > once


async def test_least_recently_used_answer_leaves_first(relay: Between, make: Callable[..., Lookup]) -> None:
    """The cache has a bound; what was used last stays."""
    lookup = make(relay.port, cache_entries=2)
    for name in ("mx1", "mx2", "mx1", "backup"):
        await lookup.ask(f"{name}.real.test", A)
    assert (len(lookup.cache), relay.asked) == (2, 3)
    await lookup.ask("mx1.real.test", A)
    assert relay.asked == 3
    await lookup.ask("mx2.real.test", A)
    assert relay.asked == 4


async def test_expired_records_serve_while_dns_fails(
    relay: Between, clock: ManualClock, make: Callable[..., Lookup]
) -> None:
    """When DNS is down, mail goes where it went an hour ago; after that it waits. Recovery is noticed."""
    lookup = make(relay.port, timeout_s=0.05)
    good = Found(addresses=("192.0.2.1",))
    assert await lookup.ask("mx1.real.test", A) == good
    relay.swallow = True
    clock.advance(301)
    assert await lookup.ask("mx1.real.test", A) == good
    assert (lookup.counts.failures, lookup.counts.stale) == (1, 1)
    swallowed = relay.asked
    assert await lookup.ask("mx1.real.test", A) == good
    assert relay.asked == swallowed, "DNS is left alone for a while"
    clock.advance(cache.STALE_AGAIN_S)
    await lookup.ask("mx1.real.test", A)
    assert relay.asked > swallowed
    clock.advance(cache.STALE_S)
    assert isinstance(await lookup.ask("mx1.real.test", A), Trouble)
    relay.swallow = False
    clock.advance(cache.TROUBLE_S)
    assert await lookup.ask("mx1.real.test", A) == good


async def test_trouble_never_replaces_the_absence_of_records(
    relay: Between, clock: ManualClock, make: Callable[..., Lookup]
) -> None:
    """A stale NXDOMAIN is not used: nobody's mail bounces on old news."""
    lookup = make(relay.port, timeout_s=0.05)
    assert await lookup.ask("nope.real.test", A) == Missing(exists=False)
    relay.swallow = True
    clock.advance(NEGATIVE_TTL_S + 1)
    assert isinstance(await lookup.ask("nope.real.test", A), Trouble)


# Sharing


async def test_equal_questions_share_one_query(relay: Between, make: Callable[..., Lookup]) -> None:
    """A thousand messages for one domain make one question."""
    lookup = make(relay.port)
    answers = await asyncio.gather(*(lookup.ask("real.test", MX) for _ in range(1000)))
    assert relay.asked == 1
    assert set(answers) == {answers[0]}
    assert isinstance(answers[0], Found)


async def test_cancelled_asker_leaves_the_question_to_the_others(
    relay: Between, make: Callable[..., Lookup]
) -> None:
    """One delivery that gives up does not take the answer from another."""
    lookup = make(relay.port)
    relay.held = True
    first, second = (asyncio.create_task(lookup.ask("mx1.real.test", A)) for _ in range(2))
    await asked(relay, 1)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    relay.release()
    assert await second == Found(addresses=("192.0.2.1",))
    assert relay.asked == 1


async def test_close_ends_questions_under_way(relay: Between, make: Callable[..., Lookup]) -> None:
    """Shutting down waits for no DNS server; who asked is told, not cancelled."""
    lookup = make(relay.port)
    relay.held = True
    asker = asyncio.create_task(lookup.ask("mx1.real.test", A))
    await asked(relay, 1)
    await lookup.close()
    assert await asker == Trouble("the resolver was shut down")


# Failing over


async def test_silent_server_is_passed_over_once(nsd: Nsd, make: Callable[..., Lookup]) -> None:
    """A dead first server delays one look-up; after that the one that answered is asked first."""
    with silent_server() as silent:
        lookup = make(silent, nsd.port, timeout_s=0.3)
        start = time.monotonic()
        assert await lookup.ask("mx1.real.test", A) == Found(addresses=("192.0.2.1",))
        assert time.monotonic() - start >= 0.3
        start = time.monotonic()
        assert await lookup.ask("mx2.real.test", A) == Found(addresses=("192.0.2.2",))
        assert time.monotonic() - start < 0.3


async def test_server_that_refuses_is_passed_over(
    nsd: Nsd, tmp_path_factory: pytest.TempPathFactory, make: Callable[..., Lookup]
) -> None:
    """A server that will not answer for a domain does not keep the next from answering."""
    with Nsd(tmp_path_factory.mktemp("other"), {"elsewhere.test": ""}) as other:
        assert await make(other.port, nsd.port).ask("mx1.real.test", A) == Found(addresses=("192.0.2.1",))


async def test_lost_datagram_is_asked_again(relay: Between, make: Callable[..., Lookup]) -> None:
    """One lost packet is no failure."""
    lookup = make(relay.port, timeout_s=0.2)
    relay.swallow = True
    asker = asyncio.create_task(lookup.ask("mx1.real.test", A))
    await asked(relay, 1)
    relay.swallow = False
    assert await asker == Found(addresses=("192.0.2.1",))
    assert relay.asked == 2


async def test_nobody_listens(make: Callable[..., Lookup]) -> None:
    """A DNS server that is not running is trouble, not an error."""
    assert isinstance(await make(free_port(), timeout_s=0.05).ask("mx1.real.test", A), Trouble)


async def test_a_question_has_a_deadline(make: Callable[..., Lookup]) -> None:
    """However many servers are silent, a look-up ends."""
    with silent_server() as silent:
        answer = await make(silent, silent, timeout_s=5, deadline_s=0.1).ask("mx1.real.test", A)
    assert answer == Trouble("no answer within 0.1 seconds")


async def test_answer_too_large_for_a_datagram_comes_by_tcp(nsd: Nsd, make: Callable[..., Lookup]) -> None:
    """A domain with very many mail hosts is looked up whole."""
    answer = await make(nsd.port).ask("big.real.test", MX)
    assert isinstance(answer, Found)
    assert len(answer.exchanges) == 140
    assert Exchange(149, "host-149-with-a-rather-long-name.mail.real.test") in answer.exchanges


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a b", "a" * 64, "x." * 127 + "xy", "ä.test", "A.test", "a.test."]
)
async def test_what_is_no_name_is_never_asked(name: str, make: Callable[..., Lookup]) -> None:
    """Text from a stranger's envelope reaches a DNS server only as a host name."""
    with silent_server() as silent:
        assert await make(silent, timeout_s=0.05).ask(name, AAAA) == Missing(exists=False)


async def test_alias_into_a_zone_of_another_server(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[..., Lookup]
) -> None:
    """An alias whose target the server did not look up is looked up here, and a ring of such ends."""
    here = {"here.test": "www 20 CNAME web.there.test.\nring CNAME ring.there.test."}
    there = {"there.test": "web A 192.0.2.1\nring CNAME ring.here.test."}
    folder = tmp_path_factory.mktemp("two")
    with Nsd(folder, here) as first, Nsd(folder, there) as second:
        lookup = make(first.port, second.port)
        assert await lookup.ask("www.here.test", A) == Found(addresses=("192.0.2.1",))
        assert await lookup.ask("ring.here.test", A) == Trouble("a CNAME loop")


async def test_too_many_aliases(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[..., Lookup]
) -> None:
    """A chain of aliases ends somewhere reasonable, even when each is asked for by itself."""
    links = "\n".join(f"c{n} CNAME c{n + 1}" for n in range(30))
    with Nsd(tmp_path_factory.mktemp("chain"), {"chain.test": f"{links}\nc30 A 192.0.2.1"}) as nsd:
        assert isinstance(await make(nsd.port).ask("c0.chain.test", A), Trouble)
        assert await make(nsd.port).ask("c28.chain.test", A) == Found(addresses=("192.0.2.1",))
