"""Bodies that are not what was written: noticed, set aside, their mail held, everybody else's delivered."""

import asyncio
import json
import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.spool.conftest import OpenSpool
from tests.support.spools import TINY, SpoolUser, text

from waystation_relay.mail.message import Message, Place, Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.bodies import Damaged, read_record
from waystation_relay.spool.segments import HEADER, header
from waystation_relay.spool.values import Delete, Query, ReadFailure, ReadFailureKind, Release

SIZES = {"in a shared segment": 300, "in a file of its own": TINY.memory_bytes + 700}


def segment_of(spool: Path, message: Message) -> Path:
    assert message.place is not None
    return spool / "segments" / f"{message.place.segment:016x}"


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def flip_body(path: Path, offset: int) -> None:
    flip(path, offset + 150)


def flip_header(path: Path, offset: int) -> None:
    flip(path, offset - HEADER.size + 9)


def cut_short(path: Path, offset: int) -> None:
    os.truncate(path, offset + 100)


def take_away(path: Path, offset: int) -> None:
    path.rename(path.with_name("elsewhere"))


DAMAGE: dict[str, Callable[[Path, int], None]] = {
    "a byte of the body": flip_body,
    "a byte of the header": flip_header,
    "truncated": cut_short,
    "missing": take_away,
}


async def two(user: SpoolUser, size: int) -> tuple[Message, Message]:
    """A message that will be left alone, and the last one written."""
    spared = await user.get(await user.take(text(size, 1)))
    return spared, await user.get(await user.take(text(size, 2), "a@next.test", "b@next.test"))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_damage_found_by_a_reader(
    user: SpoolUser, tmp_path: Path, damage: Callable[[Path, int], None], size: int
) -> None:
    """Found when it is to be sent: nothing wrong goes out, the message is held, its bytes are in corrupt/."""
    spool = tmp_path / "spool"
    spared, hurt = await two(user, size)
    assert hurt.place is not None
    damage(segment_of(spool, hurt), hurt.place.offset)
    failure = await user.read(hurt)
    assert isinstance(failure, ReadFailure)
    assert failure.kind is ReadFailureKind.CORRUPT
    found = await user.get(hurt)
    for progress in found.pending:
        assert progress.status is Status.HELD
        assert progress.last_reason is Reason.STORAGE
        assert progress.hold_reason.startswith("corrupt: ")
    described = json.loads((spool / "corrupt" / f"{hurt.queue_id}.json").read_text())
    assert described["queue_id"] == hurt.queue_id
    assert described["envelope"] == json.loads(msgspec.json.encode(hurt.envelope))
    saved = spool / "corrupt" / f"{hurt.queue_id}.body"
    if damage is take_away:
        assert not saved.exists()
        assert described["body"] is None
    else:
        kept = 100 if damage is cut_short else size
        whole = text(size, 2)
        assert described["body"] == saved.name
        assert sum(a != b for a, b in zip(saved.read_bytes(), whole, strict=False)) <= 1
        assert len(saved.read_bytes()) == kept
    assert (await user.spool.find(Query(status=Status.HELD), 10)) == [found]
    assert user.named("spool.corrupt")[0]["queue_id"] == hurt.queue_id
    if damage is not take_away or size > TINY.memory_bytes:
        assert await user.content(spared) == text(size, 1)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("damage", [cut_short, take_away], ids=["truncated", "missing"])
async def test_damage_found_at_the_start(
    open_spool: OpenSpool, tmp_path: Path, damage: Callable[[Path, int], None], size: int
) -> None:
    """A file that is short or gone is noticed at the start: held before anybody tries to send it."""
    spool = tmp_path / "spool"
    user = open_spool()
    spared, hurt = await two(user, size)
    await user.close()
    assert hurt.place is not None
    damage(segment_of(spool, hurt), hurt.place.offset)
    user = open_spool()
    assert (await user.get(hurt)).pending[0].status is Status.HELD
    assert (spool / "corrupt" / f"{hurt.queue_id}.json").exists()
    due = [m.id for m in await user.due()]
    shares_file = spared.place is not None and spared.place.segment == hurt.place.segment
    assert due == ([] if shares_file and damage is take_away else [spared.id])


async def test_file_that_comes_back_is_used_again(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A file that was missing for a while (a volume half mounted) is read again once its mail is released."""
    spool = tmp_path / "spool"
    user = open_spool()
    message = await user.get(await user.take(text(400)))
    path = segment_of(spool, message)
    path.rename(spool / "aside")
    assert isinstance(await user.read(message), ReadFailure)
    (spool / "aside").rename(path)
    await user.close()
    user = open_spool()
    assert await user.spool.change(Query(), Release()) == [message.id]
    assert await user.content((await user.due())[0]) == text(400)


async def test_released_though_its_body_is_lost(user: SpoolUser, tmp_path: Path) -> None:
    """Released without being repaired, it is held again, and the first description stays as it was."""
    _, hurt = await two(user, 300)
    assert hurt.place is not None
    flip_body(segment_of(tmp_path / "spool", hurt), hurt.place.offset)
    await user.read(hurt)
    described = (tmp_path / "spool" / "corrupt" / f"{hurt.queue_id}.json").read_bytes()
    await user.spool.change(Query(), Release())
    assert isinstance(await user.read(await user.get(hurt)), ReadFailure)
    assert (await user.get(hurt)).pending[0].status is Status.HELD
    assert (tmp_path / "spool" / "corrupt" / f"{hurt.queue_id}.json").read_bytes() == described


async def test_deleted_while_it_is_being_set_aside(user: SpoolUser, tmp_path: Path) -> None:
    """A person deletes a message in the moment its damage is found: no trouble for the others."""
    _, hurt = await two(user, 300)
    assert hurt.place is not None
    flip_body(segment_of(tmp_path / "spool", hurt), hurt.place.offset)
    deleting = asyncio.ensure_future(user.spool.change(Query(queue_ids=(hurt.queue_id,)), Delete("gone")))
    for _ in range(20):  # whichever order the writer sees them in
        assert isinstance(await user.read(hurt), ReadFailure)
    await deleting
    assert user.broken == []
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.held) == (1, 1, 0)


async def test_settled_and_condemned_in_one_batch(user: SpoolUser, tmp_path: Path) -> None:
    """Removed by the very batch that condemns it: what is gone needs no holding, and nothing breaks."""
    _, hurt = await two(user, 300)
    assert hurt.place is not None
    flip_body(segment_of(tmp_path / "spool", hurt), hurt.place.offset)
    for _ in range(30):
        other = await user.get(await user.take(text(300)))
        flip_body(segment_of(tmp_path / "spool", other), other.place.offset if other.place else 0)
        reads = [asyncio.ensure_future(user.read(other)) for _ in range(3)]
        await asyncio.gather(user.remove(other), *reads)
    assert user.broken == []
    assert user.spool.stats().messages == 2


async def test_damaged_body_in_the_index(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A small body lives in the index: a flipped bit there is noticed like any other."""
    user = open_spool()
    spared = await user.take(b"A" * 90)
    hurt = await user.take(b"B" * 90)
    await user.close()
    index = tmp_path / "spool" / "index"
    flip(index, index.read_bytes().index(b"B" * 90) + 40)
    user = open_spool()
    assert [await user.content(await user.get(spared))] == [b"A" * 90]
    failure = await user.read(await user.get(hurt))
    assert isinstance(failure, ReadFailure)
    assert failure.kind is ReadFailureKind.CORRUPT
    assert (await user.get(hurt)).pending[0].hold_reason == "corrupt: checksum mismatch in the index"
    saved = (tmp_path / "spool" / "corrupt" / f"{hurt.queue_id}.body").read_bytes()
    assert sum(byte != ord("B") for byte in saved) == 1
    assert user.spool.stats().held == 1


async def test_index_that_is_wrong_about_the_place(open_spool: OpenSpool, tmp_path: Path) -> None:
    """The body is whole, the index points beside it: held, and the body's file is kept for who mends it."""
    spool = tmp_path / "spool"
    user = open_spool()
    message = await user.get(await user.take(text(700)))
    await user.close()
    path = segment_of(spool, message)
    with closing(sqlite3.connect(spool / "index")) as db:
        db.execute("UPDATE messages SET offset = offset - 8")
        db.commit()
    user = open_spool()
    failure = await user.read(await user.get(message))
    assert isinstance(failure, ReadFailure)
    assert failure.kind is ReadFailureKind.CORRUPT
    await user.close()
    assert text(700) in path.read_bytes()
    with closing(sqlite3.connect(spool / "index")) as db:
        db.execute("UPDATE messages SET offset = offset + 8")
        db.commit()
    user = open_spool()
    assert await user.spool.change(Query(), Release()) == [message.id]
    assert await user.content(await user.get(message)) == text(700)


@given(st.integers(0, HEADER.size + 499), st.integers(1, 255))
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_changed_byte_is_noticed(tmp_path: Path, position: int, change: int) -> None:
    """Whichever byte of a record is hit, header or body, it is never taken for mail."""
    body = text(500)
    place = Place(1, HEADER.size, len(body), zlib.crc32(body))
    path = tmp_path / "segment"
    record = bytearray(header(7, place.crc32, place.length) + body)
    path.write_bytes(record)
    assert read_record(path, 7, place) == body
    record[position] ^= change
    path.write_bytes(record)
    with pytest.raises(Damaged):
        read_record(path, 7, place)
