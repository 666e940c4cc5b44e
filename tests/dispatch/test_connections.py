"""How many connections there are, who gets one, and when one ends."""

import asyncio

import pytest
from tests.dispatch.world import LOST, REFUSED, STALE, World, later, refused, taken
from tests.support.mail import route

from waystation_contract.model import MX, Delivery, Retry, SmartHost
from waystation_relay.config.snapshot import Credential
from waystation_relay.dispatch.dispatcher import Limits
from waystation_relay.dispatch.lanes import LONGEST_USE_S, LONGEST_WAIT_S
from waystation_relay.mail.outcome import Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import FAILURES_TO_CLOSE, INITIAL, Phase
from waystation_relay.spool.values import Delete, Query

UP = SmartHost(host="up.test")
SLOW_DOWN = later("slow down", Reason.THROTTLED)


async def test_one_connection_serves_many_messages(build):
    """Messages one after the other share a connection."""
    world: World = await build(route(backends=(UP,)))
    for _ in range(20):
        await world.accept("ann@corp.test")
    assert len(world.network["up.test"].links) == 1


async def test_a_burst_opens_no_more_than_the_window(build):
    """A hundred messages for a new destination open a few connections, not a hundred."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.patient = True
    for _ in range(100):
        await world.receive("ann@corp.test")
    await world.quiet()
    assert len(up.links) == INITIAL
    up.patient = False
    up.answer()
    await world.quiet()
    assert len(up.taken) == 100


async def test_an_unused_connection_is_closed_after_its_idle_time(build):
    """Connections are not hoarded: after idle_s without mail they say goodbye, and their slots are free."""
    world: World = await build(route(backends=(UP,)), limits=Limits(idle_s=5))
    await world.accept("ann@corp.test")
    await world.pass_time(4.9)
    assert len(world.network["up.test"].open_links) == 1
    await world.pass_time(0.2)
    assert world.network["up.test"].open_links == []
    assert world.lanes.slots_busy == 0


async def test_messages_per_connection_is_kept(build):
    """A server that takes only so many messages on a connection gets a new one for more."""
    world: World = await build(route(backends=(UP,)), delivery=Delivery(messages_per_connection=3))
    for _ in range(10):
        await world.accept("ann@corp.test")
    assert [link.used_count for link in world.network["up.test"].links] == [3, 3, 3, 1]


async def test_a_busy_connection_is_renewed_now_and_then(build):
    """However steady the mail, DNS is asked again and new addresses of a destination are found."""
    world: World = await build(route(backends=(UP,)))
    for _ in range(4):
        await world.accept("ann@corp.test")
        await world.pass_time(4)
    assert len(world.network["up.test"].links) == 1
    for _ in range(int(LONGEST_USE_S // 4)):
        await world.accept("ann@corp.test")
        await world.pass_time(4)
    assert len(world.network["up.test"].links) == 2


async def test_a_connection_the_server_closed_is_not_used(build):
    """What the other side hung up on is gone; the next message opens another."""
    world: World = await build(route(backends=(UP,)))
    await world.accept("ann@corp.test")
    world.network["up.test"].links[0].hang_up()
    world.check()
    await world.accept("bob@corp.test")
    assert len(world.network["up.test"].taken) == 2


async def test_a_connection_found_closed_costs_no_attempt(build):
    """The server had hung up meanwhile: the mail goes at once on a new connection, nobody is blamed."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    await world.accept("ann@corp.test")
    up.answers["bob@corp.test"] = [STALE, taken()]
    await world.accept("bob@corp.test")
    assert [m.recipient for m in up.taken] == ["ann@corp.test", "bob@corp.test"]
    assert world.logged("message.deferred") == []
    (lane,) = world.lanes.by_target.values()
    assert (lane.window.failures, lane.window.size) == (0, INITIAL)


async def test_a_server_that_slams_the_door_is_left_alone(build, monkeypatch):
    """Connections that are closed as soon as they are open count as failures: the knocking ends."""
    world: World = await build(route(backends=(UP,)), limits=Limits(warm_bytes=0))
    up = world.network["up.test"]
    up.slams = True
    read, late = world.spool.read, []
    monkeypatch.setattr(world.spool, "read", lambda *asked: late.append(asked))
    await world.accept("ann@corp.test")
    for _ in range(20):
        while late:
            read(*late.pop())
        await world.quiet()
    assert up.knocks == FAILURES_TO_CLOSE
    (row,) = (await world.only()).pending
    assert (row.attempts, row.last_reason) == (1, Reason.CONNECT)
    up.slams = False
    monkeypatch.undo()
    await world.pass_time(60)
    assert len(up.taken) == 1


async def test_a_throttling_server_loses_connections_not_only_new_ones(build):
    """A server that says "too fast" on five connections is not sent all the rest over the same five."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [SLOW_DOWN]
    up.patient = True
    for _ in range(100):
        await world.receive("ann@corp.test")
    await world.quiet()
    for _ in range(10):
        up.answer()
        await world.pass_time(1)
    assert len(up.transactions) < 15
    lane = next(iter(world.lanes.by_target.values()))
    assert lane.window.phase is Phase.CLOSED
    assert up.open_links == []
    assert {p.last_reason for m in await world.queue() for p in m.pending} == {Reason.THROTTLED}


async def test_nobody_reads_what_was_said_about_somebody_elses_mail(build):
    """Mail turned away from a throttling destination hears why, but not the answer to another recipient."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.answers["secret@corp.test"] = [later("too much mail for <secret@corp.test>", Reason.THROTTLED)]
    for _ in range(10):
        await world.accept("secret@corp.test")
        await world.pass_time(1)
    await world.accept("ann@corp.test")
    (message,) = await world.queue(recipient="ann@corp.test")
    assert message.pending[0].last_reason is Reason.THROTTLED
    assert "secret" not in str(message.pending[0].last_reply)


async def test_too_many_recipients_is_no_complaint(build):
    """A limit of recipients a transaction is a habit of the server's, not a sign of trouble."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.recipients_a_transaction = 1
    for _ in range(10):
        await world.accept("a@corp.test", "b@corp.test")
    (lane,) = world.lanes.by_target.values()
    assert lane.window.size == INITIAL
    assert len(up.taken) == 20


async def test_a_domain_without_mail_is_not_in_trouble(build):
    """A final answer from DNS bounces the mail it is about; for later mail DNS is asked anew."""
    world: World = await build(
        route(backends=(MX(),)), route("mail/back", recipients=("*@shop.test",), backends=(UP,))
    )
    corp = world.network["corp.test"]
    corp.down = Failed(reply(550, "5.1.2", "no such domain"), Reason.ADDRESS)
    for _ in range(5):
        await world.accept("ann@corp.test")
    corp.down = None
    await world.accept("ann@corp.test")
    assert len(corp.taken) == 1
    assert len(world.network["up.test"].taken) == 5


# The slots all destinations share


async def test_there_are_never_more_connections_than_slots(build):
    """The bound holds for all destinations together; who finds none waits, and is served in turn."""
    world: World = await build(route(backends=(MX(),)), limits=Limits(connections=3))
    for n in range(10):
        world.network[f"d{n}.test"].patient = True
        await world.receive(f"ann@d{n}.test")
    await world.quiet()
    busy = [host for host, server in world.network.servers.items() if server.transactions]
    assert busy == ["d0.test", "d1.test", "d2.test"]
    for n in range(10):
        assert world.lanes.slots_busy == min(3, 10 - n)
        world.network[f"d{n}.test"].answer()
        world.network[f"d{n}.test"].links[0].quit()
        await world.quiet()
    assert await world.queue() == []


async def test_idle_connections_give_way(build):
    """Connections kept for mail that may come do not hold up mail that is there."""
    world: World = await build(route(backends=(MX(),)), limits=Limits(connections=2, idle_s=3600))
    for n in range(20):
        await world.accept(f"ann@d{n}.test")
    assert await world.queue() == []
    assert world.lanes.slots_busy == 2
    assert [len(s.open_links) for s in world.network.servers.values()] == [0] * 18 + [1, 1]


async def test_a_lane_whose_mail_is_gone_costs_no_turn(build):
    """Mail deleted while it waited for a slot does not keep the slot from those behind it."""
    world: World = await build(route(backends=(MX(),)), limits=Limits(connections=1))
    first = world.network["first.test"]
    first.patient = True
    await world.accept("ann@first.test")
    await world.accept("ann@gone.test")
    await world.accept("ann@third.test")
    await world.people.change(Query(domain="gone.test"), Delete("stop"))
    first.answer()
    first.links[0].quit()
    await world.quiet()
    assert len(world.network["third.test"].taken) == 1


# One destination must not hold up the others


async def test_a_dead_destination_does_not_hold_up_the_others(build):
    """Many messages for a server that swallows connections: the rest of the mail is through at once."""
    limits = Limits(flights=200, park_s=30)
    world: World = await build(route(backends=(MX(),)), limits=limits)
    dead = world.network["dead.test"]
    dead.slow = True
    for _ in range(600):
        await world.receive("ann@dead.test")
    await world.quiet()
    assert len(world.dispatcher.flights) <= limits.flights
    for n in range(50):
        await world.accept(f"ann@alive{n}.test")
    assert sum(len(world.network[f"alive{n}.test"].taken) for n in range(50)) == 50
    # … and what was put off is not forgotten, nor counted as attempted:
    assert len(await world.queue(domain="dead.test")) == 600
    assert all(p.attempts == 0 for m in await world.queue() for p in m.pending)
    dead.slow = False
    dead.let_in()
    for _ in range(20):
        await world.pass_time(limits.park_s)
    assert await world.queue() == []
    assert len(dead.taken) == 600


async def test_mail_on_disk_for_a_dead_destination_does_not_hide_the_rest(build):
    """After a restart with a long queue for a dead server the loader still reaches everybody else's mail."""
    world: World = await build(route(backends=(MX(),)), limits=Limits(flights=200))
    dead = world.network["dead.test"]
    dead.slow = True
    await world.stop()
    await world.start()
    world.dispatcher.lanes.stopping = True  # nothing is attempted: all of it goes to disk
    for _ in range(1500):
        await world.receive("ann@dead.test")
    for n in range(20):
        await world.receive(f"ann@alive{n}.test")
    await world.restart()
    assert sum(len(world.network[f"alive{n}.test"].taken) for n in range(20)) == 20
    assert len(world.dispatcher.flights) <= 200 + 500  # at most a page more than there is room for


async def test_a_wait_for_a_connection_has_an_end(build):
    """Mail for a server that takes one message an hour is deferred, and its sender hears of the delay."""
    world: World = await build(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=Retry(warn_after_s=600)),
        route("mail/back", backends=(SmartHost(host="back.test"),)),
        delivery=Delivery(connections_per_destination=1),
    )
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    await world.accept("bob@corp.test")
    await world.pass_time(LONGEST_WAIT_S - 1)
    assert all(m.pending[0].attempts == 0 for m in await world.queue())
    await world.pass_time(2)
    (message,) = await world.queue(recipient="bob@corp.test")
    assert (message.pending[0].attempts, message.pending[0].last_reason) == (1, Reason.THROTTLED)
    (notice,) = world.network["back.test"].taken
    assert notice.groups[1]["Action"] == "delayed"
    up.answer()
    await world.quiet()


async def test_mail_that_was_never_attempted_does_not_expire_waiting(build):
    """However slow a destination, nobody's mail is given up before it was tried once."""
    retry = Retry(first_s=60, max_s=60, jitter_percent=0, expire_after_s=600, warn_after_s=0)
    world: World = await build(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry),
        route("mail/back", backends=(SmartHost(host="back.test"),)),
        delivery=Delivery(connections_per_destination=1),
    )
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    await world.accept("bob@corp.test")
    for _ in range(10):
        await world.pass_time(LONGEST_WAIT_S + 1)
    (message,) = await world.queue(recipient="bob@corp.test")
    assert message.pending[0].attempts == 0
    assert world.network["back.test"].taken == []
    up.patient = False
    up.answer()
    await world.quiet()
    await world.pass_time(60)
    assert {m.recipient for m in up.taken} == {"ann@corp.test", "bob@corp.test"}


# Who we are


LOGIN = SmartHost(host="up.test", credential="mail.up")


async def test_no_mail_goes_out_under_a_password_that_was_changed(build):
    """A new password behind the same name: connections logged in with the old one are closed, not used."""
    old, new = {"mail.up": Credential("us", "old")}, {"mail.up": Credential("us", "new")}
    world: World = await build(route(backends=(LOGIN,)), credentials=old)
    await world.accept("ann@corp.test")
    up = world.network["up.test"]
    world.configure(route(backends=(LOGIN,)), credentials=new)
    assert up.open_links == []
    await world.accept("ann@corp.test")
    assert len(up.links) == 2


async def test_a_transaction_under_way_is_the_last_of_its_connection(build):
    """A swap of the login cuts nothing off: what is being sent is finished, then the connection goes."""
    old, new = {"mail.up": Credential("us", "old")}, {"mail.up": Credential("us", "new")}
    world: World = await build(route(backends=(LOGIN,)), credentials=old)
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    world.configure(route(backends=(LOGIN,)), credentials=new)
    assert len(up.open_links) == 1
    up.answer()
    await world.quiet()
    assert up.open_links == []
    assert len(up.taken) == 1


async def test_a_connection_being_opened_with_the_old_login_is_not_used(build):
    """The swap came while the connection was on its way: another one is opened with the new login."""
    old, new = {"mail.up": Credential("us", "old")}, {"mail.up": Credential("us", "new")}
    world: World = await build(route(backends=(LOGIN,)), credentials=old)
    up = world.network["up.test"]
    up.slow = True
    await world.accept("ann@corp.test")
    world.configure(route(backends=(LOGIN,)), credentials=new)
    up.slow = False
    up.let_in()
    await world.quiet()
    assert [link.used_count for link in up.links] == [0, 1]
    assert await world.queue() == []


async def test_a_corrected_password_is_tried_at_once(build):
    """Refused logins have closed the way to a server; a new password is a reason to knock before its time."""
    old, new = {"mail.up": Credential("us", "old")}, {"mail.up": Credential("us", "new")}
    world: World = await build(route(backends=(LOGIN,)), credentials=old)
    up = world.network["up.test"]
    up.down = REFUSED
    for _ in range(FAILURES_TO_CLOSE + 1):
        await world.accept("ann@corp.test")
    assert up.knocks == FAILURES_TO_CLOSE
    up.down = None
    world.configure(route(backends=(LOGIN,)), credentials=new)
    await world.accept("bob@corp.test")
    assert {m.recipient for m in up.taken} == {"bob@corp.test"}


async def test_a_login_refused_after_the_correction_does_not_count(build):
    """The old password was on its way when the new one came: its refusal closes nothing and costs no time."""
    old, new = {"mail.up": Credential("us", "old")}, {"mail.up": Credential("us", "new")}
    world: World = await build(route(backends=(LOGIN,)), credentials=old)
    up = world.network["up.test"]
    up.down = REFUSED
    for _ in range(FAILURES_TO_CLOSE - 1):
        await world.accept("ann@corp.test")
    up.slow = True
    await world.accept("bob@corp.test")
    world.configure(route(backends=(LOGIN,)), credentials=new)
    up.let_in()
    await asyncio.sleep(0)  # refused, and knocking again
    up.down, up.slow = None, False
    up.let_in()
    await world.quiet()
    assert {m.recipient for m in up.taken} == {"bob@corp.test"}


async def test_other_changes_close_no_connection(build):
    """A new route, or the same password read again, costs no destination its connections."""
    login = {"mail.up": Credential("us", "same")}
    world: World = await build(route(backends=(LOGIN,)), credentials=login)
    await world.accept("ann@corp.test")
    world.configure(
        route(backends=(LOGIN,)),
        route("mail/more", recipients=("*@more.test",), backends=(UP,)),
        credentials={"mail.up": Credential("us", "same")},
    )
    assert len(world.network["up.test"].open_links) == 1


async def test_a_lower_limit_holds_at_once(build):
    """connectionsPerDestination lowered while five connections are open: they go as their mail is done."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.patient = True
    for _ in range(20):
        await world.receive("ann@corp.test")
    await world.quiet()
    assert len(up.open_links) == 5
    world.configure(route(backends=(UP,)), delivery=Delivery(connections_per_destination=2))
    up.answer()
    await world.quiet()
    assert len(up.open_links) == 2
    up.patient = False
    up.answer()
    await world.quiet()
    assert len(up.taken) == 20


# Stopping


async def test_stopping_finishes_what_is_being_sent(build):
    """SIGTERM: transactions under way are completed and recorded; what waits stays in the spool, untried."""
    world: World = await build(route(backends=(UP,)), delivery=Delivery(connections_per_destination=1))
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    await world.accept("bob@corp.test")
    stopping = asyncio.ensure_future(world.dispatcher.stop(30))
    await world.idle()
    assert not stopping.done()
    up.answer()
    await asyncio.wait_for(stopping, 10)
    await world.idle()
    assert up.open_links == []
    assert [m.envelope.recipients[0].address for m in await world.queue()] == ["bob@corp.test"]
    assert (await world.only()).pending[0].attempts == 0


async def test_stopping_does_not_wait_for_ever(build):
    """A server that does not answer is cut off when the grace is over: the mail stays, deferred."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    await asyncio.wait_for(world.dispatcher.stop(0.01), 10)
    await world.idle()
    assert (await world.only()).pending[0].last_reason is Reason.CONNECT


async def test_stopping_while_a_body_is_read(build, monkeypatch):
    """The body comes from the disk when the relay is already stopping: it is not sent any more."""
    world: World = await build(route(backends=(UP,)), limits=Limits(warm_bytes=0))
    reads = []
    monkeypatch.setattr(world.spool, "read", lambda message, done: reads.append(done))
    await world.accept("ann@corp.test")
    stopping = asyncio.ensure_future(world.dispatcher.stop(30))
    await world.idle()
    (done,) = reads
    done(b"Subject: late\r\n\r\n")
    await asyncio.wait_for(stopping, 10)
    assert world.network["up.test"].transactions == []
    assert len(await world.queue()) == 1


# Between choosing a connection and sending


async def test_the_connection_closes_while_the_body_is_read(build, monkeypatch):
    """The server hangs up while the body comes from the disk: the mail takes the next connection, at once."""
    world: World = await build(route(backends=(UP,)), limits=Limits(warm_bytes=0))
    read, reads = world.spool.read, []
    monkeypatch.setattr(world.spool, "read", lambda message, done: reads.append((message, done)))
    await world.accept("ann@corp.test")
    up = world.network["up.test"]
    up.links[0].hang_up()
    monkeypatch.setattr(world.spool, "read", read)
    (found,) = reads
    read(*found)
    await world.quiet()
    assert len(up.taken) == 1
    assert len(up.links) == 2
    assert world.logged("message.deferred") == []


@pytest.mark.parametrize("answers", [[LOST, taken()], [refused()], [later(), taken()]], ids=str)
async def test_no_slot_is_lost_whatever_the_server_does(build, answers):
    """After any outcome the books agree; ``close`` looks at them."""
    world: World = await build(
        route(backends=(UP,)),
    )
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = list(answers)
    for down in (REFUSED, None):
        up.down = down
        for _ in range(4):
            await world.accept("ann@corp.test")
            world.check()
        await world.pass_time(40)
    while await world.queue(domain="corp.test"):
        await world.to_next_due()
        world.check()
    await world.pass_time(3600)
    assert world.lanes.slots_busy == 0
