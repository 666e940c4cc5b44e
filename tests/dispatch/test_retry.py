"""When a deferred recipient is tried again, when its sender hears of the delay, and when it ends."""

import pytest
from tests.dispatch.world import REFUSED, World, later, taken
from tests.support.mail import route

from waystation_contract.model import Retry, SmartHost
from waystation_relay.mail.envelope import Notify, Recipient
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Query, Release

UP, BACK = SmartHost(host="up.test"), SmartHost(host="back.test")
HOUR = 3600.0


def routes(retry: Retry):
    """Mail to corp.test goes to up.test; everything else, such as reports, to back.test."""
    return (
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry),
        route("mail/back", backends=(BACK,)),
    )


async def test_the_waits_are_those_of_the_route(build):
    """A route's own figures come before the pool's: 10 s, 30 s, 90 s, then 100 s for ever."""
    retry = Retry(first_s=10, factor=3, max_s=100, jitter_percent=0, warn_after_s=0)
    world: World = await build(*routes(retry))
    world.network["up.test"].answers["ann@corp.test"] = [later()]
    await world.accept("ann@corp.test")
    assert [await world.to_next_due() for _ in range(5)] == pytest.approx([10, 30, 90, 100, 100], abs=0.01)
    (row,) = (await world.only()).pending
    assert row.attempts == 6


async def test_two_recipients_keep_their_own_times(build):
    """Recipients that were deferred at different attempts come due apart; neither waits for the other."""
    retry = Retry(first_s=60, factor=10, max_s=6000, jitter_percent=0, warn_after_s=0)
    world: World = await build(*routes(retry))
    up = world.network["up.test"]
    up.answers |= {
        "a@corp.test": [later(), later(), taken()],
        "b@corp.test": [later(reason=Reason.GREYLISTED, retry_after_s=300), taken()],
    }
    await world.accept("a@corp.test", "b@corp.test")
    assert await world.to_next_due() == pytest.approx(60)
    assert [[r.address for r in t.recipients] for t in up.transactions[1:]] == [["a@corp.test"]]
    assert await world.to_next_due() == pytest.approx(240)
    assert [m.recipient for m in up.taken] == ["b@corp.test"]
    assert await world.to_next_due() == pytest.approx(360)
    assert await world.queue() == []


async def test_a_greylisting_server_takes_an_early_attempt(build):
    """With the defaults, greylisting for five minutes costs seven: the third retry is late enough."""
    world: World = await build(*routes(Retry(jitter_percent=0)))
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later(reason=Reason.GREYLISTED)]
    await world.accept("ann@corp.test")
    begun = world.clock.now()
    while await world.queue():
        await world.to_next_due()
        if world.clock.now() - begun + 120 >= 300:
            up.answers["ann@corp.test"] = [taken()]
    assert world.clock.now() - begun == pytest.approx(7 * 60)
    assert all(lane.window.failures == 0 for lane in world.lanes.by_target.values())


async def test_the_count_outlives_a_restart(build):
    """A restart forgets nothing about a waiting recipient: attempts, last answer and the next time stay."""
    world: World = await build(*routes(Retry(jitter_percent=0)))
    world.network["up.test"].answers["ann@corp.test"] = [later("one"), later("two"), taken()]
    await world.accept("ann@corp.test")
    await world.to_next_due()
    (before,) = (await world.only()).pending
    await world.restart()
    (after,) = (await world.only()).pending
    assert after == before
    assert (after.attempts, after.last_reply.text) == (2, "two")
    assert len(world.network["up.test"].transactions) == 2
    assert await world.to_next_due() == pytest.approx(120)
    assert await world.queue() == []


# The delay warning


async def test_the_sender_is_warned_once(build):
    """After warnAfter one notice is sent, saying until when; no second one, not after a restart either."""
    retry = Retry(first_s=600, factor=1, max_s=600, jitter_percent=0, warn_after_s=HOUR, expire_after_s=1e6)
    world: World = await build(*routes(retry))
    world.network["up.test"].down = REFUSED
    await world.accept("ann@corp.test")
    arrival = world.clock.now()
    back = world.network["back.test"]
    while world.clock.now() - arrival < HOUR - 1:
        assert back.taken == []
        await world.to_next_due()
    for _ in range(5):
        await world.to_next_due()
    await world.restart()
    for _ in range(5):
        await world.to_next_due()
    (notice,) = back.taken
    assert (notice.sender, notice.recipient) == ("", "app@shop.test")
    group = notice.groups[1]
    assert (group["Action"], group["Status"]) == ("delayed", "4.4.1")
    assert group["Will-Retry-Until"] == "Tue, 26 Jan 2027 21:46:40 +0000"
    assert world.metrics.notices == ["delay"]
    assert (await world.only()).pending[0].warned


async def test_no_warning_for_who_did_not_ask(build):
    """NOTIFY without DELAY, a null sender, or warnAfter 0: no delay notice."""
    retry = Retry(first_s=600, factor=1, max_s=600, jitter_percent=0, warn_after_s=60)
    world: World = await build(*routes(retry))
    world.network["up.test"].down = REFUSED
    await world.accept(Recipient("ann@corp.test", Notify.FAILURE))
    await world.accept("bob@corp.test", sender="")
    for _ in range(4):
        await world.to_next_due()
    assert world.network["back.test"].taken == []
    assert len(await world.queue()) == 2


async def test_recipients_that_are_late_together_share_a_warning(build):
    """A message to three dead mailboxes is worth one notice, not three."""
    retry = Retry(first_s=600, factor=1, max_s=600, jitter_percent=0, warn_after_s=500)
    world: World = await build(*routes(retry))
    world.network["up.test"].down = REFUSED
    await world.accept("a@corp.test", "b@corp.test", "c@corp.test")
    await world.to_next_due()
    await world.to_next_due()
    (notice,) = world.network["back.test"].taken
    assert len(notice.groups) == 4


# Expiry


async def test_mail_that_expires_is_bounced_with_the_last_answer(build):
    """The last attempt is made when the time is over; if it fails the mail ends with 5.4.7 and its answer."""
    retry = Retry(first_s=60, factor=1, max_s=60, jitter_percent=0, expire_after_s=150, warn_after_s=0)
    world: World = await build(*routes(retry))
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later("one"), later("two"), later("three"), later("the last word")]
    await world.accept("ann@corp.test")
    waits = [await world.to_next_due() for _ in range(3)]
    assert waits == pytest.approx([60, 60, 30])
    assert len(up.transactions) == 4
    assert await world.queue() == []
    (report,) = world.network["back.test"].taken
    group = report.groups[1]
    assert (group["Action"], group["Status"]) == ("failed", "5.4.7")
    assert "the last word" in group["Diagnostic-Code"]
    assert group["Remote-MTA"] == "dns; mx.test"
    assert "expired" in {reason for _, _, reason, _ in world.metrics.deliveries}


async def test_the_last_attempt_may_deliver(build):
    """Even at the very end of its time mail is tried before it is given up."""
    retry = Retry(first_s=60, factor=1, max_s=60, jitter_percent=0, expire_after_s=90, warn_after_s=0)
    world: World = await build(*routes(retry))
    world.network["up.test"].answers["ann@corp.test"] = [later(), later(), taken()]
    await world.accept("ann@corp.test")
    await world.to_next_due()
    assert await world.to_next_due() == pytest.approx(30)
    assert await world.queue() == []
    assert len(world.network["up.test"].taken) == 1
    assert world.network["back.test"].taken == []


async def test_after_a_long_stop_everybody_gets_one_attempt(build):
    """The relay was down for two weeks: what it finds in its queue is tried once before it is given up."""
    world: World = await build(*routes(Retry(jitter_percent=0)))
    world.network["up.test"].answers |= {"yes@corp.test": [later(), taken()], "no@corp.test": [later()]}
    await world.accept("yes@corp.test")
    await world.accept("no@corp.test")
    await world.stop()
    world.clock.advance(14 * 24 * HOUR)
    await world.start()
    assert [m.recipient for m in world.network["up.test"].taken] == ["yes@corp.test"]
    assert await world.queue() == []
    (report,) = world.network["back.test"].taken
    assert report.groups[1]["Status"] == "5.4.7"


async def test_mail_for_a_closed_lane_expires_too(build):
    """A destination that has been dead for days is not knocked at for each message, yet each ends in time."""
    retry = Retry(first_s=60, factor=2, max_s=600, jitter_percent=0, expire_after_s=2000, warn_after_s=0)
    world: World = await build(*routes(retry))
    up = world.network["up.test"]
    up.down = REFUSED
    for _ in range(30):
        await world.accept("ann@corp.test")
    begun = world.clock.now()
    while await world.queue():
        await world.to_next_due()
    assert world.clock.now() - begun == pytest.approx(2000)
    assert len(world.network["back.test"].taken) == 30
    assert up.knocks < 30


async def test_mail_without_a_route_expires_by_the_pools_figures(build):
    """Waiting for a route has an end as well."""
    world: World = await build(
        route("mail/back", recipients=("*@shop.test",), backends=(BACK,)),
        retry=Retry(first_s=60, max_s=3600, jitter_percent=0, expire_after_s=7200, warn_after_s=0),
    )
    await world.accept("ann@corp.test")
    begun = world.clock.now()
    while await world.queue():
        await world.to_next_due()
    assert world.clock.now() - begun == pytest.approx(7200)
    (report,) = world.network["back.test"].taken
    assert "no route" in report.groups[1]["Diagnostic-Code"]


async def test_held_mail_does_not_expire(build):
    """What a person holds stays until a person releases it; then it gets its attempt, however old it is."""
    world: World = await build(*routes(Retry(jitter_percent=0)))
    world.network["up.test"].answers["ann@corp.test"] = [taken()]
    queue_id = await world.accept("ann@corp.test", hold="asked")
    await world.pass_time(30 * 24 * HOUR)
    (row,) = (await world.only()).pending
    assert (row.status, row.hold_reason) == (Status.HELD, "asked")

    assert await world.people.change(Query(queue_ids=(queue_id,)), Release()) == 1
    await world.quiet()
    assert len(world.network["up.test"].taken) == 1
    assert world.network["back.test"].taken == []
