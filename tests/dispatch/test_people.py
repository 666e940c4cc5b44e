"""What people do to the queue, and what becomes of mail that is on its way at that moment."""

import asyncio

import pytest
from tests.dispatch.world import REFUSED, World, later, refused, taken
from tests.support.mail import route

from waystation_contract.model import Quarantine, Retry, SmartHost
from waystation_relay.dispatch.people import matching
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Delete, Hold, Query, Release, RetryNow, SpoolUnavailable

UP, BACK = SmartHost(host="up.test"), SmartHost(host="back.test")
HOURLY = Retry(first_s=3600, max_s=3600, jitter_percent=0, warn_after_s=0)
ALL = Query()


@pytest.fixture
async def world(build) -> World:
    """Mail to corp.test goes to up.test, tried once an hour; all else, such as reports, to back.test."""
    return await build(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=HOURLY),
        route("mail/back", backends=(BACK,)),
    )


@pytest.fixture
def up(world):
    return world.network["up.test"]


def one(queue_id: str) -> Query:
    return Query(queue_ids=(queue_id,))


# Mail at rest


async def test_retry_now_does_not_wait(world, up):
    """A person who knows better makes the attempt now; it counts as one."""
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test")
    assert await world.people.change(one(queue_id), RetryNow()) == 1
    await world.quiet()
    assert (await world.only()).pending[0].attempts == 2


async def test_retry_now_knocks_at_a_closed_destination(world, up):
    """The destination was given up for the moment: "retry now" means now all the same."""
    up.down = REFUSED
    for _ in range(5):
        await world.accept("ann@corp.test")
    knocks = up.knocks
    up.down = None
    await world.people.change(ALL, RetryNow())
    await world.quiet()
    assert up.knocks > knocks
    assert len(up.taken) == 5
    assert await world.queue() == []


async def test_hold_and_release(world, up):
    """Held mail is not attempted when its time comes; released mail is attempted at once."""
    up.answers["ann@corp.test"] = [later(), taken()]
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Hold("asked by ann"))
    await world.pass_time(10_000)
    assert len(up.transactions) == 1
    assert (await world.only()).pending[0].hold_reason == "asked by ann"
    await world.people.change(one(queue_id), Release())
    await world.quiet()
    assert await world.queue() == []
    assert len(up.taken) == 1


async def test_delete_sends_nothing_and_tells_nobody(world, up):
    """Deleted mail is gone without a report: that is what sets it apart from a bounce."""
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test")
    assert await world.people.change(one(queue_id), Delete("spam run")) == 1
    await world.pass_time(10_000)
    assert await world.queue() == []
    assert len(up.transactions) == 1
    assert world.network["back.test"].taken == []


async def test_bounce_tells_the_sender_why(world, up):
    """A bounce by hand is a failure like the destination's: one report, naming the person's reason."""
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test")
    assert await world.people.bounce(one(queue_id), "the domain is closed") == 1
    assert [m.envelope.reverse_path for m in await world.queue()] in ([""], [])  # on disk when it returns
    await world.quiet()
    (report,) = world.network["back.test"].taken
    group = report.groups[1]
    assert (group["Action"], group["Status"]) == ("failed", "5.7.0")
    assert "the domain is closed" in group["Diagnostic-Code"]
    assert await world.queue() == []


async def test_bounce_reaches_only_the_recipients_asked_for(world, up):
    """Bouncing one domain leaves the other recipients of the same message in the queue."""
    up.answers |= {"ann@corp.test": [later()], "bob@corp.test": [later()]}
    await world.accept("ann@corp.test", "bob@corp.test")
    assert await world.people.bounce(Query(recipient="ANN@corp.test"), "no longer there") == 1
    await world.quiet()
    assert [p.number for p in (await world.only()).pending] == [1]
    (report,) = world.network["back.test"].taken
    assert [g["Final-Recipient"] for g in report.groups[1:]] == ["rfc822; ann@corp.test"]


async def test_held_mail_can_be_bounced(world, up):
    """Quarantined or held mail need not be released to be sent back."""
    queue_id = await world.accept("ann@corp.test", hold="suspicious")
    assert await world.people.bounce(one(queue_id), "not wanted") == 1
    await world.quiet()
    assert len(world.network["back.test"].taken) == 1
    assert up.transactions == []
    assert await world.queue() == []


async def test_bounce_of_mail_nobody_can_be_told_of_holds_it(world, up):
    """Mail with the null sender and no postmaster cannot be bounced: it stays, held, until it is deleted."""
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test", sender="")
    await world.people.bounce(one(queue_id), "why not")
    await world.quiet()
    assert (await world.only()).pending[0].status is Status.HELD
    assert len(world.logged("message.failed")) == 1


async def test_bounce_during_an_attempt_of_mail_nobody_can_be_told_of_holds_it_once(world, up):
    """The same while it is being sent: one failure in the log, and it is held."""
    up.patient = True
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test", sender="")
    await world.people.bounce(one(queue_id), "why not")
    up.answer()
    await world.quiet()
    assert (await world.only()).pending[0].status is Status.HELD
    assert len(world.logged("message.failed")) == 1


async def test_many_are_bounced_page_by_page(world, up, monkeypatch):
    """More messages than a page: each is reported once."""
    monkeypatch.setattr("waystation_relay.dispatch.people.PAGE", 7)
    up.down = REFUSED
    for _ in range(30):
        await world.accept("ann@corp.test")
    assert await world.people.bounce(Query(domain="corp.test"), "closed") == 30
    await world.quiet()
    assert len(world.network["back.test"].taken) == 30
    assert await world.queue() == []


# Mail on its way


async def test_deleted_while_it_waits_for_a_connection(world, up):
    """Mail that has no connection yet is not sent after it was deleted."""
    up.slow = True
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Delete("stop"))
    up.let_in()
    await world.quiet()
    assert up.transactions == []
    assert await world.queue() == []


async def test_one_recipient_deleted_while_the_message_waits(world, up):
    """The others of its message are delivered."""
    up.slow = True
    await world.accept("ann@corp.test", "bob@corp.test")
    await world.people.change(Query(recipient="ann@corp.test"), Delete("left"))
    up.let_in()
    await world.quiet()
    assert [m.recipient for m in up.taken] == ["bob@corp.test"]
    assert await world.queue() == []


async def test_held_while_it_waits_for_a_connection(world, up):
    """A hold comes in time as long as the transaction has not begun."""
    up.slow = True
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Hold("wait"))
    up.let_in()
    await world.quiet()
    assert up.transactions == []
    assert (await world.only()).pending[0].status is Status.HELD


async def test_deleted_while_it_is_being_sent(world, up):
    """Too late: the server takes it. The queue is empty, and the log knows that it was delivered."""
    up.patient = True
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Delete("stop"))
    up.answer()
    await world.quiet()
    assert len(up.taken) == 1
    assert await world.queue() == []
    assert [line["queue_id"] for line in world.logged("message.delivered")] == [queue_id]


async def test_deleted_while_it_is_being_refused(world, up):
    """A refusal of mail that was deleted meanwhile is nobody's news."""
    up.patient = True
    up.answers["ann@corp.test"] = [refused()]
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Delete("stop"))
    up.answer()
    await world.quiet()
    assert world.network["back.test"].taken == []
    assert await world.queue() == []


@pytest.mark.parametrize("answer", [later(), taken(), refused()], ids=["deferred", "taken", "refused"])
async def test_held_while_it_is_being_sent(world, up, answer):
    """A hold outlives the attempt that was under way, unless the attempt settled the matter."""
    up.patient = True
    up.answers["ann@corp.test"] = [answer]
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Hold("wait"))
    up.answer()
    await world.quiet()
    await world.pass_time(10_000)
    assert len(up.transactions) == 1
    held = [m.pending[0].hold_reason for m in await world.queue()]
    assert held == (["wait"] if answer == later() else [])


async def test_held_and_released_while_it_is_being_sent(world, up):
    """After release the mail goes its way again: at the latest when the attempt's wait is over."""
    up.patient = True
    up.answers["ann@corp.test"] = [later(), taken()]
    queue_id = await world.accept("ann@corp.test")
    await world.people.change(one(queue_id), Hold("wait"))
    await world.people.change(one(queue_id), Release())
    up.answer()
    up.patient = False
    await world.quiet()
    (row,) = (await world.only()).pending
    assert row.status is Status.WAITING
    await world.to_next_due()
    assert await world.queue() == []
    assert len(up.taken) == 1


async def test_held_recipient_is_not_attempted_again_when_another_job_ends(world, up):
    """One recipient is held during a long attempt of another: its time comes and goes, and it stays."""
    retry = Retry(first_s=10, max_s=10, jitter_percent=0)
    world.configure(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry),
        route("mail/back", backends=(BACK,), retry=retry),
    )
    up.answers["ann@corp.test"] = [later()]
    back = world.network["back.test"]
    back.patient = True
    queue_id = await world.accept("ann@corp.test", "bob@next.test")
    await world.people.change(Query(queue_ids=(queue_id,), recipient="ann@corp.test"), Hold("wait"))
    await world.pass_time(30)
    back.answer()
    await world.quiet()
    assert [r.address for t in up.transactions for r in t.recipients] == ["ann@corp.test"]
    (row,) = (await world.only()).pending
    assert (row.number, row.status) == (0, Status.HELD)


async def test_held_during_its_own_attempt_while_another_job_goes_on(world, up):
    """The hold came during the attempt; its deferral sets nothing free, however long the message flies on."""
    retry = Retry(first_s=10, max_s=10, jitter_percent=0)
    world.configure(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry),
        route("mail/back", backends=(BACK,), retry=retry),
    )
    up.answers["ann@corp.test"] = [later()]
    back = world.network["back.test"]
    up.patient = back.patient = True
    queue_id = await world.accept("ann@corp.test", "bob@next.test")
    await world.people.change(Query(queue_ids=(queue_id,), recipient="ann@corp.test"), Hold("wait"))
    up.answer()
    await world.quiet()
    await world.pass_time(30)
    back.answer()
    up.patient = False
    await world.quiet()
    assert len(up.transactions) == 1
    (row,) = (await world.only()).pending
    assert (row.number, row.status, row.hold_reason) == (0, Status.HELD, "wait")


async def test_retry_now_while_another_recipient_is_being_sent(world, up):
    """The message is in memory for one recipient; "retry now" for another is not lost when that ends."""
    up.answers["ann@corp.test"] = [later(), taken()]
    back = world.network["back.test"]
    back.patient = True
    queue_id = await world.accept("ann@corp.test", "bob@next.test")
    await world.people.change(one(queue_id), RetryNow())
    await world.quiet()
    back.answer()
    await world.quiet()
    assert [m.recipient for m in up.taken] == ["ann@corp.test"]


@pytest.mark.parametrize(
    ("answer", "reports", "delivered"),
    [
        pytest.param(later(), 1, 0, id="deferred: the person's word holds"),
        pytest.param(taken(), 0, 1, id="taken: it is delivered after all"),
        pytest.param(refused(), 1, 0, id="refused: the server's own words"),
    ],
)
async def test_bounced_while_it_is_being_sent(world, up, answer, reports, delivered):
    """The attempt ends first; what it leaves undecided is bounced, and never both delivered and bounced."""
    up.patient = True
    up.answers["ann@corp.test"] = [answer]
    queue_id = await world.accept("ann@corp.test")
    assert await world.people.bounce(one(queue_id), "enough") == 1
    assert world.network["back.test"].taken == []
    up.answer()
    await world.quiet()
    sent = world.network["back.test"].taken
    assert (len(sent), len(up.taken)) == (reports, delivered)
    assert await world.queue() == []
    if reports:
        assert ("enough" in sent[0].groups[1]["Diagnostic-Code"]) is (answer == later())


async def test_bounced_while_it_waits_for_a_connection(world, up):
    """Mail without a connection is bounced when its turn comes, not sent."""
    up.slow = True
    queue_id = await world.accept("ann@corp.test", "bob@corp.test")
    await world.people.bounce(Query(queue_ids=(queue_id,), recipient="ann@corp.test"), "enough")
    up.let_in()
    await world.quiet()
    assert [m.recipient for m in up.taken] == ["bob@corp.test"]
    (report,) = world.network["back.test"].taken
    assert [g["Final-Recipient"] for g in report.groups[1:]] == ["rfc822; ann@corp.test"]
    assert await world.queue() == []


async def test_bounce_reaches_recipients_that_wait_beside_the_one_being_sent(world, up):
    """A message is being sent to one recipient while another waits for its hour: both are bounced."""
    up.answers["ann@corp.test"] = [later()]
    back = world.network["back.test"]
    back.answers["bob@next.test"] = [later()]
    back.patient = True
    queue_id = await world.accept("ann@corp.test", "bob@next.test")
    await world.people.bounce(one(queue_id), "enough")
    back.patient = False
    back.answer()
    await world.quiet()
    told = {g["Final-Recipient"] for mail in back.to("app@shop.test") for g in mail.groups[1:]}
    assert told == {"rfc822; ann@corp.test", "rfc822; bob@next.test"}
    assert await world.queue() == []


async def test_delivered_between_search_and_bounce(world, up, monkeypatch):
    """The search saw the mail waiting, then it was delivered: old news neither bounces nor repeats it."""
    up.answers |= {"ann@corp.test": [later(), taken()], "bob@corp.test": [later()]}
    await world.accept("ann@corp.test", "bob@corp.test")
    stale = await world.queue()
    assert [len(m.pending) for m in stale] == [2]
    await world.to_next_due()
    find, answers = world.spool.find, [stale, []]

    async def find_old_first(query, limit, after=0):
        return await find(query, limit, after) if query.queue_ids else answers.pop(0)

    monkeypatch.setattr(world.spool, "find", find_old_first)
    await world.people.bounce(Query(recipient="ann@corp.test"), "enough")
    monkeypatch.undo()
    await world.quiet()
    assert world.network["back.test"].taken == []
    assert len(up.to("ann@corp.test")) == 1


async def test_a_search_that_fails_leaves_the_queue_moving(world, up, monkeypatch):
    """If the second look fails, the command fails and the mail goes on as if nothing had been asked."""
    up.answers["ann@corp.test"] = [later(), taken()]
    queue_id = await world.accept("ann@corp.test")
    find = world.spool.find

    async def fail_second(query, limit, after=0):
        if query.queue_ids == (queue_id,) and limit == 500 and fail_second.armed:
            raise OSError("no look-ups now")
        fail_second.armed = True
        return await find(query, limit, after)

    fail_second.armed = False
    monkeypatch.setattr(world.spool, "find", fail_second)
    with pytest.raises(OSError, match="no look-ups"):
        await world.people.bounce(one(queue_id), "enough")
    monkeypatch.undo()
    assert world.dispatcher.flights == {}
    await world.to_next_due()
    assert len(up.taken) == 1


async def test_bounce_is_refused_while_the_disk_takes_nothing(world, monkeypatch):
    """Reports that cannot be written are not promised: the command says so and changes nothing."""
    queue_id = await world.accept("ann@corp.test", hold="wait")
    monkeypatch.setattr(world.spool, "can_settle", lambda: False)
    with pytest.raises(SpoolUnavailable):
        await world.people.bounce(one(queue_id), "enough")
    monkeypatch.undo()
    assert (await world.only()).pending[0].status is Status.HELD


async def test_two_people_at_once(world, up):
    """Bounce and delete of the same mail at the same time: one of them wins, and nothing is left over."""
    up.answers["ann@corp.test"] = [later()]
    queue_id = await world.accept("ann@corp.test")
    await asyncio.gather(
        world.people.bounce(one(queue_id), "enough"),
        world.people.change(one(queue_id), Delete("enough")),
        world.people.bounce(one(queue_id), "enough"),
    )
    await world.quiet()
    assert await world.queue() == []
    assert len(world.network["back.test"].taken) <= 1


# Quarantine


QUARANTINE = route("mail/odd", senders=("*@odd.test",), backends=(Quarantine(),))


@pytest.fixture
async def guarded(build) -> World:
    """Mail from odd.test is quarantined; the rest goes to up.test."""
    return await build(QUARANTINE, route("mail/up", backends=(UP,), retry=HOURLY))


async def test_quarantined_mail_is_held_with_the_routes_name(guarded):
    """The queue says which route holds the mail, and nothing is sent."""
    await guarded.accept("ann@corp.test", sender="x@odd.test")
    (row,) = (await guarded.only()).pending
    assert (row.status, row.hold_reason) == (Status.HELD, "quarantined by route mail/odd")
    await guarded.pass_time(86_400)
    assert guarded.network.servers == {}


async def test_released_mail_passes_the_quarantine(guarded):
    """Who releases mail wants it delivered: the next best route takes it, now and at all later attempts."""
    up = guarded.network["up.test"]
    up.answers["ann@corp.test"] = [later(), later(), taken()]
    queue_id = await guarded.accept("ann@corp.test", sender="x@odd.test")
    await guarded.people.change(one(queue_id), Release())
    await guarded.quiet()
    await guarded.restart()
    await guarded.to_next_due()
    await guarded.to_next_due()
    assert len(up.transactions) == 3
    assert await guarded.queue() == []


async def test_released_mail_for_which_there_is_only_quarantine_waits_for_a_route(build):
    """No other route takes it: that is told as such, and mended with a route, not with another release."""
    world: World = await build(QUARANTINE)
    queue_id = await world.accept("ann@corp.test", sender="x@odd.test")
    await world.people.change(one(queue_id), Release())
    await world.quiet()
    (row,) = (await world.only()).pending
    assert (row.status, row.last_reason) == (Status.WAITING, Reason.NO_ROUTE)


async def test_mail_held_by_a_person_is_still_quarantined_after_release(guarded):
    """Releasing a person's hold opens no way around a route that has not seen the mail yet."""
    queue_id = await guarded.accept("ann@corp.test", sender="x@odd.test", hold="wait")
    await guarded.people.change(one(queue_id), Release())
    await guarded.quiet()
    (row,) = (await guarded.only()).pending
    assert row.hold_reason == "quarantined by route mail/odd"


# The query, on one message


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        pytest.param(Query(), [0, 1, 2], id="no condition"),
        pytest.param(Query(sender="x@y.test"), [0, 1, 2], id="conditions on the message were met already"),
        pytest.param(Query(domain="BÜCHER.test"), [2], id="domain"),
        pytest.param(Query(domain="xn--bcher-kva.test"), [2], id="domain, A-label"),
        pytest.param(Query(recipient="ann@CORP.test"), [0], id="recipient"),
        pytest.param(Query(status=Status.HELD), [1], id="status"),
        pytest.param(Query(reason="other"), [0], id="reason of the deferral"),
        pytest.param(Query(reason="wait"), [1], id="reason of the hold"),
        pytest.param(Query(reason="wait", recipient="ann@corp.test"), [], id="of different recipients"),
    ],
)
async def test_a_query_means_the_same_recipients_in_memory_and_on_disk(world, up, query, numbers):
    """What a bounce picks is what a search shows and a deletion would take."""
    up.answers["ann@corp.test"] = [later()]
    back = world.network["back.test"]
    back.answers |= {"b@next.test": [later(reason=Reason.DNS)], "c@bücher.test": [later(reason=Reason.DNS)]}
    await world.accept("ann@corp.test", "b@next.test", "c@bücher.test")
    await world.people.change(Query(recipient="b@next.test"), Hold("wait"))
    message = await world.only()
    assert matching(query, message) == numbers
    before = {p.number for p in message.pending}
    conditions = Query(
        recipient=query.recipient, domain=query.domain, reason=query.reason, status=query.status
    )
    await world.people.change(conditions, Delete("test"))
    left = {p.number for m in await world.queue() for p in m.pending}
    assert before - left == set(numbers)
