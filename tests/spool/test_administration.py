"""What people ask of the queue: find, show, hold, release, retry, delete, by every filter there is."""

from typing import Any

import pytest
from tests.support.spools import ORIGIN, SpoolUser, envelope, text

from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.administration import CHANGE_STEP
from waystation_relay.spool.query import WINDOW
from waystation_relay.spool.values import (
    Action,
    Delete,
    FailureKind,
    Hold,
    Query,
    Release,
    RetryNow,
    SpoolUnavailable,
)

NOW = 1_800_000_000.0
# name → (sender, recipients); each a minute after the one before
MAIL = {
    "plain": ("ann@shop.test", ["bob@next.test"]),
    "capitals": ("Ann@Shop.TEST", ["Bob@NEXT.test"]),
    "two": ("eve@other.test", ["bob@next.test", "carl@far.test"]),
    "bounce": ("", ["ann@shop.test"]),
    "held": ("ann@shop.test", ["dora@next.test"]),
    "deferred": ("ann@shop.test", ["slow@far.test"]),
    "idn": ("ann@bücher.test", ["jörg@bücher.test"]),
}


@pytest.fixture
async def queue(user: SpoolUser) -> dict[str, Message]:
    """One message of each kind in ``MAIL``."""
    made = {}
    for name, (sender, recipients) in MAIL.items():
        hold = "by hand" if name == "held" else ""
        draft = await user.take(text(200), *recipients, sender=sender, hold=hold)
        if name == "deferred":
            update = Progress(0, due=NOW + 7200, attempts=2, last_reason=Reason.GREYLISTED)
            assert await user.settle(draft.id, updates=(update,)) is None
        made[name] = await user.get(draft)
        user.clock.advance(60)
    return made


FILTERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "everything": ({}, set(MAIL)),
    "sender": ({"sender": "ann@shop.test"}, {"plain", "capitals", "held", "deferred"}),
    "sender in capitals": ({"sender": "ANN@SHOP.TEST"}, {"plain", "capitals", "held", "deferred"}),
    "null sender": ({"sender": ""}, {"bounce"}),
    "sender domain": ({"sender_domain": "Other.Test"}, {"two"}),
    "sender domain, Unicode": ({"sender_domain": "bücher.test"}, {"idn"}),
    "sender domain, A-labels": ({"sender_domain": "xn--bcher-kva.test"}, {"idn"}),
    "recipient": ({"recipient": "BOB@next.test"}, {"plain", "capitals", "two"}),
    "recipient, Unicode": ({"recipient": "jörg@bücher.test"}, {"idn"}),
    "domain": ({"domain": "far.test"}, {"two", "deferred"}),
    "domain with final dot": ({"domain": "far.test."}, {"two", "deferred"}),
    "older than": ({"older_than_s": 5.5 * 60}, {"plain", "capitals"}),
    "younger than": ({"younger_than_s": 90}, {"idn"}),
    "reason of the last deferral": ({"reason": "greylisted"}, {"deferred"}),
    "reason given when held": ({"reason": "by hand"}, {"held"}),
    "held": ({"status": Status.HELD}, {"held"}),
    "waiting": ({"status": Status.WAITING}, set(MAIL) - {"held"}),
    "two conditions": ({"sender": "eve@other.test", "domain": "far.test"}, {"two"}),
    "two conditions that no one recipient meets": (
        {"recipient": "bob@next.test", "domain": "far.test"},
        set(),
    ),
    "no queue id": ({"queue_ids": ()}, set()),
    "text that would be SQL": ({"sender": "' OR 1=1 --"}, set()),
}


@pytest.mark.parametrize(("query", "expected"), FILTERS.values(), ids=FILTERS)
async def test_find(user: SpoolUser, queue: dict[str, Message], query: dict[str, Any], expected: set) -> None:
    """Each filter finds its messages, oldest first, and no others."""
    found = await user.spool.find(Query(**query), 100)
    names = {message.id: name for name, message in queue.items()}
    assert [names[m.id] for m in found] == [name for name in MAIL if name in expected]


@pytest.mark.parametrize(("query", "expected"), FILTERS.values(), ids=FILTERS)
async def test_delete(
    user: SpoolUser, queue: dict[str, Message], query: dict[str, Any], expected: set
) -> None:
    """Each filter deletes what it finds: matching recipients go, others of the same message stay."""
    changed = await user.spool.change(Query(**query), Delete("unwanted"))
    assert changed == [queue[name].id for name in MAIL if name in expected]
    left = await user.spool.find(Query(), 100)
    kept_in_part = {"two"} if query.keys() & {"domain", "recipient"} else set()
    assert {m.id for m in left} == {m.id for n, m in queue.items() if n not in expected - kept_in_part}
    stats = user.spool.stats()
    assert stats.messages == len(left)
    assert stats.waiting + stats.held == sum(len(m.pending) for m in left)


async def test_queue_ids_name_messages(user: SpoolUser, queue: dict[str, Message]) -> None:
    """By queue id, in either case; ids of other spools and nonsense find nothing and break nothing."""
    wanted = queue["two"]
    foreign = wanted.queue_id[:-5] + ("AAAAA" if not wanted.queue_id.endswith("AAAAA") else "BBBBB")
    ids = (wanted.queue_id.lower(), foreign, "", "nonsense", "é" * 17, "-")
    assert [m.id for m in await user.spool.find(Query(queue_ids=ids), 100)] == [wanted.id]
    assert await user.spool.get(foreign) is None
    assert (await user.get(wanted)).id == wanted.id


async def test_find_pages(user: SpoolUser) -> None:
    """A long listing is fetched page by page: each id once, in order of arrival."""
    drafts = [await user.take(b"x") for _ in range(7)]
    found, after = [], 0
    while page := await user.spool.find(Query(), 3, after):
        assert len(page) <= 3
        found += [m.id for m in page]
        after = page[-1].id
    assert found == [d.id for d in drafts]


HELD, WAITING = Status.HELD, Status.WAITING
ACTIONS: dict[str, tuple[Action, dict[str, Any], list[tuple[Status, str, float]]]] = {
    # what becomes of "two", whose recipients were held ("mine") and waiting (due in an hour)
    "hold": (Hold("theirs"), {}, [(HELD, "mine", NOW), (HELD, "theirs", NOW + 3600)]),
    "release": (Release(), {}, [(WAITING, "", NOW + 10), (WAITING, "", NOW + 3600)]),
    "retry": (RetryNow(), {}, [(HELD, "mine", NOW), (WAITING, "", NOW + 10)]),
    "delete held": (Delete("x"), {"status": HELD}, [(WAITING, "", NOW + 3600)]),
    "delete waiting": (Delete("x"), {"status": WAITING}, [(HELD, "mine", NOW)]),
    "release by reason": (
        Release(),
        {"reason": "mine"},
        [(WAITING, "", NOW + 10), (WAITING, "", NOW + 3600)],
    ),
    "hold of somebody else": (Hold("x"), {"recipient": "z@x.test"}, [(HELD, "mine", NOW), (WAITING, "", 0)]),
}


@pytest.mark.parametrize(("action", "query", "expected"), ACTIONS.values(), ids=ACTIONS)
async def test_action(
    user: SpoolUser, action: Action, query: dict[str, Any], expected: list[tuple[Status, str, float]]
) -> None:
    """Each action does what it says to the recipients it is for, at once in the figures too."""
    draft = await user.take(b"x", "a@next.test", "b@next.test")
    await user.spool.change(Query(recipient="a@next.test"), Hold("mine"))
    assert await user.settle(draft.id, updates=(Progress(1, due=NOW + 3600),)) is None
    user.clock.advance(10)
    await user.spool.change(Query(**query), action)
    pending = (await user.get(draft)).pending
    found = [(p.status, p.hold_reason, p.due) for p in pending]
    wanted = [(s, h, d or NOW + 3600) for s, h, d in expected]
    assert found == wanted
    stats = user.spool.stats()
    assert (stats.waiting, stats.held) == (
        sum(s is WAITING for s, _, _ in wanted),
        sum(s is HELD for s, _, _ in wanted),
    )


async def test_change_goes_through_a_long_queue(user: SpoolUser) -> None:
    """An action on more messages than one transaction takes reaches them all."""
    count = CHANGE_STEP * 2 + 3
    drafts = [await user.draft(b"x") for _ in range(count)]
    for draft in drafts:
        user.spool.accept(draft, envelope(), ORIGIN, lambda failure: None)
    await user.take(b"last")
    changed = await user.spool.change(Query(), Hold("maintenance"))
    assert len(changed) == count + 1
    assert user.spool.stats().held == count + 1
    assert await user.due() == []


async def test_search_goes_through_windows(user: SpoolUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies many windows of the index apart is found all the same."""
    monkeypatch.setattr("waystation_relay.spool.reader.WINDOW", 2)
    assert WINDOW > 2
    drafts = [await user.take(b"x", "b@far.test" if n in (0, 9) else "b@next.test") for n in range(10)]
    found = await user.spool.find(Query(domain="far.test"), 100)
    assert [m.id for m in found] == [drafts[0].id, drafts[9].id]
    assert [m.id for m in await user.spool.find(Query(), 5, drafts[2].id)] == [d.id for d in drafts[3:8]]


async def test_text_that_no_index_can_hold_is_refused(user: SpoolUser) -> None:
    """A reason with half a Unicode character is the asker's mistake; the queue goes on."""
    await user.take(b"x")
    with pytest.raises(ValueError, match="surrogates not allowed"):
        await user.spool.change(Query(), Hold("\ud800"))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        await user.spool.find(Query(sender="\ud800"), 10)
    assert user.broken == []
    await user.take(b"y")


async def test_after_close_people_are_told(user: SpoolUser) -> None:
    """Asked while the relay stops: an answer, not a wait without end."""
    draft = await user.take(b"x")
    await user.close()
    for asked in (
        user.spool.find(Query(), 1),
        user.spool.get(draft.queue_id),
        user.spool.change(Query(), RetryNow()),
    ):
        with pytest.raises(SpoolUnavailable) as told:
            await asked
        assert told.value.failure.kind is FailureKind.CLOSED
