"""An index that is not what was written: what can be read comes back, what cannot is kept for a person."""

import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.spool.conftest import OpenSpool
from tests.support.spools import ORIGIN, TINY, WITHIN_S, SpoolUser, envelope, text

from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.reply import reply
from waystation_relay.spool import header, rows
from waystation_relay.spool.mend import ENVELOPE_LOST, PROGRESS_LOST
from waystation_relay.spool.values import (
    FailureKind,
    Query,
    ReadFailure,
    ReadFailureKind,
    SpoolError,
    SpoolUnavailable,
)

# Hundreds of spools are opened and closed below; in memory, syncing costs nothing.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
USER_VERSION = {60, 61, 62, 63}  # says which Waystation wrote the file: a newer one is refused
SIZES = (0, 60, 90, 300, 450, TINY.memory_bytes + 500)


async def fill(user: SpoolUser, rounds: int = 2) -> dict[str, tuple[str, bytes]]:
    """Queue id → (recipient, content): every kind of body, some deferred with an answer."""
    written = {}
    for n in range(rounds):
        for size in SIZES:
            content, recipient = text(size, n), f"bob{n}.{size}@next.test"
            draft = await user.take(content, recipient)
            written[draft.queue_id] = (recipient, content)
            if size in (60, 300):
                answer = reply(451, "4.2.1", "try again")
                update = Progress(0, due=draft.arrival + 60, attempts=1, last_reply=answer)
                assert await user.settle(draft.id, updates=(update,)) is None
    return written


async def settled_down(user: SpoolUser) -> list[Message]:
    """All messages, once those whose rows do not check out have been mended."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                found = await user.spool.find(Query(), 1000)
            except SpoolUnavailable:
                found = []
            if user.broken or len(found) == user.spool.stats().messages:
                await user.settle(0)  # what mended them has been counted by then
                return found


def in_index(spool: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Changes the index behind a closed spool's back."""
    with closing(sqlite3.connect(spool / "index")) as db:
        found = db.execute(sql, values).fetchall()
        db.commit()
        return found


# Rows that do not check out


def flipped(blob: bytes, position: int) -> bytes:
    return blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]


async def test_damaged_envelope_is_never_believed(open_spool: OpenSpool, tmp_path: Path) -> None:
    """One flipped bit in an address: the message is held with what else is known, not sent to a stranger."""
    user = open_spool()
    hurt = await user.take(b"hurt", "Bob@Next.test", "carl@next.test", sender="Ann@Shop.test")
    spared = await user.take(b"spared")
    await user.remove(hurt, 0)
    await user.close()
    spool = tmp_path / "spool"
    ((blob,),) = in_index(spool, "SELECT sealed FROM messages WHERE id = ?", hurt.id)
    assert isinstance(blob, bytes)
    damaged = flipped(blob, blob.index(b"carl"))
    in_index(spool, "UPDATE messages SET sealed = ? WHERE id = ?", damaged, hurt.id)
    user = open_spool()
    assert [m.id for m in await user.due()] == [spared.id]
    (held,) = [m for m in await settled_down(user) if m.id == hurt.id]
    assert [(p.number, p.status, p.hold_reason) for p in held.pending] == [(1, Status.HELD, ENVELOPE_LOST)]
    assert held.envelope == envelope("", "carl@next.test", sender="ann@shop.test")
    assert await user.content(held) == b"hurt"
    kept = json.loads((spool / "corrupt" / f"{hurt.queue_id}.rows.json").read_text())
    assert kept["queue_id"] == hurt.queue_id
    assert user.named("spool.corrupt") == [{"queue_id": hurt.queue_id, "text": "envelope: checksum mismatch"}]
    stats = user.spool.stats()
    assert (stats.waiting, stats.held) == (1, 1)


async def test_damaged_progress_costs_its_recipient_alone(open_spool: OpenSpool, tmp_path: Path) -> None:
    """One recipient's history is unreadable: that one is held, the others go on where they were."""
    user = open_spool()
    draft = await user.take(b"x", "a@next.test", "b@next.test", "c@next.test")
    due = draft.arrival + 60
    updates = tuple(Progress(n, due=due, attempts=4) for n in range(3))
    assert await user.settle(draft.id, updates=updates) is None
    await user.close()
    spool = tmp_path / "spool"
    ((blob,),) = in_index(spool, "SELECT details FROM recipients WHERE number = 1")
    assert isinstance(blob, bytes)
    in_index(spool, "UPDATE recipients SET details = ? WHERE number = 1", flipped(blob, len(blob) - 1))
    user = open_spool()
    assert await user.due() == []
    (found,) = await settled_down(user)
    assert [(p.number, p.status, p.attempts, p.hold_reason) for p in found.pending] == [
        (0, Status.WAITING, 4, ""),
        (1, Status.HELD, 0, PROGRESS_LOST),
        (2, Status.WAITING, 4, ""),
    ]
    assert [m.id for m in await user.due()] == [draft.id]
    stats = user.spool.stats()
    assert (stats.waiting, stats.held) == (2, 1)


# What was done to the second row of a message to a (delivered), b and c, and who comes back held; c waits.
ROWS: dict[str, tuple[str, set[int]]] = {
    "unknown status": ("UPDATE recipients SET status = 7 WHERE number = 1", {1}),
    "unknown reason": ("UPDATE recipients SET reason = 'xyz' WHERE number = 1", {1}),
    "reason is no text": ("UPDATE recipients SET reason = x'ff' WHERE number = 1", {1}),
    "reason is no UTF-8": (
        "UPDATE recipients SET reason = CAST(x'ff' AS TEXT) WHERE number = 1",
        {1},
    ),
    "due is no number": ("UPDATE recipients SET due = 'x' WHERE number = 1", {1}),
    "number beyond the envelope": ("UPDATE recipients SET number = 9 WHERE number = 1", {0, 1}),
    "number of somebody else": ("UPDATE recipients SET number = 0 WHERE number = 1", {0, 1}),
    "address of nobody": ("UPDATE recipients SET address = 'x@next.test' WHERE number = 1", {0, 1}),
    "all recipients gone": ("DELETE FROM recipients", {0, 1, 2}),
    "recipients of another message": ("UPDATE recipients SET message_id = 5", {0, 1, 2}),
}


@pytest.mark.parametrize(("sql", "expected"), ROWS.values(), ids=ROWS)
async def test_damaged_recipient_rows(
    open_spool: OpenSpool, tmp_path: Path, sql: str, expected: set[int]
) -> None:
    """Whatever is wrong with a recipient's row, nobody is lost: whole rows stay, the others are held."""
    user = open_spool()
    draft = await user.take(b"x", "a@next.test", "b@next.test", "c@next.test")
    await user.remove(draft, 0)
    await user.close()
    in_index(tmp_path / "spool", sql)
    user = open_spool()
    await user.due()
    found = [m for m in await settled_down(user) if m.id == draft.id]
    pending = found[0].pending
    assert {p.number for p in pending if p.status is Status.HELD} == expected
    assert {p.number for p in pending if p.status is Status.WAITING} == {2} - expected
    stats = user.spool.stats()
    assert (stats.waiting, stats.held) == (len({2} - expected), len(expected))
    assert user.broken == []


# The index as a whole


async def test_envelope_without_a_row_is_described(open_spool: OpenSpool, tmp_path: Path) -> None:
    """Recipients and body are left, the message's row is not: they are written down, the queue goes on."""
    user = open_spool()
    hurt, spared = await user.take(b"hurt"), await user.take(b"spared")
    await user.close()
    spool = tmp_path / "spool"
    in_index(spool, "DELETE FROM messages WHERE id = ?", hurt.id)
    user = open_spool()
    assert [m.id for m in await user.due()] == [spared.id]
    kept = json.loads((spool / "corrupt" / f"{hurt.queue_id}.json").read_text())
    assert kept["recipients"] == ["bob@next.test"]
    assert (spool / "corrupt" / f"{hurt.queue_id}.body").read_bytes() == b"hurt"
    assert (await user.take(b"new")).id > spared.id


def garbage(index: Path) -> None:
    index.write_bytes(os.urandom(20_000))


def emptied(index: Path) -> None:
    index.write_bytes(b"")


def removed(index: Path) -> None:
    index.unlink()


def header_lost(index: Path) -> None:
    with index.open("r+b") as file:
        file.write(bytes(100))


def truncated(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


@pytest.mark.parametrize("damage", [garbage, emptied, removed, header_lost, truncated])
async def test_lost_index_loses_no_body(
    open_spool: OpenSpool, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """However much of the index is lost, files of bodies are kept in corrupt/ and new mail is taken."""
    user = open_spool()
    written = await fill(user)
    await user.close()
    spool = tmp_path / "spool"
    before = {path.read_bytes() for path in (spool / "segments").iterdir()}
    damage(spool / "index")
    user = open_spool()
    assert {e for e, _ in user.events} & {"spool.index_damaged", "spool.index_missing"}
    kept = {p.read_bytes() for folder in ("segments", "corrupt") for p in (spool / folder).iterdir()}
    assert before <= kept
    for message in await settled_down(user):
        assert message.envelope.recipients[0].address == written[message.queue_id][0]
    draft = await user.take(text(300, 5))
    await user.close()
    user = open_spool()
    assert await user.content(await user.get(draft)) == text(300, 5)
    assert {path.read_bytes() for path in (spool / "corrupt").iterdir()} >= before - {
        path.read_bytes() for path in (spool / "segments").iterdir()
    }


async def test_second_accident_keeps_what_the_first_left(open_spool: OpenSpool, tmp_path: Path) -> None:
    """Losing the index twice does not write over the files kept the first time, though numbers start anew."""
    spool = tmp_path / "spool"
    for n in (1, 2, 3):
        await open_spool().close()  # with nothing left to count on, numbers begin again
        user = open_spool()
        await user.take(text(300, n))
        await user.close()
        (spool / "index").unlink()
    await open_spool().close()
    kept = [path.read_bytes() for path in (spool / "corrupt").iterdir()]
    assert all(any(text(300, n) in content for content in kept) for n in (1, 2, 3))


async def test_wal_without_its_index_is_kept(open_spool: OpenSpool, tmp_path: Path) -> None:
    """SQLite deletes a WAL whose index is gone; here the newest mail may be in it, so it is kept."""
    user = open_spool()
    await user.take(b"y" * 90)
    spool = tmp_path / "spool"
    copy = tmp_path / "copy"
    shutil.copytree(spool, copy)
    assert b"y" * 90 in (copy / "index-wal").read_bytes()
    (copy / "index").unlink()
    user = open_spool(copy)
    assert [e for e, _ in user.events] == ["spool.index_missing"]
    (kept,) = (copy / "corrupt").iterdir()
    assert b"y" * 90 in kept.read_bytes()


async def test_foreign_files_among_the_segments_are_left_alone(open_spool: OpenSpool, tmp_path: Path) -> None:
    """What does not bear a segment's name is somebody else's: recovery removes its own files only."""
    await open_spool().close()
    segments = tmp_path / "spool" / "segments"
    (segments / "notes.txt").write_text("mine")
    (segments / "00000000000000ff").write_bytes(b"a segment that nothing refers to")
    (segments / "000000000000000").write_text("one digit short")
    await open_spool().close()
    assert {path.name for path in segments.iterdir()} == {"notes.txt", "000000000000000"}


async def test_damage_met_while_running_is_salvaged_at_the_next_start(
    open_spool: OpenSpool, tmp_path: Path
) -> None:
    """The index turns out damaged in the middle of work: nothing more is promised, the restart mends it."""
    user = open_spool()
    written = await fill(user)
    await user.close()
    user = open_spool()
    spool = tmp_path / "spool"
    ((root,),) = in_index(spool, "SELECT rootpage FROM sqlite_master WHERE name = 'recipients_due'")
    assert isinstance(root, int)
    with (spool / "index").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert await user.due() == []
    late = user.spool.draft()
    failure = await user.accept(late, envelope())
    assert failure is not None
    assert (failure.kind, failure.permanent) == (FailureKind.CORRUPT, True)
    assert user.broken == [failure]
    assert user.spool.refusal() is not None
    assert user.spool.can_settle() is False
    await user.close()
    user = open_spool()
    assert user.named("spool.index_salvaged") == [
        {"damaged": "index-damaged-1", "messages": len(written), "lost": 0}
    ]
    assert {m.queue_id for m in await user.due()} == set(written)
    for message in await user.due():
        assert await user.content(message) == written[message.queue_id][1]
    await user.take(b"mail is taken again")


async def test_damaged_list_of_tables_costs_nothing(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A name is overwritten in SQLite's list of tables: they are where they always are, all mail is back."""
    user = open_spool()
    written = await fill(user)
    await user.close()
    index = tmp_path / "spool" / "index"
    content = index.read_bytes()
    assert b"CREATE TABLE messages" in content
    index.write_bytes(content.replace(b"CREATE TABLE messages", b"CREATE TABLE massages", 1))
    user = open_spool()
    assert user.named("spool.index_salvaged")[0]["messages"] == len(written)
    assert {m.queue_id: await user.content(m) for m in await user.due()} == {
        queue_id: content for queue_id, (_, content) in written.items()
    }


def test_envelope_of_another_message_is_none(tmp_path: Path) -> None:
    """Two rows swapped by a damaged page: each envelope knows whose it is."""
    blob = rows.seal(8, envelope("bob@next.test"), ORIGIN)
    assert rows.unseal(8, blob).envelope == envelope("bob@next.test")
    with pytest.raises(rows.Unreadable):
        rows.unseal(7, blob)


# Any byte


@pytest.fixture(scope="module")
def sample() -> "tuple[Path, dict[str, tuple[str, bytes]]]":
    """A closed spool with mail of every kind, and what was written to it."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def make() -> dict[str, tuple[str, bytes]]:
            user = SpoolUser(folder / "spool")
            written = await fill(user, rounds=3)
            await user.close()
            return written

        yield folder / "spool", runner.run(make())
    shutil.rmtree(folder)


async def told_broken(user: SpoolUser) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not user.broken:
            await asyncio.sleep(0)


async def open_after(spool: Path) -> tuple[list[Message], dict[str, bytes | None]]:
    """What a damaged spool gives: its messages, and each one's body (None: it says it is corrupt)."""
    for _ in range(3):
        user = SpoolUser(spool)
        try:
            found = await settled_down(user)
            bodies: dict[str, bytes | None] = {}
            for message in found:
                body = await user.read(message)
                if isinstance(body, ReadFailure):
                    bodies[message.queue_id] = None
                    if body.kind is ReadFailureKind.IO:  # the index itself: the relay is told to restart
                        await told_broken(user)
                        break
                else:
                    bodies[message.queue_id] = await user.content(message)
            if not user.broken:
                await user.due()
                failure = await user.accept(await user.draft(b"new mail"), envelope("new@next.test"))
                assert bool(failure) is bool(user.broken)
            if not user.broken:
                return found, bodies
        finally:
            await user.close()
    raise AssertionError("a restart does not mend it")


@given(data=st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_changed_byte_of_the_index(
    sample: tuple[Path, dict[str, tuple[str, bytes]]], data: st.DataObject
) -> None:
    """Hit anywhere, the index gives no wrong mail, loses none without a trace, and the relay goes on."""
    original, written = sample
    content = bytearray((original / "index").read_bytes())
    used = [n for n, byte in enumerate(content) if byte]
    position = data.draw(st.sampled_from(used))
    content[position] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        spool = Path(folder) / "spool"
        shutil.copytree(original, spool)
        (spool / "index").write_bytes(content)
        try:
            found, bodies = asyncio.run(asyncio.wait_for(open_after(spool), WITHIN_S))
        except SpoolError as error:
            assert "format" in str(error)  # noqa: PT017 the one byte that says "a newer version wrote this"
            assert (spool / "index").read_bytes() == content
            return
        names = " ".join(path.name for path in (spool / "corrupt").iterdir())
        kept = b"".join(path.read_bytes() for path in (spool / "corrupt").iterdir())
        for queue_id, (_, body) in written.items():
            if queue_id in bodies:
                assert bodies[queue_id] in (body, None)
            else:
                assert queue_id in names or body in kept
        for message in found:
            if message.queue_id in written:
                assert message.envelope.recipients[0].address == written[message.queue_id][0]


@given(position=st.sampled_from(sorted({*range(header.SIZE)} - USER_VERSION)), flip=st.integers(1, 255))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_changed_byte_of_the_header_costs_nothing(
    sample: tuple[Path, dict[str, tuple[str, bytes]]], position: int, flip: int
) -> None:
    """SQLite may refuse the whole file for one byte of its header; every message comes back all the same."""
    original, written = sample
    content = bytearray((original / "index").read_bytes())
    content[position] ^= flip
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        spool = Path(folder) / "spool"
        shutil.copytree(original, spool)
        (spool / "index").write_bytes(content)
        _, bodies = asyncio.run(asyncio.wait_for(open_after(spool), WITHIN_S))
    assert {queue_id: bodies.get(queue_id) for queue_id in written} == {
        queue_id: body for queue_id, (_, body) in written.items()
    }
