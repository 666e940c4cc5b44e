"""Power cuts while a spool deals with damage: what can be had is had after any cut, and nothing is forgotten.

A damaged spool is opened by lives that are killed, and that is cut at any moment.
Whatever the next start finds, in the end it must have come to the same as one that nobody disturbed.
"""

import random
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.fault.disk import Disk, lay_out
from tests.fault.lab import Lab
from tests.fault.powercut import FATES, Recording, ending, live, recording
from tests.fault.work import TUNING, picture_of, whole
from tests.support.spools import SpoolUser

from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.values import Query, ReadFailure, SpoolError

PAGE_BYTES = 4096


def _biggest(folder: Path) -> Path:
    return max((folder / "segments").iterdir(), key=lambda path: path.stat().st_size)


def body_in_a_segment(spool: Path) -> None:
    segment = _biggest(spool)
    segment.write_bytes(segment.read_bytes()[:60] + b"\0" * 30 + segment.read_bytes()[90:])


def segment_too_short(spool: Path) -> None:
    segment = _biggest(spool)
    segment.write_bytes(segment.read_bytes()[:-40])


def segment_missing(spool: Path) -> None:
    _biggest(spool).unlink()


def page_of_messages(spool: Path) -> None:
    """A page that holds rows and nothing else."""
    with closing(sqlite3.connect(spool / "index")) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'").fetchone()
    raw = bytearray((spool / "index").read_bytes())
    start = (root - 1) * PAGE_BYTES
    raw[start + 2000 : start + PAGE_BYTES] = bytes(PAGE_BYTES - 2000)
    (spool / "index").write_bytes(raw)


def list_of_tables(spool: Path) -> None:
    raw = bytearray((spool / "index").read_bytes())
    raw[200:PAGE_BYTES] = bytes(PAGE_BYTES - 200)
    (spool / "index").write_bytes(raw)


def index_missing(spool: Path) -> None:
    (spool / "index").unlink()


MISHAPS: dict[str, Callable[[Path], None]] = {
    one.__name__.replace("_", " "): one
    for one in (
        body_in_a_segment, segment_too_short, segment_missing, page_of_messages, list_of_tables, index_missing
    )
}  # fmt: skip


async def survey(folder: Path) -> Any:
    """All that is to be had of a spool: each message, its body's checksum; bodies kept in ``corrupt/``."""
    user = SpoolUser(folder / "spool", tuning=TUNING)
    try:
        while True:
            found = await user.spool.find(Query(), 10_000)
            contents: dict[int, object] = {}
            for message in found:
                body = await user.read(message)
                content = whole(body) if isinstance(body, BodyFile) else body
                contents[message.id] = (
                    content.kind if isinstance(content, ReadFailure) else zlib.crc32(content)
                )
            await user.settle(0)  # what was found damaged has been dealt with by then
            if found == await user.spool.find(Query(), 10_000) and len(found) == user.spool.stats().messages:
                break
        kept = sorted(
            zlib.crc32(path.read_bytes())
            for path in (folder / "spool" / "corrupt").iterdir()
            if path.suffix == ".body" or path.name.startswith("segment-")
        )
        return [(m.id, picture_of(m), contents[m.id]) for m in found], kept
    finally:
        await user.close()


def disturb(lab: Lab, seed: int, mishap: str, states: int, killed: int = 3) -> Any:
    """How a damaged spool comes out when nobody disturbs its repair, and which disturbances change that."""
    dice = random.Random(seed)
    folder, quiet = lab.folder / "disk", lab.folder / "quiet"
    folder.mkdir()
    live(lab, folder, dice, [], 60, reopen=0.0)
    MISHAPS[mishap](folder / "spool")
    shutil.copytree(folder, quiet)
    right = lab.run(survey(quiet))
    past = _lives(lab, folder, dice, killed)
    wrong: list[str] = []
    if difference := _differences(lab.run(survey(folder)), right):
        wrong.append(f"after kills alone: {difference}")
    disk, at = Disk(past.before), 0
    for number in past.cuts(dice, states):
        disk.feed(past.steps[at:number])
        at = number
        fate = dice.choice(FATES)
        state = lab.folder / "state"
        lay_out(disk.cut(fate, dice), state)
        try:
            difference = _differences(lab.run(survey(state)), right)
        except (SpoolError, OSError) as error:
            difference = repr(error)
        if difference:
            wrong.append(f"cut {number} of {len(past.steps)}, {fate.value}: {difference}")
        shutil.rmtree(state)
    shutil.rmtree(folder)
    return {
        "messages": len(right[0]),
        "unreadable": sum(not isinstance(content, int) for _, _, content in right[0]),
        "kept": len(right[1]),
        "moments": sorted(past.moments()),
        "wrong": wrong[:5],
    }


def _differences(found: Any, right: Any) -> str:
    """Messages and bodies must be the same; more may have been kept, as some of the repair was done twice."""
    (messages, kept), (wanted, to_be_kept) = found, right
    if messages != wanted:
        new = [one for one in messages if one not in wanted]
        return f"{new} for {[one for one in wanted if one not in messages]}"
    if not set(kept) >= set(to_be_kept):
        return f"kept {kept}, not {to_be_kept}"
    return ""


def _lives(lab: Lab, folder: Path, dice: random.Random, killed: int) -> Recording:
    with recording(lab, folder) as so_far:
        for _ in range(killed):
            end = ending(lab, random.Random(dice.random()), so_far())
            lab.child(lambda end=end: (end(), lab.run(survey(folder))))
        lab.run(survey(folder))
        return so_far()
