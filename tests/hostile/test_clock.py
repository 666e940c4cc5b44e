"""The clock is set while mail waits: nothing is lost, nothing ends early, nothing waits for ever."""

import pytest
from tests.dispatch.world import REFUSED, World, later, taken
from tests.support.mail import message, route

from waystation_contract.model import Retry, SmartHost
from waystation_relay.aio.clock import ManualClock
from waystation_relay.dispatch.loader import RESCAN_S
from waystation_relay.dispatch.timeline import MOST_STEPS, UNNOTICED_S, Timeline

HOUR, DAY = 3600.0, 86_400.0
UP, BACK = SmartHost(host="up.test"), SmartHost(host="back.test")
DEFAULTS = Retry(jitter_percent=0)
STEPS = [
    pytest.param(DAY, id="forward a day"),
    pytest.param(-DAY, id="back a day"),
    pytest.param(6 * DAY, id="forward beyond every deadline"),
    pytest.param(-6 * DAY, id="back before everything"),
    pytest.param(10 * 365 * DAY, id="forward ten years"),
    pytest.param(-10 * 365 * DAY, id="back ten years"),
]


def routes(retry: Retry = DEFAULTS):
    """Mail to corp.test goes to up.test; everything else, such as reports, to back.test."""
    return (
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry),
        route("mail/back", backends=(BACK,)),
    )


async def waiting(build, retry: Retry = DEFAULTS) -> World:
    """A message that was deferred once."""
    world: World = await build(*routes(retry))
    world.network["up.test"].answers["ann@corp.test"] = [later()]
    await world.accept("ann@corp.test")
    return world


async def minutes_pass(world: World, minutes: int) -> None:
    for _ in range(minutes):
        await world.pass_time(RESCAN_S)


async def hours_pass(world: World, hours: float) -> None:
    for _ in range(6):
        await world.pass_time(hours * HOUR / 6)


@pytest.mark.parametrize("step_s", STEPS)
@pytest.mark.parametrize("restarted", [False, True], ids=["", "and a restart"])
async def test_mail_that_waits_is_tried_soon(build, step_s: float, restarted: bool) -> None:
    """Wherever the clock was set to, and also by a new process, mail is tried again within minutes."""
    world = await waiting(build)
    world.clock.jump(step_s)
    world.network["up.test"].answers["ann@corp.test"] = [taken()]
    if restarted:
        await world.restart()
    await minutes_pass(world, 2)
    assert [mail.recipient for mail in world.network["up.test"].taken] == ["ann@corp.test"]
    assert world.network["back.test"].taken == []
    assert await world.queue() == []


@pytest.mark.parametrize("step_s", STEPS)
async def test_a_setting_ends_no_mail_and_warns_nobody(build, step_s: float) -> None:
    """Mail of an hour whose server is down is neither bounced nor said to be late."""
    world = await waiting(build)
    world.network["up.test"].down = REFUSED
    await hours_pass(world, 1.0)
    world.clock.jump(step_s)
    await hours_pass(world, 1.0)
    assert world.network["back.test"].taken == []
    assert len(await world.queue()) == 1


@pytest.mark.parametrize("step_s", STEPS)
async def test_a_setting_that_is_undone_leaves_no_trace(build, step_s: float) -> None:
    """Set wrong for ten minutes and then right: mail of before, meanwhile and after all goes its way."""
    world = await waiting(build)
    up = world.network["up.test"]
    up.otherwise = later()
    world.clock.jump(step_s)
    await world.accept("meanwhile@corp.test")
    await minutes_pass(world, 10)
    world.clock.jump(-step_s)
    await world.accept("after@corp.test")
    await minutes_pass(world, 10)
    assert world.network["back.test"].taken == []
    assert len(await world.queue()) == 3
    up.answers.clear()
    up.otherwise = taken()
    await hours_pass(world, 1.1)  # the longest wait
    assert {mail.recipient for mail in up.taken} == {
        "ann@corp.test",
        "meanwhile@corp.test",
        "after@corp.test",
    }
    assert len(up.taken) == 3
    assert await world.queue() == []


@pytest.mark.parametrize("step_s", STEPS)
async def test_mail_ends_after_its_days_whatever_the_clock_says(build, step_s: float) -> None:
    """What cannot be delivered is given up after five days of real time, with one delay notice."""
    world = await waiting(build, Retry(first_s=6 * HOUR, max_s=6 * HOUR, jitter_percent=0))
    await world.pass_time(HOUR)
    world.clock.jump(step_s)
    passed_s = HOUR
    while await world.queue():
        await world.pass_time(3 * HOUR)
        passed_s += 3 * HOUR
        assert passed_s < 6 * DAY
    assert passed_s == pytest.approx(5 * DAY, abs=6 * HOUR)
    assert world.metrics.notices == ["delay", "failure"]


async def test_mail_under_way_while_the_clock_is_set(build) -> None:
    """A server that hesitates over a leap of days, and then says later, is asked again."""
    world: World = await build(*routes())
    up = world.network["up.test"]
    up.patient = True
    up.answers["ann@corp.test"] = [later(), taken()]
    await world.accept("ann@corp.test")
    world.clock.jump(30 * DAY)
    up.answer()
    await world.quiet()
    up.patient = False
    assert world.network["back.test"].taken == []
    await world.pass_time(61)
    assert len(up.taken) == 1


@pytest.mark.parametrize("step_s", [-DAY, -HOUR, -30.0], ids=["a day", "an hour", "too little to be noticed"])
async def test_mail_that_comes_in_while_the_clock_is_set_back(build, step_s: float) -> None:
    """A message begun before and ended after a setting is delivered at once all the same."""
    world: World = await build(*routes())
    begin = world.spool.draft

    def draft():
        begun = begin()
        world.clock.jump(step_s)
        return begun

    world.spool.draft = draft
    await world.accept("ann@corp.test")
    assert len(world.network["up.test"].taken) == 1


async def test_no_two_messages_share_a_name(build) -> None:
    """Queue ids are unique and in order of arrival, wherever the clock jumps."""
    world: World = await build(*routes())
    world.network["up.test"].otherwise = later()
    names = []
    for step_s in (0.0, DAY, -DAY, -DAY, HOUR, -6 * DAY, 1.0, 12 * DAY):
        world.clock.jump(step_s)
        names += [await world.accept(f"m{len(names)}@corp.test") for _ in range(3)]
        await world.restart()
    assert len(set(names)) == len(names)
    assert sorted(names) == names
    assert len(await world.queue()) == len(names)


async def test_far_mail_is_not_tried_in_circles(build) -> None:
    """Set back by more than the longest wait: each message is tried once, and then waits its time."""
    world = await waiting(build, Retry(first_s=DAY, max_s=DAY, jitter_percent=0))
    up = world.network["up.test"]
    world.clock.jump(-DAY - 2)
    await minutes_pass(world, 10)
    assert len(up.transactions) == 2
    await world.pass_time(DAY)
    assert len(up.transactions) == 3


async def test_a_dead_destination_is_not_knocked_at_sooner(build) -> None:
    """A closed window's delay is real time: a leap of the clock is no reason to try a dead server."""
    world: World = await build(*routes())
    up = world.network["up.test"]
    up.down = REFUSED
    for n in range(5):
        await world.accept(f"m{n}@corp.test")
    knocks = up.knocks
    world.clock.jump(30 * DAY)
    await world.quiet()
    assert up.knocks == knocks


# The timeline itself


def aged(timeline: Timeline, clock: ManualClock, id_: int, arrival: float) -> float:
    """How old a message is, by the clock."""
    return clock.now() - timeline.aligned(message(id=id_, arrival=arrival)).arrival


def test_small_corrections_are_no_settings() -> None:
    """A clock kept right by NTP is taken as it is: seconds change nothing about mail."""
    clock, heard = ManualClock(), []
    timeline = Timeline(clock)
    timeline.follow(lambda: 1, heard.append)
    arrival = timeline.now()
    clock.jump(UNNOTICED_S - 1)
    assert timeline.now() == clock.now()
    assert aged(timeline, clock, 1, arrival) == UNNOTICED_S - 1
    assert heard == []


def test_small_corrections_add_up_to_a_setting() -> None:
    """A clock that is moved bit by bit was set as well."""
    clock, heard = ManualClock(), []
    timeline = Timeline(clock)
    timeline.follow(lambda: 1, heard.append)
    arrival = timeline.now()
    for _ in range(10):
        clock.jump(UNNOTICED_S / 2)
        timeline.now()
    assert sum(heard) == pytest.approx(10 * UNNOTICED_S / 2)
    assert aged(timeline, clock, 1, arrival) == pytest.approx(0)


def test_each_message_is_moved_by_the_settings_since_it_came() -> None:
    """Ages are what really passed, for mail of before, between and after; also after very many settings."""
    clock = ManualClock()
    timeline = Timeline(clock)
    last = 0
    timeline.follow(lambda: last, lambda _: None)
    begun, arrivals = clock.monotonic(), {}
    for n in range(1, 2 * MOST_STEPS):
        last = n
        arrivals[n] = timeline.now(), clock.monotonic()
        clock.advance(10)
        clock.jump(DAY if n % 3 else -DAY)
        timeline.now()
    for n, (arrival, came) in arrivals.items():
        if n >= MOST_STEPS + 1:
            assert aged(timeline, clock, n, arrival) == pytest.approx(clock.monotonic() - came)
    assert clock.monotonic() > begun
    assert len(timeline._steps) == MOST_STEPS
