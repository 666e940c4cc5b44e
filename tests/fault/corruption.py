"""Damage anywhere: bytes of a spool's files flipped, zeroed, swapped, cut off; then it is opened.

What must hold, whatever was damaged
    Opening succeeds, or says in a ``SpoolError`` what is wrong. No other error, no end of work.
    A body that is handed out is the one that was accepted. A recipient that waits was given by the
    sender, and the sender is the one who gave it.
    A message that is not in the queue any more left something in ``corrupt/``, which says so.
    What the damage did not touch, as far as that is to be known, is as it was.
"""

import asyncio
import json
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace
from tests.fault.journal import read
from tests.fault.lab import Lab
from tests.fault.library import rule
from tests.fault.powercut import Recording, live
from tests.fault.promises import Ledger, content_of, number_of
from tests.fault.work import TUNING, whole
from tests.support.spools import WITHIN_S, SpoolUser

from waystation_relay.mail.message import Message, Status
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.identity import queue_id_of
from waystation_relay.spool.segments import HEADER
from waystation_relay.spool.values import Query, ReadFailure, ReadFailureKind, SpoolError, SpoolUnavailable

PAGE_BYTES = 4096
LOST = {"spool.index_missing"}  # said of a queue of which nothing is left
SAID = ("is not a spool's format file", "run the newer version")  # why a damaged spool is left alone
LAST_ASKS = 15  # as many as may be in the last two commits of a log
STARTS = 4  # a damaged index may end the process once or twice until it is known


class Original(NamedTuple):
    message: Message
    content: bytes
    place: tuple[int, int]  # segment and offset; opening a spool may move it


class Damage(NamedTuple):
    what: str
    file: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.what} of {self.file}, {self.start} to {self.end}"


def flip(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    raw[start] ^= 1 << dice.randrange(8)


def zero(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    raw[start:end] = bytes(end - start)


def noise(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    raw[start:end] = dice.randbytes(end - start)


def misplace(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    """Something from elsewhere in the file is written here."""
    source = dice.randrange(max(1, len(raw) - (end - start) + 1))
    raw[start:end] = raw[source : source + end - start]


def cut_off(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    del raw[start:]


def lengthen(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    raw += dice.randbytes(end - start)


def remove(raw: bytearray, start: int, end: int, dice: random.Random) -> None:
    raw.clear()


WAYS: tuple[Callable[[bytearray, int, int, random.Random], None], ...] = (
    flip, flip, flip, zero, noise, misplace, cut_off, lengthen, remove
)  # fmt: skip


def damage(spool: Path, dice: random.Random, only: str = "") -> Damage:
    """One accident."""
    files = [path for path in sorted(spool.rglob("*")) if path.is_file()]
    files = [path for path in files if path.match(only)] or files if only else files
    weights = [6 if path.name.startswith("index") else 1 for path in files]
    path = dice.choices(files, weights)[0]
    way = dice.choice(WAYS)
    raw = bytearray(path.read_bytes())
    size = len(raw)
    start = dice.randrange(size) if size else 0
    if dice.random() < 0.3:
        start -= start % PAGE_BYTES
    length = dice.choice((1, 4, 100, 512, PAGE_BYTES))
    end = min(size, start + length) if way is not lengthen else start + length
    if way is flip:
        end = min(size, start + 1)
    if size or way in (lengthen, remove):
        way(raw, start, end, dice)
    if way is remove:
        path.unlink()
        start, end = 0, size
    else:
        path.write_bytes(raw)
    if way is cut_off:
        end = size
    return Damage(way.__name__, path.relative_to(spool).as_posix(), start, end)


@dataclass(slots=True)
class Found:
    """After an accident."""

    refused: str = ""
    messages: dict[int, Message] = field(default_factory=dict)
    contents: dict[int, bytes | None] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)


async def originals_of(spool: Path) -> dict[int, Original]:
    with closing(sqlite3.connect(spool / "index")) as db:
        places = {number: place for number, *place in db.execute("SELECT id, segment, offset FROM messages")}
    user = SpoolUser(spool, tuning=TUNING)
    try:
        found = await user.spool.find(Query(), 10_000)
        return {m.id: Original(m, await user.content(m), tuple(places[m.id])) for m in found}
    finally:
        await user.close()


async def open_damaged(spool: Path) -> Found:
    """What the relay would find, starting again when it must."""
    found = Found()
    for _ in range(STARTS):
        try:
            user = SpoolUser(spool, tuning=TUNING)
        except SpoolError as error:
            found.refused = str(error)
            return found
        mistakes: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context, m=mistakes: m.append(context))
        try:
            is_done = await _look(user, found)
        except SpoolUnavailable:
            is_done = False
        finally:
            is_broken = user.spool.broken is not None
            await user.close()
        found.events.update(name for name, _ in user.events)
        found.wrong += [f"a mistake: {context}" for context in mistakes if not is_broken]
        if is_done and not is_broken:
            return found
    found.wrong.append(f"it does not come to rest in {STARTS} starts")
    return found


async def _look(user: SpoolUser, found: Found) -> bool:
    """Everything in the queue, until nothing more is being mended; whether it came to that."""
    async with asyncio.timeout(WITHIN_S):
        while user.spool.broken is None:
            messages = await user.spool.find(Query(), 10_000)
            found.messages = {message.id: message for message in messages}
            found.contents = {}
            unreadable: list[str] = []
            for message in messages:
                body = await user.read(message)
                content = whole(body) if isinstance(body, BodyFile) else body
                if isinstance(content, ReadFailure):
                    unreadable += [message.queue_id] * (content.kind is not ReadFailureKind.CORRUPT)
                    found.contents[message.id] = None
                else:
                    found.contents[message.id] = content
            await user.settle(0)  # the writer has heard of all this
            if unreadable and user.spool.broken is None:
                found.wrong.append(f"no damage, and yet not to be read: {unreadable}")
            again = await user.spool.find(Query(), 10_000)
            if again == messages and len(messages) == user.spool.stats().messages:
                due = [message.id for message in await user.due()]
                waiting = [m.id for m in messages if any(p.status is Status.WAITING for p in m.pending)]
                if sorted(set(due)) != sorted(waiting):
                    found.wrong.append(f"due {due}, waiting {waiting}")
                return user.spool.broken is None
    return False


def judge(
    spool: Path,
    tag: str,
    accident: Damage,
    originals: dict[int, Original],
    promised: set[int],
    found: Found,
    *,
    alone: bool,
) -> list[str]:
    wrong = list(found.wrong)
    for number, message in found.messages.items():
        original, content = originals.get(number), found.contents[number]
        waiting = [p for p in message.pending if p.status is Status.WAITING]
        if original is None:  # it has come back, as the commit in which it left is damaged
            if waiting and (content is None or content != content_of(number_of(content), len(content))):
                wrong.append(f"{message.queue_id} was never accepted, and waits")
            continue
        if content is not None and content != original.content:
            wrong.append(f"{message.queue_id}: another body")
        if waiting and message.envelope != original.message.envelope:
            wrong.append(f"{message.queue_id}: another envelope")
        if waiting and content is None:
            wrong.append(f"{message.queue_id}: waits without a body")
    kept = sorted(path.name for path in (spool / "corrupt").iterdir()) if (spool / "corrupt").is_dir() else []
    for number in (originals.keys() & promised) - found.messages.keys():
        queue_id = queue_id_of(number, tag)
        if not any(name.startswith((queue_id, "index-")) for name in kept) and not LOST & found.events.keys():
            wrong.append(f"{queue_id} has vanished")
    if accident.file.startswith("segments/") and alone:
        wrong += _untouched(accident, originals, found)
    return wrong


def _untouched(accident: Damage, originals: dict[int, Original], found: Found) -> list[str]:
    """Exactly those messages suffer whose record was hit."""
    wrong = []
    segment = int(accident.file.rpartition("/")[2], 16)
    for number, original in originals.items():
        own, offset = original.place
        start, end = offset - HEADER.size, offset + original.message.size_bytes
        hit = own == segment and accident.start < end and start < accident.end
        if not hit and not _is_intact(original, number, found):
            wrong.append(f"{original.message.queue_id} was not hit: {found.messages.get(number)}")
    return wrong


def _is_intact(original: Original, number: int, found: Found) -> bool:
    """But for where its body lies: that is the spool's own affair."""
    message = found.messages.get(number)
    return (
        message is not None
        and replace(message, place=None) == replace(original.message, place=None)
        and found.contents.get(number) == original.content
    )


def promised_in(originals: dict[int, Original], notes: Sequence[str]) -> set[int]:
    """The messages that no damage to one place of the log may cost: all but those asked for last.

    Damage to its end looks like a commit that was cut off: SQLite syncs one before it begins the next.
    """
    last = Ledger.of(notes).asks - LAST_ASKS
    recent: set[int] = set()
    for note in map(json.loads, notes):
        if note.get("ask", 0) > last:
            recent.update(map(int, note["changes"]))
    return {number for number, original in originals.items() if number_of(original.content) not in recent}


def bases(lab: Lab, dice: random.Random) -> list[tuple[Path, list[str]]]:
    """A spool that was closed, and one whose process was killed, with the notes of that one."""
    closed, killed = lab.folder / "closed", lab.folder / "killed"
    for folder in (closed, killed):
        folder.mkdir()
    live(lab, closed, dice, [], 70, reopen=0.0)
    seed = dice.random()
    lab.shim.watch(killed, lab.folder / "journal")

    def end() -> None:
        lab.shim.rules(rule("any", "kill", first=dice.randint(350, 500)))
        live(lab, killed, random.Random(seed), [], 400, reopen=0.0)

    lab.child(end)
    lab.shim.ignore()
    past = Recording([], read(lab.folder / "journal"))
    return [(closed / "spool", []), (killed / "spool", past.notes())]


def fuzz(lab: Lab, seed: int, accidents: int, only: str = "", at_once: int = 1) -> Any:
    dice = random.Random(seed)
    wrong: list[str] = []
    refused: Counter[str] = Counter()
    events: Counter[str] = Counter()
    kept = total = 0
    for base, notes in bases(lab, dice):
        copy = lab.folder / "copy"
        shutil.copytree(base, copy)
        originals = lab.run(originals_of(copy))
        tag = next(iter(originals.values())).message.queue_id.partition("-")[2]
        shutil.rmtree(copy)
        promised = promised_in(originals, notes)
        for count in range(accidents):
            shutil.copytree(base, copy)
            met = [damage(copy, dice, only) for _ in range(at_once)]
            is_shorter = any(one.file == "index-wal" and one.what in ("cut_off", "remove") for one in met)
            try:
                found = lab.run(open_damaged(copy))
                understood = any(word in found.refused for word in SAID)
                problems = [] if understood or not found.refused else [f"refused: {found.refused}"]
                if not found.refused:
                    sure = set() if is_shorter else promised
                    problems = judge(copy, tag, met[0], originals, sure, found, alone=len(met) == 1)
            except Exception as error:  # noqa: BLE001 that is what it is about
                problems = [f"{type(error).__name__}: {error}"]
            else:
                events.update(found.events.keys())
                if found.refused:
                    refused[f"{met[0].file}: {found.refused.rpartition(' cannot be used: ')[2]}"] += 1
                elif found.messages:
                    total += len(originals)
                    kept += sum(_is_intact(original, number, found) for number, original in originals.items())
            name = f"{base.parent.name}, accident {count}, {'; '.join(map(str, met))}"
            wrong += [f"{name}: {problem}" for problem in problems]
            shutil.rmtree(copy)
    return {
        "accidents": 2 * accidents,
        "refused": refused,
        "events": events,
        "intact_percent": 100 * kept // max(total, 1),
        "wrong": wrong[:20],
        "wrongs": len(wrong),
    }
