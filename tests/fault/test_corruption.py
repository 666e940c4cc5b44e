"""Bytes that are not what was written: noticed, set aside, the rest delivered; never taken for other mail."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.fault.corruption import originals_of
from tests.fault.lab import Laboratory
from tests.support.spools import TINY, SpoolUser, text

from waystation_relay.mail.message import Status
from waystation_relay.spool import wal
from waystation_relay.spool.header import PAGE_BYTES
from waystation_relay.spool.values import Query

ACCIDENTS = {
    "one accident anywhere": {"accidents": 50},
    "one in the index's log": {"accidents": 25, "only": "index-wal"},
    "one in the index": {"accidents": 25, "only": "index"},
    "three at once": {"accidents": 25, "at_once": 3},
}


@pytest.mark.parametrize("accidents", ACCIDENTS.values(), ids=ACCIDENTS)
def test_damage_anywhere(laboratory: Laboratory, seed: int, accidents: dict[str, object]) -> None:
    """Bytes flipped, zeroed, misplaced, cut off, files gone: the spool opens or says why not, no mail is
    changed, none disappears without a trace, and what was not hit is as it was."""
    said = laboratory.experiment("tests.fault.corruption:fuzz", seed=seed, **accidents)
    print(f"seed {seed}: {said}")
    assert said["wrong"] == []
    assert said["intact_percent"] > 50
    assert said["events"]


MESSAGES = 12


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Path]:
    """A spool of some messages, half of them in the index's log and not yet in the index, as after a kill."""
    user = SpoolUser(tmp_path / "live", tuning=msgspec.structs.replace(TINY, checkpoint_pages=10**6))
    for number in range(MESSAGES):
        await user.take(text(90 if number % 3 else 700, number))
        user.clock.advance(1)
        if number == MESSAGES // 2:
            user.spool._committer.checkpoint()
    shutil.copytree(tmp_path / "live", tmp_path / "spool", ignore=shutil.ignore_patterns("index-shm"))
    yield tmp_path / "spool"
    await user.close()


async def found_after(spool: Path) -> tuple[int, int, set[str]]:
    """How many messages are whole, how many of them due, and what was said."""
    user = SpoolUser(spool, tuning=TINY)
    try:
        whole = [await user.content(m) for m in await user.spool.find(Query(), 100)]
        assert len(set(whole)) == len(whole)
        waiting = [m for m in await user.due() if all(p.status is Status.WAITING for p in m.pending)]
        return len(whole), len(waiting), {name for name, _ in user.events}
    finally:
        await user.close()


async def test_damage_in_the_middle_of_the_log_costs_no_later_commit(spool: Path) -> None:
    """SQLite passes over all that follows damage in its log; those commits were promised, and are there."""
    raw = bytearray((spool / "index-wal").read_bytes())
    commits = [
        number
        for number, start in enumerate(range(wal.HEADER.size, len(raw), wal.FRAME_BYTES))
        if wal.FRAME.unpack_from(raw, start)[1]
    ]
    assert len(commits) > 4
    assert not wal.is_damaged(bytes(raw))
    raw[wal.HEADER.size + commits[1] * wal.FRAME_BYTES + wal.FRAME.size - 1] ^= 1  # of its checksum
    (spool / "index-wal").write_bytes(raw)
    whole, due, said = await found_after(spool)
    assert (whole, due) == (MESSAGES, MESSAGES)
    assert said == {"spool.index_damaged", "spool.index_salvaged"}


async def test_a_log_that_a_crash_cut_off_is_no_damage(spool: Path) -> None:
    """Wherever the log may end, within a frame as well: what is whole counts, and nobody speaks of damage."""
    raw = (spool / "index-wal").read_bytes()
    for frames in range(0, len(raw) // wal.FRAME_BYTES, 3):
        for more in (0, 700, wal.FRAME_BYTES - 512):
            end = wal.HEADER.size + frames * wal.FRAME_BYTES + more
            torn = raw[:end] + bytes(len(raw) - end)
            assert not wal.is_damaged(torn), (frames, more)
            whole = list(wal.pages(raw[: wal.HEADER.size + frames * wal.FRAME_BYTES]))
            assert list(wal.pages(torn))[: len(whole)] == whole


async def test_an_index_that_ends_before_its_last_table_is_read_as_far_as_it_goes(spool: Path) -> None:
    """SQLite reads nothing of such a file; what is in it is whole, and is found."""
    before = await originals_of(spool)
    raw = (spool / "index").read_bytes()
    (spool / "index").write_bytes(raw[: 6 * PAGE_BYTES])
    whole, due, said = await found_after(spool)
    assert (whole, due) == (len(before), len(before))
    assert "spool.index_salvaged" in said


@pytest.mark.parametrize("at", [6 * PAGE_BYTES + 1400, 7 * PAGE_BYTES - 100], ids=["most", "a little"])
async def test_a_damaged_list_of_due_times_is_noticed(spool: Path, at: int) -> None:
    """The messages are whole, but would never be due: found at the start, and made anew."""
    before = await originals_of(spool)
    raw = bytearray((spool / "index").read_bytes())
    raw[at : 7 * PAGE_BYTES] = bytes(7 * PAGE_BYTES - at)
    (spool / "index").write_bytes(raw)
    whole, due, said = await found_after(spool)
    assert (whole, due) == (len(before), len(before))
    assert "spool.index_salvaged" in said
