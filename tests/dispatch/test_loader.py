"""Due mail on disk is found: all of it, soon, and none of it twice."""

import asyncio

import pytest
from tests.dispatch.world import World, later, taken
from tests.support.mail import route

from waystation_contract.model import Retry, SmartHost
from waystation_relay.dispatch import loader as loading
from waystation_relay.dispatch.dispatcher import Limits
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Cursor, Query, RetryNow

UP = SmartHost(host="up.test")
SLOWLY = Retry(first_s=600, max_s=600, jitter_percent=0, warn_after_s=0)


@pytest.fixture
async def world(build) -> World:
    return await build(route(backends=(UP,), retry=SLOWLY))


async def put_off(world: World, count: int) -> None:
    """So many messages wait for their next time."""
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later()]
    for _ in range(count):
        await world.receive("ann@corp.test")
    await world.quiet()
    up.answers["ann@corp.test"] = [taken()]


async def test_mail_is_attempted_when_it_is_due_and_not_before(world):
    """A look at the queue a second too early finds nothing to do."""
    await put_off(world, 1)
    await world.pass_time(599)
    assert len(world.network["up.test"].transactions) == 1
    await world.pass_time(1)
    assert len(world.network["up.test"].transactions) == 2


async def test_more_than_a_page_is_due_at_once(world, monkeypatch):
    """A thousand messages that come due together are all loaded, page after page."""
    monkeypatch.setattr(loading, "PAGE", 7)
    await put_off(world, 50)
    await world.pass_time(600)
    assert await world.queue() == []
    assert len(world.network["up.test"].taken) == 50


async def test_mail_that_found_no_room_is_loaded_when_there_is(build, monkeypatch):
    """A burst larger than memory: what does not fit stays on disk and follows as soon as there is room."""
    monkeypatch.setattr(loading, "PAGE", 5)
    world: World = await build(route(backends=(UP,)), limits=Limits(flights=10))
    up = world.network["up.test"]
    up.patient = True
    for _ in range(40):
        await world.receive("ann@corp.test")
    await world.quiet()
    assert len(world.dispatcher.flights) <= 10 + 5
    for _ in range(40):
        up.answer()
        await world.quiet()
    assert len(up.taken) == 40
    assert await world.queue() == []


async def test_spilled_mail_lies_before_the_cursor(build):
    """The loader has just looked further than the mail that found no room: it looks back."""
    world: World = await build(route(backends=(UP,), retry=SLOWLY), limits=Limits(flights=1))
    await put_off(world, 1)
    up = world.network["up.test"]
    up.patient = True
    world.clock.advance(30)
    await world.accept("ann@corp.test")  # fills the memory
    await world.receive("bob@corp.test")  # spills
    world.loader._cursor = Cursor(world.clock.now() + 1, 0)
    await world.receive("bob@corp.test")
    up.patient = False
    up.answer()
    await world.quiet()
    assert sorted(m.recipient for m in up.taken) == ["ann@corp.test", "bob@corp.test", "bob@corp.test"]


async def test_memory_holds_only_so_many_bodies(build):
    """Bodies kept from acceptance to the first attempt are bounded; the rest is read from disk."""
    world: World = await build(route(backends=(UP,)), limits=Limits(warm_bytes=3000))
    up = world.network["up.test"]
    up.slow = True
    content = b"Subject: x\r\n\r\n" + b"y" * 987
    for _ in range(20):
        await world.receive("ann@corp.test", content=content)
    await world.quiet()
    warm = [f for f in world.dispatcher.flights.values() if f.body is not None]
    assert len(warm) == 3
    up.slow = False
    up.let_in()
    await world.quiet()
    assert [m.content for m in up.taken] == [content] * 20


async def test_a_message_that_ended_while_it_was_loaded_is_not_begun_again(world):
    """The rows come from disk just after the message was delivered: they are old news."""
    await put_off(world, 1)
    up = world.network["up.test"]
    world.clock.advance(600)
    answers = []
    load, world.spool.load_due = world.spool.load_due, lambda *asked: answers.append(asked)
    world.loader.look()
    (asked,) = answers
    rows = await world.queue()
    world.dispatcher.take(rows[0])  # somebody else was faster
    await world.idle()
    assert await world.queue() == []
    world.spool.load_due = load
    asked[3](rows, Cursor(world.clock.now(), rows[0].id))
    await world.quiet()
    assert len(up.transactions) == 2


async def test_a_message_in_memory_is_not_begun_twice(world):
    """A rescan meets mail that is being sent: it is left alone."""
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    for _ in range(3):
        await world.pass_time(loading.RESCAN_S)
    up.patient = False
    up.answer()
    await world.quiet()
    assert len(up.transactions) == 1


async def test_the_clock_is_set_back(world):
    """An hour back: mail deferred from then on is found at its time all the same."""
    await put_off(world, 1)
    await world.pass_time(600)
    assert await world.queue() == []
    world.clock.jump(-3600)
    await put_off(world, 1)
    await world.pass_time(600 + loading.RESCAN_S)
    assert await world.queue() == []


async def test_the_clock_is_set_forward(world):
    """A leap forward makes mail due early; nothing is lost by it."""
    await put_off(world, 3)
    world.clock.jump(86_400)
    await world.quiet()
    assert await world.queue() == []


async def test_retry_now_finds_mail_behind_the_cursor(world):
    """A person's order does not wait for the minute's rescan."""
    await put_off(world, 3)
    world.loader._cursor = Cursor(world.clock.now() + 10, 0)
    await world.people.change(Query(), RetryNow())
    await world.quiet()
    assert await world.queue() == []


async def test_a_paused_loader_loads_nothing(world):
    """A relay that is stopping begins no mail from disk."""
    await put_off(world, 1)
    world.loader.paused = True
    await world.pass_time(600)
    assert len(world.network["up.test"].transactions) == 1
    world.loader.paused = False


async def test_a_failed_look_is_followed_by_another(world, monkeypatch):
    """The index could not be read once: the mail is found at the next look."""
    await put_off(world, 1)
    world.clock.advance(600)
    with monkeypatch.context() as broken:
        broken.setattr(world.spool, "load_due", lambda after, now, limit, done: done([], after))
        world.loader.look()
    await world.quiet()
    assert await world.queue() == []


async def test_a_page_of_unreadable_rows_is_not_the_end(world, monkeypatch):
    """The index skipped damaged rows: the page is empty, and the loader goes on behind it without delay."""
    pages = [([], Cursor(5.0, 1)), ([], Cursor(9.0, 2)), ([], Cursor(9.0, 2))]
    asked = []

    def load_due(after, now, limit, done):
        asked.append(after)
        done(*pages.pop(0))

    monkeypatch.setattr(world.spool, "load_due", load_due)
    monkeypatch.setattr(loading, "POLL_S", 30.0)
    world.loader._cursor = Cursor()
    running = asyncio.ensure_future(world.loader.run())
    world.loader.rewind()
    await world.until_so(lambda: not pages, "three looks")
    assert asked == [Cursor(), Cursor(5.0, 1), Cursor(9.0, 2)]
    running.cancel()
    monkeypatch.undo()


async def test_one_bad_message_does_not_stop_the_others(world, monkeypatch):
    """A mistake of ours about one message is logged, and the rest of the page is delivered."""
    await put_off(world, 3)
    first = (await world.queue())[0].id
    events = []
    monkeypatch.setattr(world, "emit", lambda event, /, **fields: events.append((event, fields)))
    fly = world.dispatcher._fly

    def fail_first(flight):
        if flight.message.id == first:
            raise ValueError("unforeseen")
        fly(flight)

    monkeypatch.setattr(world.dispatcher, "_fly", fail_first)
    await world.pass_time(600)
    assert len(world.network["up.test"].taken) == 2
    assert [fields["error"] for event, fields in events if event == "internal.error"] == [
        "ValueError('unforeseen')"
    ]
    assert [m.id for m in await world.queue()] == [first]
    world.dispatcher.flights.clear()


async def test_it_looks_by_itself(build, monkeypatch):
    """Running, it looks again and again, and at once when told that there is something."""
    monkeypatch.setattr(loading, "POLL_S", 30.0)
    world: World = await build(route(backends=(UP,), retry=SLOWLY))
    await put_off(world, 1)
    world.clock.advance(600)
    running = asyncio.ensure_future(world.loader.run())
    world.loader.rewind()
    await world.until(lambda: world.network["up.test"].taken, "the delivery")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_mail_for_different_reasons_is_loaded_in_the_order_it_is_due(world):
    """The longest due comes first, whatever its age."""
    up = world.network["up.test"]
    for n, wait in enumerate([3000, 1000, 2000]):
        up.answers[f"u{n}@corp.test"] = [later(reason=Reason.GREYLISTED, retry_after_s=wait), taken()]
        await world.accept(f"u{n}@corp.test")
    await world.pass_time(3600)
    assert [m.recipient for m in up.taken] == ["u1@corp.test", "u2@corp.test", "u0@corp.test"]


@pytest.mark.parametrize("turns", range(4))
async def test_a_loader_that_is_woken_while_it_is_told_to_stop_stops(world, turns):
    """SIGTERM under load comes together with room for more mail; the relay must end all the same."""
    running = asyncio.ensure_future(world.loader.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.loader.rewind()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    done, _ = await asyncio.wait([running], timeout=2)
    running.cancel()
    assert done == {running}
