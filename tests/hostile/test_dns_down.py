"""DNS answers nothing for an hour of the test's time: mail waits, few questions are asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.dispatch.world import Link, Network, World
from tests.support.dns import Between, Nsd, between
from tests.support.mail import route

from waystation_contract.model import MX, Retry, SmartHost
from waystation_relay.delivery.connect import ConnectFailure
from waystation_relay.delivery.target import Target
from waystation_relay.mail.outcome import Deferred, Failed, Reason
from waystation_relay.routing.cache import LONGEST_S, STALE_S
from waystation_relay.routing.resolver import Resolver

DOMAINS = [f"d{n}" for n in range(8)]
EACH = 5
STEP_S, HOUR = 60.0, 3600.0
TIMEOUT_S = 0.01  # for a server that answers nothing; real seconds


class Resolving(Network):
    """The connector as it is, with scripted servers behind the names that DNS gives."""

    def __init__(self, world: World, dns_port: int) -> None:
        super().__init__(lambda: world.snapshot)
        self.resolver = Resolver(
            [f"127.0.0.1:{dns_port}"], world.clock, timeout_s=TIMEOUT_S, reachable=lambda _: True
        )

    async def open(self, target: Target) -> Link | ConnectFailure:
        lookup = self.resolver.mail_hosts if target.mx else self.resolver.host
        found = await lookup(target.host)
        if isinstance(found, Deferred | Failed):
            return ConnectFailure(found)
        return await self[target.host].knock()


@pytest.fixture(scope="module")
def nsd(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("dns")
    with Nsd(
        folder, {"test": "".join(f"{d} 300 MX 10 mx\n" for d in DOMAINS) + "mx 300 A 192.0.2.1"}
    ) as running:
        yield running


@pytest.fixture
async def wire(nsd: Nsd) -> AsyncIterator[Between]:
    async with between(nsd.port) as running:
        yield running


@pytest.fixture
async def world(build: Callable[..., object], wire: Between) -> AsyncIterator[World]:
    made: World = await build(  # type: ignore[misc] # the fixture is a coroutine function
        route("mail/direct", recipients=("*@direct.test",), backends=(SmartHost(host="192.0.2.9"),)),
        route("mail/mx", backends=(MX(),), retry=Retry(jitter_percent=0)),
        network=lambda world: Resolving(world, wire.port),
    )
    yield made
    await made.network.resolver.close()  # type: ignore[attr-defined] # see Resolving


async def settled(world: World) -> None:
    """Until nobody waits for DNS any more, and what follows has happened."""
    await world.quiet()
    while any(lane.opening for lane in world.lanes.by_target.values()):
        await asyncio.sleep(TIMEOUT_S / 5)
        await world.idle()
    await world.quiet()


async def pass_time(world: World, seconds: float) -> None:
    world.clock.advance(seconds)
    world.lanes.sweep()
    await settled(world)


async def accept_all(world: World) -> None:
    for domain in DOMAINS:
        for n in range(EACH):
            await world.receive(f"r{n}@{domain}.test")
    await settled(world)


async def test_an_hour_without_dns(world: World, wire: Between) -> None:
    """40 messages to 8 domains wait with the reason dns, at the cost of few questions, then all go out."""
    wire.swallow = True
    await accept_all(world)
    asked_at_first = wire.asked
    for minute in range(60):
        await pass_time(world, STEP_S)
        if minute == 30:
            await world.accept("ann@direct.test")
            assert len(world.network["192.0.2.9"].taken) == 1, "who needs no DNS is not kept waiting"
    waiting = await world.queue()
    assert len(waiting) == len(DOMAINS) * EACH
    assert {row.last_reason for message in waiting for row in message.pending} == {Reason.DNS}
    asked = wire.asked - asked_at_first
    print(f"asked {asked_at_first} times at first, {asked} times within the hour")
    assert asked_at_first <= len(DOMAINS) * 2 * 3, "one question a domain, its second round, and no more"
    assert asked <= len(DOMAINS) * 2 * 16, "windows closed for longer and longer"

    wire.swallow = False
    for _ in range(75):  # the longest wait, and the longest that a window is closed
        await pass_time(world, STEP_S)
        if not await world.queue():
            break
    assert await world.queue() == []
    for domain in DOMAINS:
        taken = [mail.recipient for mail in world.network[f"{domain}.test"].taken]
        assert sorted(taken) == [f"r{n}@{domain}.test" for n in range(EACH)]


async def test_known_hosts_serve_on_while_dns_is_down(world: World, wire: Between) -> None:
    """Where mail went before, it still goes for an hour past the record's time; new domains wait."""
    await world.accept("before@d0.test")
    await settled(world)
    assert len(world.network["d0.test"].taken) == 1
    wire.swallow = True
    await pass_time(world, 310)  # the record's time is over
    await world.receive("during@d0.test")
    await world.receive("during@d1.test")
    await settled(world)
    assert [mail.recipient for mail in world.network["d0.test"].taken] == ["before@d0.test", "during@d0.test"]
    assert world.network["d1.test"].taken == []
    assert STALE_S < LONGEST_S
