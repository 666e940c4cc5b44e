"""From accepted to settled: who gets the mail, how often, and what is written down about it."""

import pytest
from tests.dispatch.world import LOST, World, later, refused, taken
from tests.support.mail import route

from waystation_contract.model import LMTP, MX, Discard, Reject, SmartHost
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Tuning

UP = SmartHost(host="up.test")


async def test_mail_is_delivered_once(build):
    """What the next server took leaves the queue and is never sent again."""
    world: World = await build(route(backends=(UP,)))
    await world.accept("ann@corp.test", content=b"Subject: one\r\n\r\nonly\r\n")
    (mail,) = world.network["up.test"].taken
    assert (mail.sender, mail.recipient) == ("app@shop.test", "ann@corp.test")
    assert mail.content == b"Subject: one\r\n\r\nonly\r\n"
    assert await world.queue() == []
    await world.pass_time(86_400)
    assert len(world.network["up.test"].taken) == 1


async def test_each_domain_is_served_at_its_own_mail_hosts(build):
    """By MX, one message to two domains is one transaction at each of them."""
    world: World = await build(route(backends=(MX(),)))
    await world.accept("a@x.test", "b@y.test", "c@X.test")
    sent = {
        host: [[r.address for r in t.recipients] for t in server.transactions]
        for host, server in world.network.servers.items()
    }
    assert sent == {"x.test": [["a@x.test", "c@X.test"]], "y.test": [["b@y.test"]]}
    assert await world.queue() == []


async def test_each_route_gets_its_own_recipients(build):
    """A message with inside and outside recipients goes two ways, each recipient one."""
    inside = route("mail/in", recipients=("*@corp.test",), backends=(LMTP(host="box.test"),))
    world: World = await build(route("mail/out", backends=(UP,)), inside)
    await world.accept("a@corp.test", "b@next.test", "c@corp.test")
    assert {m.recipient for m in world.network["box.test"].taken} == {"a@corp.test", "c@corp.test"}
    assert {m.recipient for m in world.network["up.test"].taken} == {"b@next.test"}


async def test_partial_success_is_kept(build):
    """Of three recipients one is taken, one busy, one refused: only the busy one is tried again."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.answers |= {"busy@x.test": [later(), later(), taken()], "no@x.test": [refused()]}
    await world.accept("yes@x.test", "busy@x.test", "no@x.test")
    assert [p.number for p in (await world.only()).pending] == [1]
    await world.to_next_due()
    await world.to_next_due()
    assert await world.queue() == []
    assert [len(up.to(a)) for a in ("yes@x.test", "busy@x.test", "no@x.test")] == [1, 1, 0]
    (report,) = up.to("app@shop.test")
    assert [g["Final-Recipient"] for g in report.groups[1:]] == ["rfc822; no@x.test"]


async def test_five_hundred_recipients(build):
    """Many recipients are a hundred to a transaction, and each is delivered once."""
    world: World = await build(route(backends=(UP,)))
    await world.accept(*[f"u{n}@x.test" for n in range(450)])
    up = world.network["up.test"]
    assert sorted(len(t.recipients) for t in up.transactions) == [50, 100, 100, 100, 100]
    assert len({m.recipient for m in up.taken}) == len(up.taken) == 450


async def test_a_server_that_takes_few_recipients_at_a_time_gets_them_all_at_once(build):
    """RFC 5321 §4.5.3.1.10: those it had no room for follow in the next transactions, not a minute later."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.recipients_a_transaction = 3
    await world.accept(*[f"u{n}@x.test" for n in range(10)])
    assert [len(t.recipients) for t in up.transactions] == [10, 7, 4, 1]
    assert sorted(m.recipient for m in up.taken) == [f"u{n}@x.test" for n in range(10)]
    assert world.logged("message.deferred") == []
    assert [lane.window.failures for lane in world.lanes.by_target.values()] == [0]


async def test_a_lost_connection_defers_and_the_next_attempt_delivers(build):
    """Nobody said yes, so nothing is settled: the mail goes out again later, on a new connection."""
    world: World = await build(route(backends=(UP,)))
    world.network["up.test"].answers["ann@corp.test"] = [LOST, taken()]
    await world.accept("ann@corp.test")
    (row,) = (await world.only()).pending
    assert (row.attempts, row.last_reason) == (1, Reason.CONNECT)
    await world.to_next_due()
    assert await world.queue() == []
    assert len(world.network["up.test"].links) == 2


async def test_discarded_mail_ends_here(build):
    """A discard route says yes for everybody and tells nobody: no server, no report, an entry in the log."""
    world: World = await build(route(backends=(Discard(),)))
    await world.accept("ann@corp.test")
    assert await world.queue() == []
    assert world.network.servers == {}
    (line,) = world.logged("message.delivered")
    assert "discarded" in str(line["reply"])


@pytest.mark.parametrize(
    ("backend", "stays"),
    [
        pytest.param(Reject(code=550, enhanced="5.7.1"), False, id="for good"),
        pytest.param(Reject(code=451, enhanced="4.7.1"), True, id="for now"),
    ],
)
async def test_a_route_that_turned_to_reject_meets_queued_mail_too(build, backend, stays):
    """Mail accepted before the route rejected it is refused at its next attempt, as by a server."""
    world: World = await build(route(backends=(UP,)))
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later()]
    await world.accept("ann@corp.test")
    world.configure(
        route(recipients=("*@corp.test",), backends=(backend,)), route("mail/back", backends=(UP,))
    )
    await world.to_next_due()
    if stays:
        (row,) = (await world.only()).pending
        assert (row.attempts, row.last_reason) == (2, Reason.POLICY)
        return
    assert await world.queue() == []
    (report,) = up.to("app@shop.test")
    assert report.groups[1]["Status"] == "5.7.1"


async def test_mail_without_a_route_waits_for_one(build):
    """A mistake in the routes loses nothing: the mail waits and says why, and goes when a route is there."""
    world: World = await build()
    await world.accept("ann@corp.test")
    (row,) = (await world.only()).pending
    assert (row.status, row.last_reason) == (Status.WAITING, Reason.NO_ROUTE)
    assert (await world.queue(reason="no-route"))[0].pending == (row,)
    world.configure(route(backends=(UP,)))
    await world.to_next_due()
    assert await world.queue() == []
    assert len(world.network["up.test"].taken) == 1


async def test_only_the_recipient_without_a_route_waits(build):
    """Its companions are delivered at once."""
    world: World = await build(route(recipients=("*@corp.test",), backends=(UP,)))
    await world.accept("ann@corp.test", "bob@nowhere.test")
    assert [p.number for p in (await world.only()).pending] == [1]
    assert [m.recipient for m in world.network["up.test"].taken] == ["ann@corp.test"]


async def test_a_body_too_large_for_memory_is_sent_from_its_file(build):
    """Large mail goes out byte for byte, attempt after attempt; and its file is closed after each."""
    world: World = await build(
        route(backends=(UP,)),
        tuning=Tuning(inline_bytes=100, memory_bytes=1000, warm_bytes=500, stream_chunk_bytes=300),
    )
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later(), LOST, taken()]
    content = b"Subject: big\r\n\r\n" + b"x" * 5000 + b"\r\n"
    await world.accept("ann@corp.test", content=content)
    await world.to_next_due()
    await world.to_next_due()
    assert [m.content for m in up.taken] == [content]
    assert len(world.spool.bodies) == 3
    assert all(body._fd < 0 for body in world.spool.bodies)


async def test_one_log_line_an_outcome_with_the_final_reply(build):
    """The log says what became of each recipient, in whose words, by which route and after how long."""
    world: World = await build(route("mail/all", backends=(UP,)))
    up = world.network["up.test"]
    up.answers |= {"busy@x.test": [later("come back")], "no@x.test": [refused("gone")]}
    queue_id = await world.accept("a@x.test", "b@x.test", "busy@x.test", "no@x.test", sender="")
    (good,) = world.logged("message.delivered")
    assert good == {
        "queue_id": queue_id,
        "recipients": ["a@x.test", "b@x.test"],
        "count": 2,
        "route": "mail/all",
        "reply": "250 2.0.0 queued",
        "delay_s": 0.0,
        "remote": "mx.test[192.0.2.1]:25",
    }
    (late,) = world.logged("message.deferred")
    assert (late["recipients"], late["reply"], late["reason"]) == (
        ["busy@x.test"],
        "451 4.3.0 come back",
        "other",
    )
    (bad,) = world.logged("message.failed")
    assert (bad["recipients"], bad["reply"], bad["reason"]) == (
        ["no@x.test"],
        "550 5.1.1 gone",
        "bad-address",
    )
    assert sorted(world.metrics.deliveries) == [
        ("mail/all", "deferred", "other", 1),
        ("mail/all", "delivered", "", 2),
        ("mail/all", "failed", "bad-address", 1),
    ]
