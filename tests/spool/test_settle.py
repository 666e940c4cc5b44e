"""Outcomes: what became of recipients is committed whole, and the queue's figures follow."""

import asyncio

import msgspec
import pytest
from tests.spool.conftest import OpenSpool
from tests.support.spools import TINY, SpoolUser, report, text

from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.spool.values import (
    Delete,
    FailureKind,
    Hold,
    Query,
    ReadFailure,
    ReadFailureKind,
    Settlement,
)

DEFERRED = Progress(
    0,
    Status.WAITING,
    due=1_800_000_600.0,
    attempts=3,
    warned=True,
    last_reply=reply(451, "4.7.1", "greylisted,", "come back"),
    last_reason=Reason.GREYLISTED,
    last_remote=Remote("mx.next.test", "192.0.2.25", 25),
    last_attempt=1_800_000_300.0,
)


async def test_deferral_is_kept_in_full(open_spool: OpenSpool) -> None:
    """Due time, attempts, the last answer and who gave it: a restart forgets none of it."""
    user = open_spool()
    draft = await user.take(b"later")
    assert await user.settle(draft.id, updates=(DEFERRED,)) is None
    await user.close()
    (found,) = await open_spool().due()
    assert found.pending == (DEFERRED,)


async def test_delivered_recipients_leave_and_the_others_stay(user: SpoolUser) -> None:
    """Partial success: who has it is not sent it again, who has not is."""
    draft = await user.take(b"three", "a@next.test", "b@next.test", "c@next.test")
    assert await user.settle(draft.id, removed=(0, 2)) is None
    (found,) = await user.due()
    assert [p.number for p in found.pending] == [1]
    assert len(found.envelope.recipients) == 3
    assert user.spool.stats().waiting == 1


@pytest.mark.parametrize("size", [10, 300, 3_000], ids=["inline", "segment", "streamed"])
async def test_message_goes_with_its_last_recipient(user: SpoolUser, size: int) -> None:
    """The last recipient done: the message and its body leave the queue."""
    draft = await user.take(text(size), "a@next.test", "b@next.test")
    await user.remove(draft, 1)
    assert user.spool.stats().messages == 1
    message = await user.get(draft)
    await user.remove(draft, 0)
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.size_bytes, stats.segment_live_bytes) == (0, 0, 0, 0)
    assert await user.spool.get(draft.queue_id) is None
    gone = await user.read(message)
    assert isinstance(gone, ReadFailure)
    assert gone.kind is ReadFailureKind.GONE


async def test_report_and_removal_are_one_transaction(open_spool: OpenSpool) -> None:
    """The report to the sender is in the queue when the message it speaks of is gone; it is due at once."""
    user = open_spool()
    draft = await user.take(b"bad address")
    user.told.clear()
    told = report(text(700), "ann@shop.test")
    commits = user.spool.stats().commits
    assert await user.settle(draft.id, removed=(0,), new=(told,)) is None
    assert user.spool.stats().commits == commits + 1
    ((kind, message),) = user.told
    assert kind == "accepted"
    await user.close()
    (found,) = await open_spool().due()
    assert found == msgspec.structs.replace(message, content=None)
    assert found.envelope == told.envelope
    assert found.size_bytes == 700


@pytest.mark.parametrize(
    "size", [0, TINY.inline_bytes + 1, TINY.memory_bytes + 1], ids=["empty", "segment", "own file"]
)
async def test_report_of_any_size_is_kept(user: SpoolUser, size: int) -> None:
    """A report that returns a large message in full is a message like any other."""
    draft = await user.take(b"x")
    content = text(size)
    assert await user.settle(draft.id, removed=(0,), new=(report(content, "ann@shop.test"),)) is None
    (found,) = await user.due()
    assert await user.content(found) == content


async def test_report_may_start_held(user: SpoolUser) -> None:
    """A double bounce nobody can be told about waits for the postmaster instead of being dropped."""
    draft = await user.take(b"x")
    new = report(b"double bounce", "ann@shop.test", hold="double bounce")
    assert await user.settle(draft.id, removed=(0,), new=(new,)) is None
    assert await user.due() == []
    (found,) = await user.spool.find(Query(status=Status.HELD), 10)
    assert found.pending[0].hold_reason == "double bounce"


async def test_quarantined_recipient_is_held(user: SpoolUser) -> None:
    """An update may hold: the recipient waits for a person, with the reason given, and is not due."""
    draft = await user.take(b"odd")
    held = Progress(0, Status.HELD, due=5.0, hold_reason="quarantined", quarantined=True)
    assert await user.settle(draft.id, updates=(held,)) is None
    assert (await user.get(draft)).pending == (held,)
    assert await user.due() == []
    stats = user.spool.stats()
    assert (stats.waiting, stats.held) == (0, 1)


async def test_person_who_holds_during_an_attempt_prevails(user: SpoolUser) -> None:
    """Held while its delivery was under way and then deferred: it stays held, with the new answer known."""
    draft = await user.take(b"x")
    await user.spool.change(Query(), Hold("wait for me"))
    assert await user.settle(draft.id, updates=(DEFERRED,)) is None
    (progress,) = (await user.get(draft)).pending
    assert (progress.status, progress.hold_reason) == (Status.HELD, "wait for me")
    assert progress.last_reply == DEFERRED.last_reply


async def test_delivery_counts_though_a_person_held_it_meanwhile(user: SpoolUser) -> None:
    """Held while its delivery was under way, and delivered: it leaves, it is not sent again on release."""
    draft = await user.take(b"x", "a@next.test", "b@next.test")
    await user.spool.change(Query(recipient="a@next.test"), Hold("wait"))
    await user.remove(draft, 0, 1)
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.held) == (0, 0, 0)


async def test_settling_what_a_person_deleted_changes_nothing(user: SpoolUser) -> None:
    """Deleted while its delivery was under way: the outcome finds nothing to change, others are untouched."""
    other, draft = await user.take(b"other"), await user.take(text(500))
    await user.spool.change(Query(queue_ids=(draft.queue_id,)), Delete("unwanted"))
    before = msgspec.structs.replace(user.spool.stats(), commits=0)
    assert await user.settle(draft.id, updates=(DEFERRED,), removed=(0,)) is None
    assert msgspec.structs.replace(user.spool.stats(), commits=0) == before
    assert [m.queue_id for m in await user.due()] == [other.queue_id]


async def test_same_settlement_twice_counts_once(user: SpoolUser) -> None:
    """A repeated outcome changes neither the queue nor its figures."""
    draft = await user.take(text(500), "a@next.test", "b@next.test")
    for _ in range(2):
        await user.remove(draft, 0)
    assert user.spool.stats().waiting == 1
    for _ in range(2):
        await user.remove(draft, 1)
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.size_bytes, stats.segment_live_bytes) == (0, 0, 0, 0)


async def test_two_outcomes_of_one_message_in_a_batch_count_it_once(open_spool: OpenSpool) -> None:
    """Both recipients of 300 messages done at once: the mail beside them in the segment keeps its file."""
    tuning = msgspec.structs.replace(TINY, batch_operations=1000, segment_bytes=10**6)
    user = open_spool(tuning=tuning)
    keep = await user.take(text(400, seed=1))
    drafts = [await user.draft(text(150)) for _ in range(300)]
    to = (await user.get(keep)).envelope
    to = msgspec.structs.replace(to, recipients=to.recipients * 2)
    assert set(await asyncio.gather(*[user.accepting(draft, to) for draft in drafts])) == {None}
    done = [user.settling(Settlement(d.id, removed=(number,))) for number in (0, 1) for d in drafts]
    assert set(await asyncio.wait_for(asyncio.gather(*done), 10)) == {None}
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.size_bytes, stats.segment_live_bytes) == (1, 1, 400, 400)
    await user.close()
    again = open_spool(tuning=tuning)
    (message,) = await again.due()
    assert await again.content(message) == text(400, seed=1)


async def test_what_cannot_be_stored_fails_with_its_author(user: SpoolUser) -> None:
    """A report to an address no index can hold raises in the caller's face; the message stays as it was."""
    draft = await user.take(b"x")
    with pytest.raises(UnicodeEncodeError):
        user.spool.settle(Settlement(draft.id, removed=(0,), new=(report(b"", "a\ud800@x.test"),)))
    assert len(await user.due()) == 1


async def test_after_close_nothing_is_promised(user: SpoolUser) -> None:
    """A settlement that comes after the end is told so, and so is a late message."""
    draft = await user.take(b"x")
    late = user.spool.draft()
    await user.close()
    for failure in (await user.settle(draft.id, removed=(0,)), await user.accept(late, report(b"").envelope)):
        assert failure is not None
        assert failure.kind is FailureKind.CLOSED
