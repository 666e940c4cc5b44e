"""When the disk takes nothing or gives nothing back: no mail is lost, none is sent twice without need."""

import errno

import pytest
from tests.dispatch.world import World, later, refused, taken
from tests.support.mail import route

from waystation_contract.model import Delivery, Retry, SmartHost
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.values import Query, ReadFailure, ReadFailureKind, RetryNow, Tuning

UP = SmartHost(host="up.test")
MINUTELY = Retry(first_s=60, factor=1, max_s=60, jitter_percent=0, warn_after_s=0)


class Disk:
    """Full while ``full`` is set: every commit fails as with ENOSPC."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        commit = Committer.commit

        def committed(committer, *arguments):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return commit(committer, *arguments)

        monkeypatch.setattr(Committer, "commit", committed)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
async def world(build, disk) -> World:
    """Mail to corp.test goes to up.test, all else to back.test; a failing disk is tried again at once."""
    return await build(
        route("mail/up", recipients=("*@corp.test",), backends=(UP,), retry=MINUTELY),
        route("mail/back", backends=(SmartHost(host="back.test"),)),
        tuning=Tuning(probe_interval_s=0.01),
    )


async def test_an_outcome_that_cannot_be_recorded_waits(world, disk):
    """The server took the mail and the disk is full: not sent again, and recorded when there is room."""
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    disk.full = True
    up.answer()
    await world.until_so(lambda: not world.dispatcher.can_settle(), "the failing disk")
    assert len(world.dispatcher.flights) == 1
    for _ in range(5):
        world.clock.advance(3600)
        world.lanes.sweep()
        world.loader.look()
        await world.turns()
    assert len(up.transactions) == 1
    disk.full = False
    await world.quiet()
    assert await world.queue() == []
    assert world.dispatcher.flights == {}
    assert len(up.transactions) == 1


async def test_nothing_is_begun_while_outcomes_cannot_be_recorded(world, disk):
    """What would be delivered now could not be remembered: the rest waits until the disk is back."""
    world.configure(*world.snapshot.document.routes, delivery=Delivery(connections_per_destination=1))
    up = world.network["up.test"]
    up.patient = True
    for name in ("ann", "bob", "eve"):
        await world.accept(f"{name}@corp.test")
    disk.full = True
    up.answer()  # ann's; bob's turn comes before anybody knows about the disk
    await world.until_so(lambda: not world.dispatcher.can_settle(), "the failing disk")
    up.answer()
    world.lanes.sweep()
    await world.turns()
    assert [r.address for t in up.transactions for r in t.recipients] == ["ann@corp.test", "bob@corp.test"]
    disk.full = False
    await world.until_so(world.dispatcher.can_settle, "the disk")
    world.lanes.sweep()
    up.patient = False
    up.answer()
    await world.quiet()
    assert await world.queue() == []
    assert len(up.transactions) == 3


async def test_a_report_that_cannot_be_written_keeps_its_message(world, disk):
    """A refusal whose report finds no room: the mail is not removed until its sender is told."""
    up, back = world.network["up.test"], world.network["back.test"]
    up.patient = True
    up.answers["ann@corp.test"] = [refused()]
    await world.accept("ann@corp.test")
    disk.full = True
    up.answer()
    await world.until_so(lambda: not world.dispatcher.can_settle(), "the failing disk")
    assert len(await world.queue()) == 1
    assert back.taken == []
    disk.full = False
    await world.quiet()
    assert await world.queue() == []
    assert len(back.taken) == 1


async def test_killed_while_outcomes_wait(world, disk):
    """The process ends before the disk is back: the mail is still in the queue and tried again."""
    up = world.network["up.test"]
    up.patient = True
    await world.accept("ann@corp.test")
    disk.full = True
    up.answer()
    await world.until_so(lambda: not world.dispatcher.can_settle(), "the failing disk")
    await world.kill()
    disk.full = False
    up.patient = False
    await world.start()
    assert await world.queue() == []
    assert len(up.taken) == 2


async def test_deferred_during_the_trouble_is_tried_at_its_time(world, disk):
    """A deferral recorded late is not forgotten behind the loader's place in the queue."""
    up = world.network["up.test"]
    up.patient = True
    up.answers["ann@corp.test"] = [later(), taken()]
    await world.accept("ann@corp.test")
    disk.full = True
    up.answer()
    await world.until_so(lambda: not world.dispatcher.can_settle(), "the failing disk")
    world.clock.advance(600)
    disk.full = False
    up.patient = False
    await world.quiet()
    assert await world.queue() == []
    assert len(up.taken) == 1


async def test_a_damaged_body_holds_its_message(build):
    """What was damaged on disk is neither sent nor thrown away: it is held, and says what is wrong."""
    world: World = await build(
        route(backends=(UP,), retry=MINUTELY), tuning=Tuning(inline_bytes=10, warm_bytes=0)
    )
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later()]
    await world.accept("ann@corp.test", content=b"Subject: x\r\n\r\n" + b"precious " * 50)
    (segment,) = [p for p in (world.directory / "segments").iterdir() if b"precious" in p.read_bytes()]
    segment.write_bytes(segment.read_bytes().replace(b"precious", b"PRECIOUS"))
    await world.to_next_due()
    (row,) = (await world.only()).pending
    assert (row.status, row.last_reason) == (Status.HELD, Reason.STORAGE)
    assert "corrupt" in row.hold_reason
    assert len(up.transactions) == 1
    await world.pass_time(86_400)
    assert len(up.transactions) == 1


async def test_a_disk_that_reads_badly_for_a_while_only_defers(world, monkeypatch):
    """An I/O error may pass: the mail is tried again, and its destination is not blamed."""
    up = world.network["up.test"]
    up.answers["ann@corp.test"] = [later(), taken()]
    queue_id = await world.accept("ann@corp.test")
    read = world.spool.read
    monkeypatch.setattr(world.spool, "read", lambda m, done: done(ReadFailure(ReadFailureKind.IO, "EIO")))
    await world.people.change(Query(queue_ids=(queue_id,)), RetryNow())
    await world.quiet()
    (row,) = (await world.only()).pending
    assert (row.status, row.last_reason, row.attempts) == (Status.WAITING, Reason.STORAGE, 2)
    (lane,) = world.lanes.by_target.values()
    assert lane.window.failures == 0
    assert len(lane.idle) == 1
    monkeypatch.setattr(world.spool, "read", read)
    await world.to_next_due()
    assert len(up.taken) == 1
