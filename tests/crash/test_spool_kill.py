"""The spool killed at every step it takes, and at random: what was promised is there, nothing half is.

``ROWS`` names every step of the source and the work that leads to it; a new
``reach("…")`` without a row fails ``test_every_step_has_a_row``.
"""

import asyncio
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import uvloop
from tests.crash import driver
from tests.support.effort import LONG
from tests.support.spools import SpoolUser

from waystation_relay.mail.message import Message, Status
from waystation_relay.spool import failpoints
from waystation_relay.spool.values import Query

ROOT_PAGE = "SELECT rootpage FROM sqlite_master WHERE name = ?"
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "relay" / "waystation_relay" / "spool"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a killed process takes no page cache along
WITHIN_S = 60.0


@dataclasses.dataclass
class Heard:
    """What a driver has said, in all of its lives."""

    accepted: set[str] = dataclasses.field(default_factory=set)
    removing: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)  # → address, its report's
    removed: set[str] = dataclasses.field(default_factory=set)
    ended: bool = False

    def note(self, line: bytes) -> None:
        match line.decode().split():
            case ["accepted", queue_id]:
                self.accepted.add(queue_id)
            case ["removing", queue_id, address, *report]:
                self.removing[queue_id] = address, report[0] if report else ""
            case ["removed", queue_id]:
                self.removed.add(queue_id)
            case ["end"]:
                self.ended = True
            case _:
                raise AssertionError(line)


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def start(spool: Path, work: str, seed: int, failpoint: str = "") -> subprocess.Popen[bytes]:
    environment = {**os.environ, failpoints.VARIABLE: failpoint}
    command = [sys.executable, "-m", "tests.crash.driver", str(spool), work, str(seed)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(work: Awaitable[None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, WITHIN_S))  # type: ignore[arg-type] # a coroutine of a coroutine


async def everything(user: SpoolUser) -> list[Message]:
    return await user.spool.find(Query(), 100_000)


async def check_whole(user: SpoolUser, messages: list[Message]) -> None:
    """Each message is what its address says it is."""
    for message in messages:
        assert await user.content(message) == driver.content(message.envelope.recipients[0].address)


async def check_goes_on(user: SpoolUser, spool: Path) -> None:
    """Mail is taken and delivered again, the figures are right, the last message leaves no file behind."""
    draft = await user.take(b"the queue goes on")
    for message in await everything(user):
        await user.remove(message, *[p.number for p in message.pending])
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.held) == (0, 0, 0)
    assert (stats.size_bytes, stats.segment_live_bytes) == (0, 0)
    assert await user.spool.get(draft.queue_id) is None
    await user.close()
    assert list((spool / "segments").iterdir()) == []


async def check_mail(spool: Path, heard: Heard, *, empty: bool = True) -> None:
    """Every promise is kept, every settlement is whole or not at all."""
    user = SpoolUser(spool, tuning=driver.TUNING)
    messages = await everything(user)
    await check_whole(user, messages)
    found = {message.queue_id: message.envelope.recipients[0].address for message in messages}
    assert heard.accepted - heard.removing.keys() <= found.keys()
    assert not heard.removed & found.keys()
    made = set(found.values()) | {address for address, _ in heard.removing.values()}
    for queue_id, (_, report) in heard.removing.items():
        if report and queue_id in heard.removed:
            assert report in made, "the report is there when its message is gone"
        elif report:
            assert (report in made) is not (queue_id in found), "both happened or neither"
    assert user.named("spool.corrupt") == []
    assert {m.queue_id for m in await user.due()} == found.keys()
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting) == (len(found), len(found))
    assert stats.size_bytes == sum(m.size_bytes for m in messages)
    if empty:
        await check_goes_on(user, spool)
    else:
        await user.close()


# What leads to each step


async def nothing(spool: Path) -> None:
    """An empty place."""


async def a_queue(spool: Path) -> None:
    """Some mail of every kind."""
    user = SpoolUser(spool, tuning=driver.TUNING)
    for seed, size in enumerate(driver.SIZES):
        to = driver.address(seed, size)
        await user.take(driver.content(to), to, chunk=800)
    await user.close()


async def stray_files(spool: Path) -> None:
    """Segments that nothing refers to, as a crash leaves them."""
    await a_queue(spool)
    for number in (0x100, 0x101):
        (spool / "segments" / f"{number:016x}").write_bytes(b"x" * 5_000)


async def lost_index(spool: Path) -> None:
    """The index is gone, the files of bodies are there."""
    await a_queue(spool)
    (spool / "index").unlink()


async def damaged_index(spool: Path) -> None:
    """A tree of the index is overwritten, and the newest mail is still in its log."""
    await a_queue(spool)
    user = SpoolUser(spool, tuning=driver.TUNING)
    to = driver.address(100, 300)
    await user.take(driver.content(to), to)
    copy = spool.with_name("copy")
    shutil.copytree(spool, copy)
    await user.close()
    shutil.rmtree(spool)
    copy.rename(spool)
    (spool / "lock").unlink()
    with closing(sqlite3.connect(f"file:{spool / 'index'}?mode=ro&immutable=1", uri=True)) as db:
        ((root,),) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages_segment'"
        ).fetchall()
    with (spool / "index").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)


async def damaged_body(spool: Path) -> None:
    """A byte of a body in a shared segment is not what it was."""
    await a_queue(spool)
    with closing(sqlite3.connect(spool / "index")) as db:
        segment, offset = db.execute(
            "SELECT segment, offset FROM messages WHERE segment > 0 ORDER BY id LIMIT 1"
        ).fetchone()
    with (spool / "segments" / f"{segment:016x}").open("r+b") as file:
        file.seek(offset + 7)
        file.write(b"~")


async def damaged_row(spool: Path) -> None:
    """An envelope in the index is not what it was."""
    await a_queue(spool)
    with closing(sqlite3.connect(spool / "index")) as db:
        db.execute("UPDATE messages SET sealed = x'00' || sealed WHERE id = (SELECT min(id) FROM messages)")
        db.commit()


async def check_all_there(spool: Path) -> None:
    user = SpoolUser(spool, tuning=driver.TUNING)
    messages = await everything(user)
    assert len(messages) >= len(driver.SIZES)
    assert all(m.pending[0].status is Status.WAITING for m in messages)
    await check_whole(user, messages)
    await check_goes_on(user, spool)


async def check_empty(spool: Path) -> None:
    user = SpoolUser(spool, tuning=driver.TUNING)
    assert await everything(user) == []
    assert user.events == []
    await check_goes_on(user, spool)


async def check_bodies_kept(spool: Path) -> None:
    """What the index has lost, a person can still find."""
    user = SpoolUser(spool, tuning=driver.TUNING)
    await user.close()
    kept = b"".join(p.read_bytes() for part in ("segments", "corrupt") for p in (spool / part).iterdir())
    for seed, size in enumerate(driver.SIZES):
        if size > driver.TUNING.inline_bytes:
            assert driver.content(driver.address(seed, size)) in kept
    user = SpoolUser(spool, tuning=driver.TUNING)
    await check_goes_on(user, spool)


async def check_one_held(spool: Path) -> None:
    """The damaged message is held and described, the others are as they were."""
    user = SpoolUser(spool, tuning=driver.TUNING)
    for message in await everything(user):
        await user.read(message)  # whatever the killed process had not yet found is found now
    await user.settle(0)
    messages = await everything(user)
    held = [m for m in messages if m.pending[0].status is Status.HELD]
    assert len(messages) == len(driver.SIZES)
    (message,) = held
    described = [
        json.loads(path.read_text())
        for path in (spool / "corrupt").iterdir()
        if path.name in (f"{message.queue_id}.json", f"{message.queue_id}.rows.json")
    ]
    assert [entry["queue_id"] for entry in described] == [message.queue_id]
    await check_whole(user, [m for m in messages if m is not message])
    await check_goes_on(user, spool)


@dataclasses.dataclass(frozen=True)
class Row:
    """A place as it is prepared, the work that reaches the step there, and what must be so after the kill."""

    prepare: Callable[[Path], Awaitable[None]]
    work: str
    check: Callable[[Path], Awaitable[None]] | None  # None: what the driver was promised
    counts: tuple[int, ...] = (1,)  # at which of its arrivals at the step the driver is killed


MAIL = Row(nothing, "mail", None, (1, 4))
INDEX = Row(nothing, "mail", None, (1, 3, 4, 5, 6))  # batches that accept, and batches that settle
LATE = Row(nothing, "mail", None, (1, 3))
CREATE = Row(nothing, "look", check_empty)
SALVAGE = Row(damaged_index, "look", check_all_there)
ROWS: dict[str, Row] = {
    "create.folders": CREATE,
    "create.format": CREATE,
    "recovery.index_opened": CREATE,
    "recovery.file_removed": Row(stray_files, "look", check_all_there, (1, 2)),
    "recovery.segment_kept": Row(lost_index, "look", check_bodies_kept, (1, 2)),
    "recovery.swept": Row(stray_files, "look", check_all_there),
    "batch.begun": MAIL,
    "stream.created": MAIL,
    "stream.extended": MAIL,
    "stream.headed": MAIL,
    "segment.created": LATE,
    "segment.recycled": LATE,
    "bodies.written": MAIL,
    "bodies.synced": MAIL,
    "names.synced": LATE,
    "transaction.begun": INDEX,
    "index.added": INDEX,
    "index.settled": INDEX,
    "index.committed": INDEX,
    "report.sending": MAIL,
    "segment.retiring": LATE,
    "segment.unlinked": LATE,
    "compaction.copied": LATE,
    "compaction.synced": LATE,
    "compaction.moved": LATE,
    "checkpoint.begun": LATE,
    "checkpoint.done": LATE,
    "shrink.begun": LATE,
    "shrink.done": LATE,
    "corrupt.copied": Row(damaged_body, "look", check_one_held),
    "corrupt.described": Row(damaged_body, "look", check_one_held),
    "corrupt.rows_kept": Row(damaged_row, "look", check_one_held),
    "salvage.marked": dataclasses.replace(SALVAGE, counts=(1, 2)),
    "salvage.moved": SALVAGE,
    "salvage.wal_moved": SALVAGE,
    "salvage.built": SALVAGE,
    "salvage.renamed": SALVAGE,
}


def steps() -> set[str]:
    """Every name in a ``reach("…")`` of the source."""
    found = {
        name for path in SOURCE.glob("*.py") for name in re.findall(r'\breach\("([^"]+)"\)', path.read_text())
    }
    assert len(found) > 30
    return found


def test_every_step_has_a_row() -> None:
    """A durable step that nobody kills is a step nobody has thought through."""
    assert steps() == set(ROWS)


@pytest.mark.parametrize(
    ("step", "count"),
    [(step, count) for step, row in ROWS.items() for count in (row.counts if LONG else row.counts[:1])],
)
def test_killed_at(step: str, count: int, folder: Path) -> None:
    """Killed there, started again: all that was promised, nothing half, and the queue goes on."""
    row, spool, heard = ROWS[step], folder / "spool", Heard()
    run(row.prepare(spool))
    with start(spool, row.work, 1_000, f"{step}:{count}") as process:
        out, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == -signal.SIGKILL, f"{step} was not reached {count} times: {err.decode()}"
    for line in out.splitlines():
        heard.note(line)
    run(check_mail(spool, heard) if row.check is None else row.check(spool))


def test_killed_at_random(folder: Path) -> None:
    """Killed 8 times at moments of chance over one spool: promises of all its lives are kept."""
    seed = random.randrange(2**32)
    dice, spool, heard = random.Random(seed), folder / "spool", Heard()
    print(f"seed {seed}")
    for life in range(8):
        with start(spool, "mail", 10_000 * (life + 1)) as process:
            assert process.stdout is not None
            for _ in range(dice.randrange(5, 400)):
                heard.note(process.stdout.readline())
                assert not heard.ended
            process.kill()
            for line in process.stdout:  # to the last word it said
                heard.note(line)
        run(check_mail(spool, heard, empty=False))
    assert len(heard.accepted) > 100
    run(check_mail(spool, heard))


def test_driver_reaches_its_end(folder: Path) -> None:
    """Not killed, the driver's work ends well: the other tests' failures are those of the kill."""
    heard = Heard()
    with start(folder / "spool", "mail", 1_000) as process:
        out, err = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, err.decode()
    for line in out.splitlines():
        heard.note(line)
    assert heard.ended
    assert len(heard.accepted) == driver.ROUNDS * len(driver.SIZES)
    run(check_mail(folder / "spool", heard))


def test_every_step_is_on_the_page() -> None:
    """docs/spool-states.md tells of each step once, and of none that does not exist."""
    page = (ROOT / "docs" / "spool-states.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted(steps())
