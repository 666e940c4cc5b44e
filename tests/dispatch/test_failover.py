"""More than one backend: who is tried first, who takes over, and when nobody does."""

import itertools

import pytest
from tests.dispatch.world import LOST, REFUSED, World, later, refused
from tests.support.mail import route

from waystation_contract.model import MX, SmartHost
from waystation_relay.mail.outcome import Deferred, Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import FAILURES_TO_CLOSE, FIRST_DELAY_S

FIRST = SmartHost(host="first.test", priority=0)
SECOND = SmartHost(host="second.test", priority=1)
THIRD = SmartHost(host="third.test", priority=2)


async def test_the_next_priority_takes_over_within_the_same_attempt(build):
    """The first backend cannot be reached: the mail does not wait, and no attempt is counted."""
    world: World = await build(route(backends=(THIRD, FIRST, SECOND)))
    world.network["first.test"].down = REFUSED
    await world.accept("ann@corp.test")
    assert [len(world.network[f"{n}.test"].taken) for n in ("first", "second", "third")] == [0, 1, 0]
    assert await world.queue() == []
    assert world.logged("message.deferred") == []


async def test_when_no_backend_can_be_reached_the_mail_waits(build):
    """All are down: one deferral, quoting the last backend; then the first that is back takes it."""
    world: World = await build(route(backends=(FIRST, SECOND)))
    world.network["first.test"].down = REFUSED
    world.network["second.test"].down = Deferred(reply(451, "4.4.1", "second is down"), Reason.CONNECT)
    await world.accept("ann@corp.test")
    (row,) = (await world.only()).pending
    assert row.attempts == 1
    assert "second is down" in str(row.last_reply)
    world.network["first.test"].down = None
    await world.to_next_due()
    assert len(world.network["first.test"].taken) == 1


async def test_a_backend_known_to_be_down_is_passed_over_at_once(build):
    """After a few failures in a row mail goes to the next backend without knocking at the first."""
    world: World = await build(route(backends=(FIRST, SECOND)))
    first = world.network["first.test"]
    first.down = REFUSED
    for _ in range(FAILURES_TO_CLOSE + 5):
        await world.accept("ann@corp.test")
    assert first.knocks == FAILURES_TO_CLOSE
    assert len(world.network["second.test"].taken) == FAILURES_TO_CLOSE + 5
    first.down = None
    await world.pass_time(FIRST_DELAY_S * 1.2)
    await world.accept("ann@corp.test")
    assert len(first.taken) == 1


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        pytest.param(refused(), 0, id="a refusal for good bounces"),
        pytest.param(later(), 1, id="a refusal for now waits"),
        pytest.param(LOST, 1, id="a connection lost under the mail waits"),
    ],
)
async def test_what_is_said_about_the_mail_itself_does_not_move_on(build, answer, left):
    """The first backend has spoken about this mail: another one is not asked for a better answer."""
    world: World = await build(
        route(recipients=("*@corp.test",), backends=(FIRST, SECOND)),
        route("mail/back", backends=(SmartHost(host="back.test"),)),
    )
    world.network["first.test"].answers["ann@corp.test"] = [answer]
    await world.accept("ann@corp.test")
    assert world.network["second.test"].transactions == []
    waiting = [m for m in await world.queue() if m.envelope.reverse_path]
    assert len(waiting) == left
    assert len(world.network["back.test"].taken) == 1 - left


async def test_a_domain_that_takes_no_mail_is_not_sent_to_another_backend(build):
    """A null MX is final: a backup for trouble with connections is no way around it."""
    no_mail = Failed(reply(556, "5.1.10", "null MX"), Reason.ADDRESS)
    world: World = await build(
        route(recipients=("*@corp.test",), backends=(MX(priority=0), SECOND)),
        route("mail/back", backends=(SmartHost(host="back.test"),)),
    )
    world.network["corp.test"].down = no_mail
    await world.accept("ann@corp.test")
    assert world.network["second.test"].transactions == []
    (report,) = world.network["back.test"].taken
    assert report.groups[1]["Status"] == "5.1.10"


async def test_weights_share_the_mail(build):
    """Backends of weight 3 and 1 get three and one of four messages."""
    dice = itertools.cycle([0.0, 0.3, 0.6, 0.9])
    backends = (SmartHost(host="big.test", weight=3), SmartHost(host="small.test", weight=1))
    world: World = await build(route(backends=backends), roll=lambda: next(dice))
    for _ in range(40):
        await world.accept("ann@corp.test")
    assert len(world.network["big.test"].taken) == 30
    assert len(world.network["small.test"].taken) == 10


async def test_the_other_of_equal_backends_takes_over(build):
    """Within one priority too: whoever lost the draw takes the mail when the winner is down."""
    backends = (SmartHost(host="one.test"), SmartHost(host="two.test"))
    world: World = await build(route(backends=backends), roll=lambda: 0.0)
    world.network["one.test"].down = REFUSED
    await world.accept("ann@corp.test")
    assert len(world.network["two.test"].taken) == 1


async def test_mail_in_a_closing_lane_moves_on_too(build):
    """Messages that wait for a connection of the first backend are not stranded when it dies."""
    world: World = await build(route(backends=(FIRST, SECOND)))
    first = world.network["first.test"]
    first.slow, first.down = True, REFUSED
    for _ in range(20):
        await world.accept("ann@corp.test")
    assert world.network["second.test"].taken == []
    first.let_in()
    await world.quiet()
    assert len(world.network["second.test"].taken) == 20
    assert await world.queue() == []
