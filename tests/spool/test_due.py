"""Finding what is due: in order, page by page, nothing twice and nothing left out."""

from pathlib import Path

from tests.spool.conftest import OpenSpool
from tests.support.spools import SpoolUser, text

from waystation_relay.aio.clock import ManualClock
from waystation_relay.mail.message import Progress
from waystation_relay.spool.index import Index
from waystation_relay.spool.values import Cursor, Hold, Query, RetryNow

NOW = 1_800_000_000.0


async def put_off(user: SpoolUser, message_id: int, *dues: float) -> None:
    updates = tuple(Progress(number, due=due, attempts=1) for number, due in enumerate(dues))
    assert await user.settle(message_id, updates=updates) is None


async def test_pages_follow_each_other(user: SpoolUser) -> None:
    """However small the pages, each due message comes once, oldest due time first."""
    drafts = [await user.take(text(10, n)) for n in range(7)]
    for n, draft in enumerate(drafts):
        await put_off(user, draft.id, NOW + (n * 3) % 7)
    expected = [d.queue_id for d in sorted(drafts, key=lambda d: (drafts.index(d) * 3) % 7)]
    for page in (1, 2, 3, 7, 100):
        assert [m.queue_id for m in await user.due(page=page)] == expected, page


async def test_equal_due_times_are_told_apart(user: SpoolUser) -> None:
    """A thousand messages due in the same instant do not confuse the cursor: it counts the id as well."""
    drafts = [await user.take(b"x") for _ in range(9)]
    for draft in drafts:
        await put_off(user, draft.id, NOW + 60)
    assert [m.id for m in await user.due(page=2)] == [d.id for d in drafts]


async def test_what_is_not_due_yet_is_left(user: SpoolUser) -> None:
    """Only mail due by the given time comes; the earliest of the rest is named."""
    early, late = await user.take(b"early"), await user.take(b"late")
    await put_off(user, late.id, NOW + 600)
    assert [m.id for m in await user.due(now=NOW)] == [early.id]
    assert await user.next_due(NOW) == NOW + 600
    assert await user.next_due(NOW + 600) is None
    assert await user.next_due(0) == early.arrival


async def test_message_brings_all_its_recipients(user: SpoolUser) -> None:
    """One recipient due: the message comes with the others as well, due or held, for its reports' sake."""
    draft = await user.take(b"x", "a@next.test", "b@next.test", "c@next.test")
    await put_off(user, draft.id, NOW + 5, NOW + 500, NOW + 900)
    await user.spool.change(Query(recipient="c@next.test"), Hold("later"))
    (found,) = await user.due(now=NOW + 5)
    assert [(p.number, p.due) for p in found.pending] == [(0, NOW + 5), (1, NOW + 500), (2, NOW + 900)]


async def test_message_with_several_due_times_comes_once_a_page(user: SpoolUser) -> None:
    """Two recipients due at different times do not make it two messages."""
    draft = await user.take(b"x", "a@next.test", "b@next.test")
    await put_off(user, draft.id, NOW + 1, NOW + 2)
    messages, cursor = await user.load(Cursor(), NOW + 10, 100)
    assert [m.id for m in messages] == [draft.id]
    assert cursor == Cursor(NOW + 2, draft.id)


async def test_cursor_passes_over_what_came_before_it(user: SpoolUser) -> None:
    """Behind the cursor only news is found: retried mail comes again, delivered mail does not."""
    first, second = await user.take(b"1"), await user.take(b"2")
    _, cursor = await user.load(Cursor(), NOW, 100)
    assert (await user.load(cursor, NOW, 100))[0] == []
    await user.remove(second)
    await put_off(user, first.id, NOW - 5)  # now before the cursor
    user.clock.advance(1)
    third = await user.take(b"3")
    assert [m.id for m in (await user.load(cursor, NOW + 1, 100))[0]] == [third.id]
    assert [m.id for m in await user.due(now=NOW + 1)] == [first.id, third.id]


async def test_retry_now_comes_to_the_front(user: SpoolUser) -> None:
    """A person's "retry now" makes far-off mail due at this moment."""
    draft = await user.take(b"x")
    await put_off(user, draft.id, NOW + 86_400)
    assert await user.due(now=NOW) == []
    assert await user.spool.change(Query(), RetryNow()) == [draft.id]
    (found,) = await user.due(now=NOW)
    assert found.pending[0].due == NOW
    assert found.pending[0].attempts == 1


async def test_ids_never_repeat_though_the_clock_goes_back(open_spool: OpenSpool) -> None:
    """A restart with the clock set back an hour gives out later ids than ever, so order and names hold."""
    clock = ManualClock(NOW)
    user = open_spool(clock=clock)
    first = await user.take(b"first")
    await user.close()
    clock.jump(-3600)
    user = open_spool(clock=clock)
    second = await user.take(b"second")
    assert second.id > first.id
    assert second.arrival < first.arrival
    assert user.spool.stats().oldest_arrival == first.arrival
    await user.remove(first)
    await user.remove(second)
    await user.close()
    clock.jump(-3600)
    third = await open_spool(clock=clock).take(b"third")
    assert third.id > second.id


def test_floor_of_ids_only_rises(tmp_path: Path) -> None:
    """A message that took long to arrive has an old id: it does not lower the floor of the newer ones."""
    index = Index(tmp_path / "index")
    index.begin()
    index.reserve(10**15)
    index.commit()
    index.begin()
    index.rollback()
    index.begin()
    index.reserve(5)
    index.commit()
    assert index.counter("id_floor") > 10**15
    index.close()
