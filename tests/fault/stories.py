"""Accidents that taught us something, each told exactly; the result is what a start found wrong."""

import errno
import random
import shutil
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tests.fault.disk import Disk, Fate, lay_out
from tests.fault.lab import Lab
from tests.fault.library import rule
from tests.fault.powercut import Recording, look, recording
from tests.fault.promises import Ledger, Pending, Picture, answer, ask, content_of
from tests.support.spools import SpoolUser

from waystation_relay.mail.message import Status
from waystation_relay.spool.values import SpoolError

NUMBER, SIZE = 1, 1_500  # a body that is in a segment
TRIES = 4  # of each fate, where there is any choice
Result = TypeVar("Result")
Life = Callable[[Lab, SpoolUser], Awaitable[None]]


def commit_not_synced(lab: Lab) -> Any:
    """A message is taken, then removed; the process is killed before that commit is synced.

    The log's first sync is that of its header.
    """
    return _told(
        lab, [(_take, []), (_remove, [rule("sync", "kill", name="spool/index-wal", first=2)]), (_nothing, [])]
    )


def folder_not_synced(lab: Lab) -> Any:
    """The first process is killed before its first sync; the second takes a message."""
    return _told(lab, [(_nothing, [rule("sync", "kill")]), (_take, [])])


def log_not_named(lab: Lab) -> Any:
    """The sync of a name fails, each one in turn, and who asks for it may not say so: SQLite does not."""
    wrong: list[str] = []
    first = seen = 0
    while seen >= first:
        first += 1
        folder = lab.folder / "disk"
        folder.mkdir()
        lab.run(_live(lab, _nothing, lambda: None))
        with recording(lab, folder, rule("sync", errno.EIO, name="spool", first=first, times=1)) as so_far:
            try:
                past = lab.run(_live(lab, _take, so_far))
            except (SpoolError, AssertionError):  # not opened, or not accepted
                past = so_far()
            seen = lab.shim.seen()
        wrong += [f"sync {first}: {one}" for one in _cut(lab, past)]
        shutil.rmtree(folder)
    return {"syncs": first - 1, "wrong": wrong}


def _told(lab: Lab, lives: list[tuple[Life, list[str]]]) -> list[str]:
    """The lives one after the other, those with rules killed by them; cuts just before the last one ends."""
    folder = lab.folder / "disk"
    folder.mkdir()
    with recording(lab, folder) as so_far:
        for life, rules in lives:
            lab.shim.rules(*rules)
            if rules:
                assert lab.child(lambda life=life: lab.run(_live(lab, life, so_far))) == -9
                lab.shim.rules()
            else:
                past = lab.run(_live(lab, life, so_far))
    return _cut(lab, past)


def _cut(lab: Lab, past: Recording) -> list[str]:
    disk = Disk(past.before)
    disk.feed(past.steps)
    wrong = []
    for fate in Fate:
        for seed in range(TRIES):
            state = lab.folder / "state"
            lay_out(disk.cut(fate, random.Random(seed)), state)
            try:
                found = lab.run(look(state, Ledger.of(past.notes())))
            except AssertionError as error:
                found = [str(error)]
            wrong += [f"{fate.value}: {one}" for one in found]
            shutil.rmtree(state)
    return wrong


async def _live(lab: Lab, life: Life, so_far: Callable[[], Result]) -> Result:
    user = SpoolUser(lab.folder / "disk" / "spool")
    await life(lab, user)
    past = so_far()
    await user.close()
    return past


async def _nothing(_lab: Lab, _user: SpoolUser) -> None:
    pass


async def _take(lab: Lab, user: SpoolUser) -> None:
    waiting = (Pending(0, Status.WAITING, user.clock.now(), 0, ""),)
    lab.shim.note(ask(1, {NUMBER: Picture("ann@shop.test", ("bob@next.test",), SIZE, waiting)}))
    await user.take(content_of(NUMBER, SIZE))
    lab.shim.note(answer("done", 1))


async def _remove(lab: Lab, user: SpoolUser) -> None:
    (message,) = await user.due()
    lab.shim.note(ask(2, {NUMBER: None}))
    await user.settle(message.id, removed=(0,))
