"""Errors: a spool at work meets a rule of the shim's, at one call or from one call on, and gets over it.

However it goes, at the end the spool is opened again on a sound disk and must
hold what was promised. What it said meanwhile is counted for the test to judge.
"""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fault.lab import Lab
from tests.fault.library import rule
from tests.fault.powercut import AFTER_A_CUT, Findings, cut, look, recording
from tests.fault.promises import Ledger
from tests.fault.work import TUNING, Worker
from tests.support.spools import WITHIN_S, SpoolUser

from waystation_relay.spool.values import SpoolError, SpoolUnavailable

STEPS = 40
AGAIN = 3  # a reader's discovery that the disk fails may come when that is over


@dataclass(slots=True)
class Met:
    """What became of one run."""

    seen: int = 0  # calls that fitted the rule
    refused: str = ""  # at the opening
    failures: list[tuple[str, bool]] = field(default_factory=list)  # kind, permanent
    broken: bool = False
    refusals: list[str] = field(default_factory=list)  # kinds, of new mail, while it lasted
    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    after: int = 0  # messages accepted once it was over
    wrong: list[str] = field(default_factory=list)


async def meet(lab: Lab, folder: Path, seed: int, *rules: str) -> Met:
    """Work while a rule holds, then without it."""
    met = Met()
    worker = Worker(folder / "spool", random.Random(seed), lab.shim.note)
    lab.shim.rules(*rules)
    try:
        user = await worker.open()
    except (SpoolError, SpoolUnavailable) as error:
        met.refused = str(error)
        met.seen = lab.shim.seen()
        lab.shim.rules()
        if worker.user is not None:
            await worker.close()
        user = await worker.open()
    await worker.work(STEPS)
    # Until all has been answered that will be: what is kept for a failing disk is not.
    async with asyncio.timeout(WITHIN_S):
        while worker.is_busy and user.spool.can_settle():
            await asyncio.sleep(0.001)
    met.broken = user.spool.broken is not None
    if (refusal := user.spool.refusal()) is not None:
        met.refusals.append(refusal.kind.value)
    met.seen = max(met.seen, lab.shim.seen())
    met.failures = [(failure.kind.value, failure.permanent) for failure in worker.failures]
    lab.shim.rules()
    before = worker.accepted
    for _ in range(AGAIN):
        async with asyncio.timeout(WITHIN_S):
            while user.spool.broken is None and (
                user.spool.refusal() is not None or not user.spool.can_settle()
            ):
                await asyncio.sleep(0.001)
        await worker.work(STEPS)
        await worker.close()
        met.events += user.events
        if user.spool.broken is None:
            break
        met.broken = True
        user = await worker.open()
    else:
        met.wrong.append("broken again and again, on a sound disk")
    met.after = worker.accepted - before
    met.wrong += [f"event {name} {fields}" for name, fields in met.events if name in AFTER_A_CUT]
    return met


def one(lab: Lab, seed: int, rules: Sequence[str], cuts: int = 0) -> Met:
    """One run in a folder of its own, and what is found at the end; cut as well, if wanted."""
    folder = lab.folder / "disk"
    folder.mkdir()
    with recording(lab, folder) as so_far:
        met = lab.run(meet(lab, folder, seed, *rules))
        past = so_far()
    met.wrong += lab.run(look(folder, Ledger.of(past.notes())))
    shutil.rmtree(folder)
    if cuts:
        findings = Findings()
        cut(lab, past, [], random.Random(seed), cuts, findings)
        met.wrong += findings.wrong
    return met


def calls(lab: Lab, seed: int, operation: str, name: str = "*") -> int:
    """How many calls of a kind a run without trouble makes."""
    return one(lab, seed, [rule(operation, "count", name=name)]).seen


def everywhere(
    lab: Lab,
    seed: int,
    operation: str,
    action: str | int,
    many: int,
    times: int = 0,
    name: str = "*",
    cuts: int = 0,
) -> Any:
    """The rule acts at one call, or from one call on; a run for each of the calls, or for so many of them."""
    count = calls(lab, seed, operation, name)
    dice = random.Random(seed)
    firsts = sorted(dice.sample(range(1, count + 1), min(many, count)))
    met = [
        one(lab, seed, [rule(operation, action, name=name, first=first, times=times)], cuts)
        for first in firsts
    ]
    return summary(met, firsts, count)


def summary(met: Sequence[Met], firsts: Sequence[int], count: int) -> Any:
    return {
        "calls": count,
        "runs": len(met),
        "met": sum(bool(one.failures or one.refusals or one.refused or one.broken) for one in met),
        "refused": Counter(one.refused.rpartition(": ")[2] or one.refused for one in met if one.refused),
        "failures": Counter(
            f"{kind}{', permanent' * permanent}" for one in met for kind, permanent in one.failures
        ),
        "refusals": Counter(kind for one in met for kind in one.refusals),
        "broken": sum(one.broken for one in met),
        "silent": [n for n, one in zip(firsts, met, strict=True) if one.failures and not _said(one)],
        "stuck": [n for n, one in zip(firsts, met, strict=True) if not one.after],
        "wrong": [f"from call {n}: {text}" for n, one in zip(firsts, met, strict=True) for text in one.wrong][
            :20
        ],
    }


def _said(met: Met) -> bool:
    """Whether the log speaks of the failure."""
    return any(name in ("spool.failing", "spool.broken") for name, _ in met.events)


def starts(lab: Lab, errors: Sequence[int]) -> Any:
    """Opening a spool with mail in it, each of its calls refused in turn: what is said, and what is left."""
    folder = lab.folder / "disk"
    folder.mkdir()

    async def work() -> None:
        worker = Worker(folder / "spool", random.Random(1), notes.append)
        await worker.work(STEPS)
        await worker.close()

    async def start() -> list[str]:
        try:
            user = SpoolUser(folder / "spool", tuning=TUNING)
        except SpoolError as error:
            return [str(error)]
        await user.close()
        return []

    notes: list[str] = []
    lab.run(work())
    refused: list[str] = []
    unexplained: list[str] = []
    for error in errors:
        for operation in ("any", "open", "read"):
            first = seen = 0
            while seen >= first:
                first += 1
                lab.shim.watch(folder, lab.folder / "journal")
                lab.shim.rules(rule(operation, error, first=first))
                said = lab.run(start())
                seen = lab.shim.seen()
                lab.shim.rules()
                lab.shim.ignore()
                refused += said
                unexplained += [
                    text for text in said if f"spool {folder / 'spool'} cannot be used: " not in text
                ]
    return {
        "refused": len(refused),
        "said": sorted(
            {text.rpartition(" cannot be used: ")[2].replace(str(folder), "") for text in refused}
        ),
        "unexplained": unexplained,
        "wrong": lab.run(look(folder, Ledger.of(notes))),
    }
