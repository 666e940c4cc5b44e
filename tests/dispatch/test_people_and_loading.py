"""A person changes the queue while due mail is on its way from the disk: the person's word counts."""

from collections.abc import Callable

import pytest
from tests.dispatch.world import World
from tests.support.mail import route

from waystation_contract.model import SmartHost
from waystation_relay.spool.values import Action, Cursor, Delete, Hold, Query, Release

UP = SmartHost(host="up.test")


@pytest.fixture
async def world(build) -> World:
    return await build(route(backends=(UP,)))


async def loading_meanwhile(world: World, meanwhile: Callable[[], object]) -> None:
    """One look at the disk whose rows were read before, and arrive after, what happens ``meanwhile``."""
    asked = []
    load, world.spool.load_due = world.spool.load_due, lambda *arguments: asked.append(arguments)
    world.loader.look()
    rows = await world.queue()
    await meanwhile()
    world.spool.load_due = load
    ((*_, loaded),) = asked
    loaded(rows, Cursor(world.clock.now(), rows[-1].id))
    await world.quiet()


@pytest.mark.parametrize("action", [Delete("spam"), Hold("asked by ann")], ids=["deleted", "held"])
async def test_what_was_read_before_a_change_is_not_attempted(world: World, action: Action) -> None:
    """Deleted mail is not sent, and held mail not attempted, because its row was read a moment earlier."""
    world.loader.paused = True
    world.spool.on_accepted = lambda _: None  # nothing is taken from memory: all of it waits on disk
    await world.receive("ann@corp.test")
    await world.receive("bob@corp.test")
    world.loader.paused = False
    await loading_meanwhile(world, lambda: world.people.change(Query(recipient="ann@corp.test"), action))
    up = world.network["up.test"]
    assert [mail.recipient for mail in up.taken] == ["bob@corp.test"]


async def test_what_was_read_before_its_release_is_looked_at_again(world: World) -> None:
    """Released mail is attempted, once, though a look at the disk was under way."""
    world.spool.on_accepted = lambda _: None
    await world.receive("ann@corp.test", hold="by hand")
    await loading_meanwhile(world, lambda: world.people.change(Query(), Release()))
    await world.pass_time(1)
    assert len(world.network["up.test"].to("ann@corp.test")) == 1
