"""Power cuts: what happens to a folder is recorded once, then cut at any moment in any way the model allows.

A recording has several *lives*: processes that work on the spool, each killed
(kill -9) at some moment, each taking over what the last one left. What the
last life promised must hold after any cut, what earlier ones promised too. Some
of the trees that a cut leaves get lives of their own, and are cut again:
recovery is work like any other.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fault.disk import Disk, Fate, Snapshot, lay_out, snapshot
from tests.fault.journal import Step, What, read
from tests.fault.lab import Lab, die
from tests.fault.library import rule
from tests.fault.promises import Ledger
from tests.fault.work import Worker, everything_in
from tests.support.spools import SpoolUser

from waystation_relay.spool.values import SpoolError

# Nothing that was damaged: a power cut damages nothing that anybody counts on.
AFTER_A_CUT = {"spool.corrupt", "spool.index_damaged", "spool.index_missing", "spool.segment_kept"}
KEEP = "FAULT_KEEP"  # names a folder for what was found wrong
MARK = "@"  # of notes that name a failpoint
FATES = list(Fate)
SYNCED = ("spool/index-wal", "spool/segments/*", "spool/segments", "spool/index", "spool")


@dataclass(frozen=True, slots=True)
class Recording:
    """A folder as it was, and what happened to it."""

    before: Snapshot
    steps: list[Step]

    def notes(self, until: int | None = None) -> list[str]:
        texts = [step.data.decode() for step in self.steps[:until] if step.what is What.NOTE]
        return [text for text in texts if not text.startswith(MARK)]

    def moments(self) -> dict[str, list[int]]:
        """Where each failpoint was reached."""
        moments: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            if step.what is What.NOTE and (text := step.data.decode()).startswith(MARK):
                moments.setdefault(text.removeprefix(MARK), []).append(number)
        return moments

    def cuts(self, dice: random.Random, many: int) -> list[int]:
        """Moments to cut at, in order: each failpoint once if there are enough, any others by chance."""
        named = [dice.choice(places) for places in self.moments().values()]
        others = [dice.randint(0, len(self.steps)) for _ in range(many - len(named))]
        return sorted(dice.sample(named, min(many, len(named))) + others)


@dataclass(slots=True)
class Findings:
    states: int = 0
    promises: int = 0  # kept, in all states together
    killed: int = 0
    wrong: list[str] = field(default_factory=list)


@contextlib.contextmanager
def recording(lab: Lab, folder: Path, *rules: str) -> Iterator[Callable[[], Recording]]:
    """Watch a folder, from now on; whoever calls the result gets what happened so far."""
    before = snapshot(folder)
    journal = lab.folder / f"journal-{folder.name}"
    journal.unlink(missing_ok=True)
    lab.shim.watch(folder, journal)
    lab.shim.rules(*rules)
    lab.moment = lambda name: lab.shim.note(MARK + name)
    try:
        yield lambda: Recording(before, read(journal))
    finally:
        lab.moment = lambda _name: None
        lab.shim.rules()
        lab.shim.ignore()
        journal.unlink()


def live(
    lab: Lab, folder: Path, dice: random.Random, notes: Sequence[str], steps: int, *, reopen: float
) -> None:
    """One life: work, then close properly. Whoever wants it to end sooner kills it."""

    async def work() -> None:
        worker = Worker(folder / "spool", dice, lab.shim.note, before=notes)
        await worker.work(steps, reopen=reopen)
        await worker.close()

    lab.run(work())


def lives(
    lab: Lab, folder: Path, dice: random.Random, notes: Sequence[str], killed: int, steps: int, *rules: str
) -> tuple[Recording, int]:
    """Some lives that are killed, at any call or at a failpoint, and one that is not; how many were."""
    died = 0
    with recording(lab, folder, *rules) as so_far:
        for number in range(killed + 1):
            before = [*notes, *so_far().notes()]
            own = random.Random(dice.random())
            if number < killed:
                end = ending(lab, own, so_far(), *rules)
                code = lab.child(
                    lambda end=end, own=own, before=before: (
                        end(),
                        live(lab, folder, own, before, steps, reopen=0.05),
                    )
                )
                assert code in (0, -9), f"a life ended with {code}"
                died += code == -9
            else:
                live(lab, folder, own, before, steps, reopen=0.02)
        return so_far(), died


def ending(lab: Lab, dice: random.Random, past: Recording, *rules: str) -> Callable[[], None]:
    """How a life is to end: before some call, before a sync, or at a failpoint that an earlier one passed."""
    names = list(past.moments())
    way = dice.choice(("call", "sync", "failpoint" if names else "call"))
    if way == "call":
        return lambda: lab.shim.rules(*rules, rule("any", "kill", first=int(10 ** dice.uniform(0, 2.8))))
    if way == "sync":
        name, first = dice.choice(SYNCED), dice.randint(1, 12)
        return lambda: lab.shim.rules(*rules, rule("sync", "kill", name=name, first=first))
    failpoint, count = dice.choice(names), dice.randint(1, 3)

    def at_failpoint() -> None:
        left = [count]

        def moment(reached: str) -> None:
            lab.shim.note(MARK + reached)
            if reached == failpoint:
                left[0] -= 1
                if not left[0]:
                    die()

        lab.moment = moment

    return at_failpoint


async def look(folder: Path, ledger: Ledger) -> list[str]:
    """Open what a cut left, compare it with what was promised, and see that it still works."""
    user = SpoolUser(folder / "spool")
    try:
        found = {number: picture for number, (_, picture) in (await everything_in(user)).items()}
        wrong = ledger.judge(found)
        wrong += [f"event {event}" for event in user.events if event[0] in AFTER_A_CUT]
        wrong += [f"in corrupt/: {path.name}" for path in (folder / "spool" / "corrupt").iterdir()]
        stats = user.spool.stats()
        if (stats.messages, stats.size_bytes) != (len(found), sum(one.size_bytes for one in found.values())):
            wrong.append(f"{stats} of {len(found)} messages")
        draft = await user.take(b"00000000 after the cut")
        assert await user.content(await user.get(draft)) == b"00000000 after the cut"
        await user.remove(draft)
        return wrong
    finally:
        await user.close()


def cut(
    lab: Lab,
    past: Recording,
    notes: Sequence[str],
    dice: random.Random,
    many: int,
    findings: Findings,
    *,
    again: float = 0.0,
) -> None:
    """Cut a recording many times; ``again`` is the chance that a state lives on and is cut, too."""
    disk, at = Disk(past.before), 0
    for number in past.cuts(dice, many):
        disk.feed(past.steps[at:number])
        at = number
        fate = dice.choice(FATES)
        tree = disk.cut(fate, dice)
        known = [*notes, *past.notes(number)]
        ledger = Ledger.of(known)
        state = lab.folder / f"state-{findings.states}"
        lay_out(tree, state)
        try:
            wrong = lab.run(look(state, ledger))
        except (AssertionError, SpoolError, sqlite3.Error, OSError) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        where = f"cut {number} of {len(past.steps)}, {fate.value}"
        findings.wrong += [f"{where}: {one}" for one in wrong]
        if wrong and os.environ.get(KEEP):
            keep(Path(os.environ[KEEP]), where, past, number, state, wrong)
        findings.states += 1
        findings.promises += len(ledger.facts)
        shutil.rmtree(state)
        if not wrong and dice.random() < again:
            lay_out(tree, state)
            next_life, died = lives(lab, state, dice, known, 2, 12)
            findings.killed += died
            cut(lab, next_life, known, dice, 8, findings)
            shutil.rmtree(state)


def keep(folder: Path, where: str, past: Recording, number: int, state: Path, wrong: list[str]) -> None:
    """For a person: the state that was found wrong, and how it came about."""
    case = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(state, case / "state")
    lines = [f"{n} {step._replace(data=step.data[:80])}" for n, step in enumerate(past.steps)]
    lines.insert(number, f"--- {where}")
    (case / "steps").write_text("\n".join([*wrong, *lines]))


def explore(
    lab: Lab,
    seed: int,
    steps: int,
    states: int,
    again: float = 0.0,
    killed: int = 4,
    rules: Sequence[str] = (),
) -> Any:
    """Make a recording and cut it: how much was looked at, and what was wrong."""
    dice = random.Random(seed)
    folder = lab.folder / "disk"
    folder.mkdir()
    past, died = lives(lab, folder, dice, [], killed, steps, *rules)
    findings = Findings(killed=died)
    cut(lab, past, [], dice, states, findings, again=again)
    shutil.rmtree(folder)
    return {
        "states": findings.states,
        "promises": findings.promises,
        "killed": findings.killed,
        "moments": sorted(past.moments()),
        "steps": len(past.steps),
        "wrong": findings.wrong[:20],
    }


def replayed(lab: Lab, seed: int) -> Any:
    """Whether the journal of some lives, followed to its end, gives the folder that they left."""
    folder = lab.folder / "disk"
    folder.mkdir()
    past, _ = lives(lab, folder, random.Random(seed), [], 3, 150)
    disk = Disk(past.before)
    disk.feed(past.steps)
    told = disk.cut(Fate.KEPT, random.Random(seed))
    real = {name: content for name, _, content in snapshot(folder) if name}
    return {
        "different": sorted(
            name for name in told.keys() | real.keys() if told.get(name, 0) != real.get(name, 0)
        ),
        "files": len(real),
        "whats": sorted({step.what for step in past.steps}),
    }


def lied_to(lab: Lab, seed: int, names: Sequence[str], tries: int) -> Any:
    """For each file or folder whose syncs do nothing: the first thing found wrong, if any."""
    found = {}
    for name in names:
        for number in range(tries):
            lie = rule("sync", "lie", name=name)
            found[name] = explore(lab, seed + number, steps=60, states=40, killed=0, rules=[lie])["wrong"][:1]
            if found[name]:
                break
    return found
