"""A disk that fills, turns read-only or fails: what is refused, what goes on, and that nothing is lost."""

import asyncio
import errno
import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.spool.conftest import OpenSpool
from tests.support.spools import ORIGIN, ROOMY, WITHIN_S, SpoolUser, envelope, report, text

from waystation_relay.mail.message import Progress
from waystation_relay.spool.index import Index
from waystation_relay.spool.layout import SyncFailed
from waystation_relay.spool.operations import Job
from waystation_relay.spool.trouble import Volume, failure_of, fullness
from waystation_relay.spool.values import (
    Delete,
    FailureKind,
    Hold,
    Query,
    RefusalKind,
    Settlement,
    SpoolFailure,
    SpoolLimits,
    SpoolUnavailable,
    Unusable,
)


def sqlite(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("what SQLite says")
    error.sqlite_errorcode = code
    return error


ERRORS: dict[str, tuple[Exception, FailureKind, bool]] = {
    "no space": (OSError(errno.ENOSPC, "No space left on device"), FailureKind.FULL, False),
    "quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureKind.FULL, False),
    "file too large": (OSError(errno.EFBIG, "File too large"), FailureKind.FULL, False),
    "read-only": (OSError(errno.EROFS, "Read-only file system"), FailureKind.READ_ONLY, False),
    "write error": (OSError(errno.EIO, "Input/output error"), FailureKind.IO, False),
    "too many files": (OSError(errno.EMFILE, "Too many open files"), FailureKind.IO, False),
    "fsync": (SyncFailed(Path("x"), OSError(errno.EIO, "Input/output error")), FailureKind.IO, True),
    "fsync, no space": (SyncFailed(Path("x"), OSError(errno.ENOSPC, "full")), FailureKind.IO, True),
    "index full": (sqlite(sqlite3.SQLITE_FULL), FailureKind.FULL, False),
    "index read-only": (sqlite(sqlite3.SQLITE_READONLY), FailureKind.READ_ONLY, False),
    "index read-only, extended": (sqlite(sqlite3.SQLITE_READONLY_DBMOVED), FailureKind.READ_ONLY, False),
    "index write error": (sqlite(sqlite3.SQLITE_IOERR_WRITE), FailureKind.IO, False),
    "index busy": (sqlite(sqlite3.SQLITE_BUSY), FailureKind.IO, False),
    "index fsync": (sqlite(sqlite3.SQLITE_IOERR_FSYNC), FailureKind.IO, True),
    "index damaged": (sqlite(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError), FailureKind.CORRUPT, True),
    "index is none": (sqlite(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError), FailureKind.CORRUPT, True),
    "constraint": (sqlite(sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError), FailureKind.IO, True),
    "a mistake of ours": (KeyError("x"), FailureKind.IO, True),
}


@pytest.mark.parametrize(("error", "kind", "permanent"), ERRORS.values(), ids=ERRORS)
def test_what_an_error_means(error: Exception, kind: FailureKind, permanent: bool) -> None:
    """Which errors may pass, and which mean that nothing can be promised until the restart."""
    failure = failure_of(error)
    assert (failure.kind, failure.permanent) == (kind, permanent)
    assert failure.text


GIB = 2**30
FULLNESS = {
    # queued, limit, percent, volume size, free → refused because of
    "empty": (0, 10 * GIB, 90, 100 * GIB, 50 * GIB, ""),
    "just below the limit": (9 * GIB - 1, 10 * GIB, 90, 100 * GIB, 50 * GIB, ""),
    "at the limit": (9 * GIB, 10 * GIB, 90, 100 * GIB, 50 * GIB, "queued"),
    "volume as full as the queue may be": (0, 10 * GIB, 90, 100 * GIB, GIB - 1, "free"),
    "volume with just enough": (0, 10 * GIB, 90, 100 * GIB, GIB, ""),
    "volume smaller than the limit": (0, 10 * GIB, 90, 2 * GIB, GIB // 4, ""),
    "small volume nearly full": (0, 10 * GIB, 90, 2 * GIB, GIB // 8, "free"),
    "all may be used": (0, 10 * GIB, 100, 2 * GIB, 0, ""),
}


@pytest.mark.parametrize(
    ("queued", "limit", "percent", "size", "free", "because"), FULLNESS.values(), ids=FULLNESS
)
def test_when_the_queue_is_full(
    queued: int, limit: int, percent: int, size: int, free: int, because: str
) -> None:
    """Intake stops at the queue's limit, and while the volume has less room than the limit leaves."""
    refusal = fullness(queued, SpoolLimits(limit, percent), Volume(size, free))
    assert (refusal is not None) is bool(because)
    if refusal is not None:
        assert refusal.kind is RefusalKind.FULL
        assert because in refusal.text


async def until_accepting(user: SpoolUser) -> None:
    async with asyncio.timeout(WITHIN_S):
        while user.spool.refusal() is not None:
            await asyncio.sleep(0.001)


async def test_full_queue_refuses_until_mail_has_left(user: SpoolUser) -> None:
    """``queue.size``: refused when reached, taken again as soon as enough has been delivered."""
    user.spool.set_limits(SpoolLimits(max_bytes=2_000, full_at_percent=50))
    assert user.spool.refusal() is None
    first, _ = await user.take(text(600)), await user.take(text(600))
    refusal = user.spool.refusal()
    assert refusal is not None
    assert refusal.kind is RefusalKind.FULL
    await user.take(b"a message that had begun before is taken all the same")
    await user.remove(first)
    assert user.spool.refusal() is None
    user.spool.set_limits(SpoolLimits(max_bytes=10, full_at_percent=50))
    assert user.spool.refusal() is not None
    user.spool.set_limits(ROOMY)
    assert user.spool.refusal() is None


# Real disks


@pytest.mark.parametrize("size", [90, 450, 1_900, 30_000], ids=["inline", "warm", "segment", "streamed"])
async def test_disk_full(open_spool: OpenSpool, small_disk: Path, size: int) -> None:
    """The disk fills: 452, nothing accepted is lost, deliveries go on, and mail is taken again after."""
    user = open_spool(small_disk / "spool")
    taken: dict[str, bytes] = {}
    failure = None
    for n in range(40_000):
        draft = await user.draft(text(size, n), chunk=5_000)
        failure = await user.accept(draft, envelope())
        if failure is not None:
            break
        taken[draft.queue_id] = text(size, n)
    assert failure is not None
    assert (failure.kind, failure.permanent) == (FailureKind.FULL, False)
    refusal = user.spool.refusal()
    assert refusal is not None
    assert refusal.kind is RefusalKind.FULL
    assert len(taken) > 20
    messages = await user.due()
    assert [m.queue_id for m in messages] == list(taken)
    assert user.named("spool.failing")[0]["kind"] == "full"
    for message in messages[::25]:
        assert await user.content(message) == taken[message.queue_id]
    for message in messages[:-1]:  # delivered: a settlement may have to wait for the one before to free room
        assert await user.settle(message.id, removed=(0,)) is None
    await until_accepting(user)
    await user.take(text(size, 7), chunk=5_000)
    assert user.broken == []
    await user.close()
    user = open_spool(small_disk / "spool")
    assert (await user.due())[0].queue_id == messages[-1].queue_id
    assert await user.content(messages[-1]) == taken[messages[-1].queue_id]


async def test_start_on_a_full_disk_says_so(open_spool: OpenSpool, small_disk: Path) -> None:
    """No room even to open the queue: the error says that the disk is full, and the queue is as it was."""
    user = open_spool(small_disk / "spool")
    await user.take(b"kept")
    await user.close()
    filler = small_disk / "filler"
    room = os.statvfs(small_disk)
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize))
    with pytest.raises(Unusable, match="No space left on device"):
        open_spool(small_disk / "spool")
    filler.unlink()
    (message,) = await open_spool(small_disk / "spool").due()
    assert message.size_bytes == 4


@pytest.mark.parametrize("size", [90, 450, 2_500], ids=["inline", "segment", "streamed"])
async def test_disk_turns_read_only(
    open_spool: OpenSpool, failing_disk: tuple[Path, Callable[[], None]], size: int
) -> None:
    """The kernel gives the disk up: refused as read-only, queued mail is still read, nothing is promised."""
    disk, turn_read_only = failing_disk
    user = open_spool(disk / "spool")
    kept = await user.take(text(size, 1))
    turn_read_only()
    failure = await user.accept(await user.draft(text(size, 2), chunk=1_000), envelope())
    assert failure is not None
    assert failure.kind is FailureKind.READ_ONLY or failure.permanent
    refusal = user.spool.refusal()
    assert refusal is not None
    assert refusal.kind in (RefusalKind.READ_ONLY, RefusalKind.FAILING)
    waiting = user.settling(Settlement(kept.id, removed=(0,)))
    assert await user.content(await user.get(kept)) == text(size, 1)
    with pytest.raises(SpoolUnavailable):
        await user.spool.change(Query(), Hold("x"))
    assert user.spool.can_settle() is False
    await user.close()
    told = await asyncio.wait_for(waiting, WITHIN_S)
    assert told is not None
    with pytest.raises(Unusable, match="Read-only file system"):
        open_spool(disk / "spool")


# A disk that fails for a while (the process's own limit on the size of files)


@contextmanager
def no_growth(limit_bytes: int = 0) -> Iterator[None]:
    """Writing beyond this size fails in this process, in SQLite as well; Python ignores the signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_settlements_are_kept_and_told_in_order(user: SpoolUser) -> None:
    """Outcomes that cannot be written wait, deliveries pause, and all are committed once the disk is back."""
    drafts = [await user.take(text(300, n), "a@next.test", "b@next.test") for n in range(3)]
    order: list[int] = []
    with no_growth():
        waiting = []
        for n, draft in enumerate(drafts):
            later = Progress(1, due=draft.arrival + 60, attempts=1)
            change = Settlement(draft.id, (later,), (0,), (report(text(200, n), "ann@shop.test"),))
            answer = user.settling(change)
            answer.add_done_callback(lambda _, n=n: order.append(n))
            waiting.append(answer)
            assert await user.accept(user.spool.draft(), envelope()) is not None  # a batch of its own
        failure = await user.accept(user.spool.draft(), envelope())
        assert failure is not None
        assert failure.kind is FailureKind.FULL
        assert not any(answer.done() for answer in waiting)
        assert user.spool.can_settle() is False
        assert user.spool.stats().unsettled == 3
        assert user.spool.stats().messages == 3
    assert set(await asyncio.wait_for(asyncio.gather(*waiting), WITHIN_S)) == {None}
    assert order == [0, 1, 2]
    assert user.spool.can_settle() is True
    await until_accepting(user)
    assert user.spool.stats().unsettled == 0
    assert user.spool.stats().messages == 6
    assert user.spool.stats().waiting == 6
    assert [e["kind"] for e in user.named("spool.failing")] == ["full"]


async def test_idle_spool_notices_that_the_disk_is_back(user: SpoolUser, tmp_path: Path) -> None:
    """Nobody sends while intake is refused; the spool itself tries, and leaves nothing of that behind."""
    with no_growth():
        assert await user.accept(user.spool.draft(), envelope()) is not None
        assert user.spool.refusal() is not None
    await until_accepting(user)
    assert not (tmp_path / "spool" / "probe").exists()


async def test_close_on_a_failing_disk_tells_everybody(open_spool: OpenSpool) -> None:
    """Stopped while outcomes wait for the disk: told that they are not kept; the message is due again."""
    user = open_spool()
    draft = await user.take(b"x")
    with no_growth():
        waiting = user.settling(Settlement(draft.id, removed=(0,)))
        await user.close()
        failure = await asyncio.wait_for(waiting, WITHIN_S)
    assert failure is not None
    assert failure.permanent is False
    (message,) = await open_spool().due()
    assert message.id == draft.id


async def test_close_commits_what_waits(open_spool: OpenSpool) -> None:
    """Accepted and stopped in the same moment: all are answered, and in the queue when told 250."""
    user = open_spool()
    drafts = [await user.draft(text(150 * n, n)) for n in range(30)]
    answers = [user.accepting(draft, envelope()) for draft in drafts]
    await user.close()
    assert [await asyncio.wait_for(answer, WITHIN_S) for answer in answers] == [None] * 30
    user = open_spool()
    for n, message in enumerate(await user.due()):
        assert message.id == drafts[n].id
        assert await user.content(message) == text(150 * n, n)


# What does not pass


def failing_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("waystation_relay.spool.layout.os.fdatasync", fail)


@pytest.mark.parametrize("size", [450, 2_500], ids=["segment", "streamed"])
async def test_failed_fsync_ends_all_promises(
    open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """After a failed fsync nobody knows what is on disk: everything is refused until the restart."""
    user = open_spool()
    kept = await user.take(text(size, 1), chunk=400)
    with monkeypatch.context() as patched:
        failing_sync(patched)
        failure = await user.accept(await user.draft(text(size, 2), chunk=400), envelope())
    assert failure is not None
    assert failure.permanent is True
    assert user.broken == [failure]
    assert user.spool.broken == failure
    assert await user.settle(kept.id, removed=(0,)) == failure  # though the disk would take it
    assert await user.accept(user.spool.draft(), envelope()) == failure
    streamed = await user.draft(text(3_000), chunk=400)
    assert await user.accept(streamed, envelope()) == failure
    with pytest.raises(SpoolUnavailable):
        await user.spool.change(Query(), Delete("x"))
    assert user.spool.can_settle() is False
    assert await user.content(await user.get(kept)) == text(size, 1)
    assert user.broken == [failure]
    await user.close()
    user = open_spool()
    (message,) = await user.due()
    assert await user.content(message) == text(size, 1)


async def test_idle_spool_that_breaks_says_so(user: SpoolUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the spool's own attempt that breaks it, while nobody waits: the relay is told at once."""
    with no_growth():
        failing_sync(monkeypatch)
        assert await user.accept(user.spool.draft(), envelope()) is not None
    async with asyncio.timeout(WITHIN_S):
        while not user.broken:
            await asyncio.sleep(0.001)
    assert user.named("spool.broken") == [{"text": user.broken[0].text}]


async def test_file_of_an_uncertain_commit_is_kept(
    open_spool: OpenSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit's own fsync fails: it may be on disk all the same, so the large body's file stays for it."""
    user = open_spool()

    def fail(index: Index) -> None:
        index.db.execute("COMMIT")  # it reaches the disk …
        raise sqlite(sqlite3.SQLITE_IOERR_FSYNC)  # … and SQLite is told otherwise

    draft = await user.draft(text(3_000), chunk=400)
    with monkeypatch.context() as patched:
        patched.setattr(Index, "commit", fail)
        failure = await user.accept(draft, envelope())
    assert failure is not None
    assert failure.permanent is True
    await user.close()
    user = open_spool()
    (message,) = await user.due()
    assert await user.content(message) == text(3_000)


async def test_mistake_of_ours_strands_nobody(user: SpoolUser) -> None:
    """A bug in one operation of a batch: everybody in it is answered, and the relay is told to restart."""
    jobs: list[SpoolFailure | None] = []

    def wrong(index: Index) -> None:
        raise ZeroDivisionError

    drafts = [user.spool.draft() for _ in range(3)]
    user.spool._put(Job(wrong, lambda _, failure: jobs.append(failure)))
    answers = await asyncio.gather(*[user.accepting(draft, envelope()) for draft in drafts])
    assert all(answer is not None and answer.permanent for answer in answers)
    assert len(jobs) == 1
    assert [failure.text for failure in user.broken] == ["ZeroDivisionError: "]


async def test_callbacks_mistake_costs_the_others_nothing(user: SpoolUser) -> None:
    """A bug in one session's callback is reported, and the other sessions of the batch hear their 250."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def wrong(failure: SpoolFailure | None) -> None:
        raise ZeroDivisionError

    drafts = [user.spool.draft() for _ in range(3)]
    answers = [user.accepting(draft, envelope()) for draft in drafts[:1]]
    user.spool.accept(drafts[1], envelope(), ORIGIN, wrong)
    answers += [user.accepting(draft, envelope()) for draft in drafts[2:]]
    assert await asyncio.wait_for(asyncio.gather(*answers), WITHIN_S) == [None, None]
    assert [type(error) for error in reported] == [ZeroDivisionError]
