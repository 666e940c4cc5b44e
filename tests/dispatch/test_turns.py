"""Who gets a connection when there are not enough: servers that hang keep nobody else from theirs."""

import pytest
from tests.dispatch.world import LOST, REFUSED, World
from tests.support.mail import route

from waystation_contract.model import MX
from waystation_relay.dispatch.dispatcher import Limits
from waystation_relay.dispatch.turns import SHARE

SLOTS = 10
FOR_ALL = SLOTS - SLOTS // SHARE


@pytest.fixture
async def world(build):
    """Ten slots, two of them for proven destinations; connections are closed a second after use."""
    return await build(route(backends=(MX(),)), limits=Limits(connections=SLOTS, idle_s=1))


async def besieged(world: World, how: str) -> list[str]:
    """More hosts that do not answer than there are slots: before the greeting, or within a transaction."""
    hosts = [f"hangs{n}.test" for n in range(2 * SLOTS)]
    for host in hosts:
        setattr(world.network[host], how, True)
        await world.receive(f"ann@{host}")
    await world.quiet()
    return hosts


@pytest.mark.parametrize("how", ["slow", "patient"])
async def test_servers_that_hang_leave_slots_to_those_that_answer(world: World, how: str) -> None:
    """A smart host that took mail a while ago takes it now, while strangers wait."""
    await world.accept("bob@good.test")
    await world.pass_time(5)
    await besieged(world, how)
    assert world.lanes.slots_busy == FOR_ALL
    await world.accept("carl@good.test", "dora@good.test")
    assert len(world.network["good.test"].taken) == 3
    await world.accept("eve@new.test")
    assert world.network["new.test"].taken == []


async def test_those_that_hang_use_all_that_is_left_to_them(world: World) -> None:
    """When one of them gives up its place the next stranger has it, in the order of asking."""
    hosts = await besieged(world, "patient")
    assert [host for host in hosts if world.network[host].links] == hosts[:FOR_ALL]
    world.network[hosts[0]].answer()
    await world.quiet()
    await world.pass_time(5)
    assert [host for host in hosts if world.network[host].links] == hosts[: FOR_ALL + 1]


async def test_a_proven_destination_is_remembered_when_its_lane_is_gone(world: World) -> None:
    """A host that gets mail once an hour is no stranger."""
    await world.accept("bob@good.test")
    await world.pass_time(3600)
    assert world.lanes.by_target == {}
    await besieged(world, "slow")
    await world.accept("carl@good.test")
    assert len(world.network["good.test"].taken) == 2


@pytest.mark.parametrize("trouble", ["down", "lost"])
async def test_a_destination_that_breaks_down_is_a_stranger_again(world: World, trouble: str) -> None:
    """Until it has answered once more."""
    flaky = world.network["flaky.test"]
    await world.accept("bob@flaky.test")
    await world.pass_time(5)
    match trouble:
        case "down":
            flaky.down = REFUSED
        case "lost":
            flaky.answers["bob@flaky.test"] = [LOST]
    await world.accept("bob@flaky.test")
    lane = next(lane for target, lane in world.lanes.by_target.items() if target.host == "flaky.test")
    assert not lane.proven


async def test_proven_destinations_do_not_keep_strangers_out(world: World) -> None:
    """With every slot at work for known hosts, a new one has its turn with the next that is free."""
    hosts = [f"known{n}.test" for n in range(2 * SLOTS)]
    for host in hosts:
        await world.accept(f"ann@{host}")
    for host in hosts:
        world.network[host].patient = True
        await world.receive(f"bob@{host}")
    await world.quiet()
    assert world.lanes.slots_busy == SLOTS
    await world.receive("eve@new.test")
    await world.quiet()
    for host in hosts:
        world.network[host].answer()
        await world.quiet()
    assert len(world.network["new.test"].taken) == 1
    for host in hosts * 2:
        world.network[host].answer()
        await world.quiet()
    assert all(len(world.network[host].taken) == 2 for host in hosts)


async def test_the_siege_ends(world: World) -> None:
    """When the servers answer at last, everything goes out and every slot is free again."""
    hosts = await besieged(world, "patient")
    for host in hosts:
        world.network[host].patient = False
        world.network[host].answer()
    await world.quiet()
    await world.pass_time(10)
    assert all(len(world.network[host].taken) == 1 for host in hosts)
    assert (world.lanes.slots_busy, world.lanes._turns.unproven) == (0, 0)
