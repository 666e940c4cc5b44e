"""Accidents that taught us something, each told exactly; the result is what a start found wrong."""

import random
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

from tests.fault.disk import Disk, Fate, lay_out
from tests.fault.lab import Lab
from tests.fault.library import rule
from tests.fault.powercut import Recording, look, recording
from tests.fault.promises import Ledger, Pending, Picture, answer, ask, content_of
from tests.support.spools import SpoolUser

from waystation_relay.mail.message import Status

NUMBER, SIZE = 1, 1_500  # a body that is in a segment
TRIES = 4  # of each fate, where there is any choice
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


async def _live(lab: Lab, life: Life, so_far: Callable[[], Recording]) -> Recording:
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
