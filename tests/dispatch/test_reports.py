"""Whom the queue tells, when, and that the telling is as durable as the mail it is about."""

import pytest
from tests.dispatch.world import BODY, World, later, refused, taken
from tests.support.mail import route

from waystation_contract.model import Discard, Retry, SmartHost
from waystation_relay.bounce import report
from waystation_relay.mail.envelope import Notify, Recipient, Ret
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Deferred, Delivered, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.spool.values import Query, ReadFailure, ReadFailureKind, Release, Tuning

UP, BACK = SmartHost(host="up.test"), SmartHost(host="back.test")
UP_ROUTE = route("mail/up", recipients=("*@corp.test",), backends=(UP,))
BACK_ROUTE = route("mail/back", backends=(BACK,))


@pytest.fixture
async def world(build) -> World:
    """Mail to corp.test goes to up.test; everything else, such as reports, to back.test."""
    return await build(UP_ROUTE, BACK_ROUTE)


def refuse(world: World, *addresses: str) -> None:
    world.network["up.test"].answers |= {address: [refused()] for address in addresses}


async def test_the_report_and_the_removal_are_one_transaction(world):
    """There is no moment at which neither the message nor the report about it is on disk."""
    refuse(world, "ann@corp.test")
    await world.accept("ann@corp.test")
    (settlement,) = [s for s in world.spool.settlements if s.new]
    assert settlement.removed == (0,)
    assert settlement.new[0].envelope.recipients == (Recipient("app@shop.test"),)


async def test_the_report_is_queued_like_any_mail(build):
    """If the sender's own server is away, the report waits in the queue with the null sender."""
    world: World = await build(UP_ROUTE, BACK_ROUTE)
    refuse(world, "ann@corp.test")
    world.network["back.test"].answers["app@shop.test"] = [later()]
    await world.accept("ann@corp.test")
    waiting = await world.only()
    assert waiting.envelope.reverse_path == ""
    assert waiting.pending[0].attempts == 1
    await world.restart()
    assert await world.queue() == [waiting]


async def test_recipients_that_fail_together_are_in_one_report(world):
    """Ten refusals of one message: one report with ten recipients."""
    everybody = [f"u{n}@corp.test" for n in range(10)]
    refuse(world, *everybody)
    await world.accept(*everybody)
    (mail,) = world.network["back.test"].taken
    assert len(mail.groups) == 11


async def test_the_message_comes_back_with_the_report(world):
    """A small message is returned whole, one sent with RET=HDRS only by its header."""
    refuse(world, "ann@corp.test")
    await world.accept("ann@corp.test")
    await world.accept("ann@corp.test", ret=Ret.HEADERS)
    whole, header = world.network["back.test"].taken
    assert b"\r\nworld\r\n" in whole.content
    assert b"\r\nworld\r\n" not in header.content
    assert b"Subject: hello" in header.content


async def test_a_body_on_disk_is_read_for_the_report(build):
    """After a restart, or for large mail, the report returns what the disk has; the file is closed again."""
    world: World = await build(
        UP_ROUTE,
        BACK_ROUTE,
        tuning=Tuning(inline_bytes=100, memory_bytes=2000, warm_bytes=500, stream_chunk_bytes=300),
    )
    refuse(world, "ann@corp.test")
    head = b"Subject: large\r\n\r\n"
    await world.accept("ann@corp.test", content=head + b"small\r\n" * 200)  # cold, read whole
    await world.accept("ann@corp.test", content=head + b"large\r\n" * 900)  # a file
    back = world.network["back.test"]
    await world.until(lambda: len(back.taken) == 2, "both reports")
    assert {b"small\r\nsmall" in mail.content for mail in back.taken} == {True, False}
    assert {b"large\r\nlarge" in mail.content for mail in back.taken} == {True, False}


async def test_a_report_is_written_though_the_message_cannot_be_read(world, monkeypatch):
    """The disk has lost the body: the sender hears of the failure all the same, without a copy."""
    refuse(world, "ann@corp.test")
    queue_id = await world.accept("ann@corp.test", hold="wait")
    await world.people.change(Query(queue_ids=(queue_id,)), Release())
    up = world.network["up.test"]
    up.patient = True
    await world.quiet()
    monkeypatch.setattr(
        world.spool, "read", lambda message, done: done(ReadFailure(ReadFailureKind.IO, "broken"))
    )
    up.answer()
    await world.quiet()
    (mail,) = world.network["back.test"].taken
    assert [part.get_content_type() for part in mail.report.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
    ]


# NOTIFY


async def test_never_means_never(world):
    """NOTIFY=NEVER: a refused recipient leaves without a word."""
    refuse(world, "ann@corp.test")
    await world.accept(Recipient("ann@corp.test", Notify.NEVER))
    assert await world.queue() == []
    assert world.network["back.test"].taken == []
    assert len(world.logged("message.failed")) == 1


@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        pytest.param(taken(), "relayed", id="the next server has no DSN"),
        pytest.param(
            Delivered(reply(250, "2.1.5", "stored"), final=True), "delivered", id="into the mailbox"
        ),
        pytest.param(
            Delivered(reply(250, "2.0.0", "ok"), dsn_passed=True), None, id="the next server has DSN"
        ),
    ],
)
async def test_success_is_reported_when_asked_for(world, outcome, action):
    """NOTIFY=SUCCESS: "relayed" or "delivered", unless the next server took over the duty to report."""
    world.network["up.test"].answers["ann@corp.test"] = [outcome]
    await world.accept(Recipient("ann@corp.test", Notify.SUCCESS, "rfc822;ann+2Bx@corp.test"), envid="E7")
    actions = [mail.groups[1]["Action"] for mail in world.network["back.test"].taken]
    assert actions == ([action] if action else [])
    if action:
        groups = world.network["back.test"].taken[0].groups
        assert groups[0]["Original-Envelope-Id"] == "E7"
        assert groups[1]["Original-Recipient"] == "rfc822; ann+x@corp.test"


async def test_discarded_mail_is_not_reported_as_delivered(build):
    """Nobody got it, so no report says that somebody did, not even when asked."""
    world: World = await build(
        route("mail/up", recipients=("*@corp.test",), backends=(Discard(),)), BACK_ROUTE
    )
    await world.accept(Recipient("ann@corp.test", Notify.SUCCESS))
    assert world.network["back.test"].taken == []
    assert await world.queue() == []


# The null sender


async def test_a_report_that_bounces_goes_to_the_postmaster_once(build):
    """A double bounce is the postmaster's; he gets one, and its recipient is told nothing."""
    world: World = await build(
        UP_ROUTE,
        BACK_ROUTE,
        route("mail/pm", recipients=("pm@ours.test",), backends=(SmartHost(host="pm.test"),)),
        postmaster="pm@ours.test",
    )
    refuse(world, "ann@corp.test")
    world.network["back.test"].answers["app@shop.test"] = [refused("gone too")]
    await world.accept("ann@corp.test")
    (mail,) = world.network["pm.test"].taken
    assert (mail.sender, mail.recipient) == ("", "pm@ours.test")
    assert mail.groups[1]["Final-Recipient"] == "rfc822; app@shop.test"
    assert await world.queue() == []
    assert world.metrics.notices == ["failure", "double"]


async def test_a_double_bounce_without_a_postmaster_is_held(world):
    """Nobody can be told: the report stays in the queue, saying why, for somebody to look at."""
    refuse(world, "ann@corp.test")
    world.network["back.test"].answers["app@shop.test"] = [refused("gone too")]
    await world.accept("ann@corp.test")
    (row,) = (await world.only()).pending
    assert row.status is Status.HELD
    assert "no postmaster" in row.hold_reason
    assert "gone too" in row.hold_reason
    assert world.logged("message.held")[0]["reason"] == row.hold_reason
    await world.pass_time(86_400 * 30)
    assert await world.queue(status=Status.HELD)


async def test_a_postmaster_that_refuses_his_own_mail_ends_the_chain(build):
    """No report is ever made about a report to the postmaster: it is held."""
    world: World = await build(UP_ROUTE, BACK_ROUTE, postmaster="pm@shop.test")
    refuse(world, "ann@corp.test")
    world.network["back.test"].answers |= {"app@shop.test": [refused()], "pm@shop.test": [refused()]}
    await world.accept("ann@corp.test")
    (row,) = (await world.only()).pending
    assert row.status is Status.HELD
    assert world.metrics.notices == ["failure", "double"]


async def test_a_strangers_bounce_is_never_answered(world):
    """Mail that came in with the null sender and fails causes no mail to anybody."""
    refuse(world, "ann@corp.test")
    await world.accept("ann@corp.test", "bob@corp.test", sender="")
    assert world.network["back.test"].transactions == []
    assert [m.recipient for m in world.network["up.test"].taken] == ["bob@corp.test"]
    assert [p.number for p in (await world.only()).pending] == [0]


# Our own mistakes


async def test_a_report_that_cannot_be_written_holds_what_it_is_about(world, monkeypatch):
    """A defect of ours in writing a report must not lose the mail: it is held and the log says so."""
    events = []
    monkeypatch.setattr(world, "emit", lambda event, /, **fields: events.append(event))
    monkeypatch.setattr(report, "build", lambda *_, **__: 1 / 0)
    refuse(world, "ann@corp.test")
    await world.accept("ann@corp.test", "bob@corp.test")
    (row,) = (await world.only()).pending
    assert (row.number, row.status) == (0, Status.HELD)
    assert "internal.error" in events
    monkeypatch.undo()


async def test_a_temporary_look_up_failure_is_no_bounce(world):
    """DNS trouble defers; only the end of its time bounces the mail."""
    world.network["up.test"].down = Deferred(reply(451, "4.4.3", "SERVFAIL"), Reason.DNS)
    await world.accept("ann@corp.test")
    assert (await world.only()).pending[0].last_reason is Reason.DNS
    assert world.network["back.test"].taken == []


async def test_the_report_goes_by_the_routes_of_all_listeners(build):
    """Reports came in by no listener: whatever route takes the sender's address takes them."""
    world: World = await build(
        UP_ROUTE,
        route("mail/other", listeners=("submission",), recipients=("*@shop.test",), backends=(BACK,)),
    )
    refuse(world, "ann@corp.test")
    await world.accept("ann@corp.test", content=BODY)
    assert len(world.network["back.test"].taken) == 1


async def test_expired_recipients_of_one_message_share_a_report(build):
    """A message to a dead domain ends with one report, however many recipients it has there."""
    retry = Retry(first_s=60, max_s=60, jitter_percent=0, expire_after_s=60, warn_after_s=0)
    world: World = await build(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=retry), BACK_ROUTE
    )
    world.network["up.test"].answers |= {f"u{n}@corp.test": [later()] for n in range(5)}
    await world.accept(*[f"u{n}@corp.test" for n in range(5)])
    await world.to_next_due()
    (mail,) = world.network["back.test"].taken
    assert [group["Status"] for group in mail.groups[1:]] == ["5.4.7"] * 5
