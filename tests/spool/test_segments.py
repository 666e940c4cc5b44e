"""Files of bodies: shared, recycled, compacted; right to the byte while everything moves."""

import asyncio
import random
import sqlite3
from pathlib import Path

import msgspec
import pytest
from tests.spool.conftest import OpenSpool
from tests.support.spools import TINY, WITHIN_S, SpoolUser, envelope, text

from waystation_relay.mail.message import Message, Place, Status
from waystation_relay.spool.bodies import place_of
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.segments import HEADER
from waystation_relay.spool.values import ReadFailure

BODY = 700  # five fill a segment of TINY


def files(spool: Path) -> set[str]:
    return {path.name for path in (spool / "segments").iterdir()}


async def quiet(user: SpoolUser, sealed_below: int) -> None:
    """Until compaction has nothing to do: at most so many bytes on disk for what is live."""
    async with asyncio.timeout(WITHIN_S):
        while user.spool.stats().segment_bytes > sealed_below:
            await user.settle(0)


async def test_segment_without_live_mail_gives_its_room_back(user: SpoolUser, tmp_path: Path) -> None:
    """Delivered mail leaves nothing behind, but the file in use and two that are kept to be overwritten."""
    drafts = [await user.take(text(BODY, n)) for n in range(60)]
    assert user.spool.stats().segments == 10
    for draft in drafts:
        await user.remove(draft)
    stats = user.spool.stats()
    assert (stats.segments, stats.segment_live_bytes) == (1, 0)
    assert len(files(tmp_path / "spool")) == 1 + TINY.spare_segments
    await user.close()
    assert files(tmp_path / "spool") == set()


async def test_recycled_segment_holds_its_new_mail_only(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A file that is overwritten keeps old bytes behind the new; none of them is ever taken for mail."""
    user = open_spool()
    for n in range(30):
        await user.remove(await user.take(text(BODY, n)))
    kept = [await user.take(text(BODY + n, 100 + n)) for n in range(3)]
    place = (await user.get(kept[0])).place
    assert place is not None
    path = tmp_path / "spool" / "segments" / f"{place.segment:016x}"
    assert path.stat().st_size > sum(BODY + n + HEADER.size for n in range(3))  # it was recycled
    for _ in range(2):
        for n, draft in enumerate(kept):
            assert await user.content(await user.get(draft)) == text(BODY + n, 100 + n)
        await user.close()
        user = open_spool()


async def test_mostly_dead_segments_are_compacted(open_spool: OpenSpool, tmp_path: Path) -> None:
    """One mail in five stays for days: it is copied out, and the room of the other four is free again."""
    user = open_spool()
    drafts = [await user.take(text(BODY, n)) for n in range(60)]
    for n, draft in enumerate(drafts):
        if n % 12:
            await user.remove(draft)
    await quiet(user, sealed_below=3 * TINY.segment_bytes)
    left = drafts[::12]
    assert user.spool.stats().segment_live_bytes == len(left) * BODY
    for n, draft in enumerate(left):
        assert await user.content(await user.get(draft)) == text(BODY, n * 12)
    await user.close()
    user = open_spool()
    assert [m.id for m in await user.due()] == [d.id for d in left]
    for n, draft in enumerate(left):
        assert await user.content(await user.get(draft)) == text(BODY, n * 12)
    assert user.named("spool.corrupt") == []


async def test_reading_goes_on_while_everything_moves(user: SpoolUser) -> None:
    """Mail is read while its segments are compacted, retired and overwritten: always the right bytes."""
    dice = random.Random(7)
    live: dict[int, tuple[Draft, bytes]] = {}
    done = asyncio.Event()
    reads = 0

    async def churn() -> None:
        for n in range(250):
            content = text(dice.choice((150, BODY, 1_500, 2_600)), n)
            draft = await user.take(content)
            live[n] = draft, content
            while len(live) > 12:
                gone, _ = live.pop(dice.choice(list(live)))
                await user.remove(gone)
        done.set()

    async def look() -> None:
        nonlocal reads
        while not done.is_set():
            for n, (draft, content) in list(live.items()):
                message = await user.spool.get(draft.queue_id)
                if message is None or n not in live:
                    continue
                found = await user.read(message)
                if isinstance(found, ReadFailure):
                    assert found.kind.value == "gone", found
                    continue
                whole = found if isinstance(found, bytes) else found.read(0, found.size_bytes)
                if not isinstance(found, bytes):
                    found.close()
                assert whole == content
                reads += 1
            await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await asyncio.gather(churn(), look(), look())
    assert reads > 100
    assert user.named("spool.corrupt") == []
    stats = user.spool.stats()
    assert stats.size_bytes == sum(len(content) for _, content in live.values())


async def test_compaction_names_damage(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A damaged body found while its segment is compacted is set aside; its neighbours move on."""
    user = open_spool(tuning=msgspec.structs.replace(TINY, spare_segments=0))
    drafts = [await user.take(text(150, n)) for n in range(30)]
    hurt, spared = drafts[3], drafts[11]
    place = (await user.get(hurt)).place
    assert place is not None
    assert (await user.get(spared)).place.segment == place.segment  # type: ignore[union-attr] # both in segments
    path = tmp_path / "spool" / "segments" / f"{place.segment:016x}"
    content = bytearray(path.read_bytes())
    content[place.offset + 5] ^= 1
    path.write_bytes(content)
    for draft in drafts:
        if draft not in (hurt, spared):
            await user.remove(draft)
    async with asyncio.timeout(WITHIN_S):
        while (await user.get(hurt)).pending[0].status is not Status.HELD or path.exists():
            await user.settle(0)
    assert await user.content(await user.get(spared)) == text(150, 11)
    assert (tmp_path / "spool" / "corrupt" / f"{hurt.queue_id}.body").exists()
    stats = user.spool.stats()
    assert (stats.waiting, stats.held, stats.segment_live_bytes) == (1, 1, 150)


async def test_compaction_leaves_what_the_disk_will_not_give(
    user: SpoolUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector under a live mail stops neither intake nor compaction: the segment stays as it is."""
    drafts = [await user.take(text(150, n)) for n in range(30)]
    place = (await user.get(drafts[0])).place
    assert place is not None

    def failing(path: Path, message_id: int, where: object) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("waystation_relay.spool.compaction.read_record", failing)
        for draft in drafts[1:]:
            await user.remove(draft)
        await user.take(b"intake goes on")
        await user.settle(0)
        assert user.spool.refusal() is None
        assert user.named("spool.failing") == []
    assert await user.content(await user.get(drafts[0])) == text(150, 0)
    await user.remove(drafts[0])
    assert (await user.spool.get(drafts[0].queue_id)) is None


async def test_compaction_of_an_earlier_runs_segments(open_spool: OpenSpool, tmp_path: Path) -> None:
    """Segments left mostly dead by an earlier run are compacted after the start, without being asked."""
    lazy = msgspec.structs.replace(TINY, compact_below_percent=0)
    user = open_spool(tuning=lazy)
    drafts = [await user.take(text(BODY, n)) for n in range(20)]
    for draft in drafts[1:]:
        await user.remove(draft)
    await user.close()
    (before,) = files(tmp_path / "spool")
    user = open_spool()
    async with asyncio.timeout(WITHIN_S):
        while before in files(tmp_path / "spool"):
            await asyncio.sleep(0.001)
    (message,) = await user.due()
    assert isinstance(message, Message)
    assert await user.content(message) == text(BODY, 0)


async def test_many_readers_do_not_make_the_log_grow(open_spool: OpenSpool, tmp_path: Path) -> None:
    """Under steady load with lookups going on, SQLite's log is checkpointed and stays small."""
    user = open_spool()
    for n in range(300):
        draft = await user.take(text(90, n))
        await user.due()
        await user.remove(draft)
    # TINY asks for a checkpoint after 20 pages; 300 rounds of two commits write far more.
    assert (tmp_path / "spool" / "index-wal").stat().st_size < 100 * 4096


async def test_index_gives_its_room_back(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A thousand small mails have come and gone: the index's file shrinks again, and keeps what stayed."""
    tuning = msgspec.structs.replace(
        TINY, inline_bytes=16_384, memory_bytes=16_384, shrink_free_bytes=400_000
    )
    user = open_spool(tuning=tuning)
    stays = await user.take(text(9_000, 1))
    drafts = [await user.take(text(9_000, n)) for n in range(100)]
    index = tmp_path / "spool" / "index"
    async with asyncio.timeout(WITHIN_S):
        while index.stat().st_size < 900_000:
            await user.settle(0)
        for draft in drafts:
            await user.remove(draft)
        while index.stat().st_size > 400_000:
            await user.settle(0)
    assert await user.content(await user.get(stays)) == text(9_000, 1)
    await user.take(text(9_000, 2))
    await user.close()
    user = open_spool(tuning=tuning)
    assert [await user.content(m) for m in await user.due()] == [text(9_000, 1), text(9_000, 2)]
    assert user.events == []


async def test_body_that_moved_while_it_was_looked_up(
    user: SpoolUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compacted between the look into the index and that into the file: looked up again, not damage."""
    message = await user.get(await user.take(text(300)))
    assert message.place is not None
    places = [msgspec.structs.replace(message.place, segment=4711)]

    def stale_first(db: sqlite3.Connection, message_id: int) -> Place:
        return places.pop() if places else place_of(db, message_id)

    monkeypatch.setattr("waystation_relay.spool.bodies.place_of", stale_first)
    assert await user.content(message) == text(300)
    assert places == []
    assert user.named("spool.corrupt") == []


async def test_failed_batch_is_not_written_over(user: SpoolUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failed write may have left in a segment keeps its place: the next body goes behind it."""
    first = await user.get(await user.take(text(300, 1)))

    def full(fd: int, parts: object, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("waystation_relay.spool.layout.os.pwritev", full)
        assert await user.accept(await user.draft(text(300, 2)), envelope()) is not None
    async with asyncio.timeout(WITHIN_S):
        while user.spool.refusal() is not None:
            await asyncio.sleep(0.001)
    third = await user.get(await user.take(text(300, 3)))
    assert first.place is not None
    assert third.place is not None
    if third.place.segment == first.place.segment:
        assert third.place.offset >= first.place.offset + 300 + HEADER.size + 300 + HEADER.size
    assert [await user.content(m) for m in (first, third)] == [text(300, 1), text(300, 3)]
