"""The model of a disk: what it takes for granted survives every cut, what it does not is lost in some."""

import random
from collections.abc import Iterable, Sequence

import pytest
from tests.fault.disk import Disk, Fate, Snapshot, Tree
from tests.fault.journal import Step, What

ROOT, FOLDER, ONE, TWO = 1, 2, 10, 11
BEFORE: Snapshot = [("", ROOT, None), ("d", FOLDER, None), ("d/one", ONE, b"old")]


def step(
    what: What, inode: int = 0, *, name: str = "", other: str = "", at: int = 0, data: bytes = b""
) -> Step:
    return Step(what, inode, at, len(data), name, other, data)


def write(inode: int, data: bytes, at: int = 0) -> Step:
    return step(What.WRITE, inode, at=at, data=data)


CREATE_TWO = step(What.CREATE, TWO, name="d/two")
SYNC_TWO, SYNC_D = step(What.SYNC, TWO), step(What.SYNC_DIRECTORY, FOLDER)
MOVE = step(What.RENAME, name="d/two", other="d/one")


def trees(steps: Sequence[Step], fates: Iterable[Fate] = Fate, tries: int = 60) -> list[Tree]:
    """What may be found after these steps: for each fate, many times."""
    disk = Disk(BEFORE)
    disk.feed(steps)
    return [disk.cut(fate, random.Random(seed)) for fate in fates for seed in range(tries)]


def contents(found: Sequence[Tree], name: str) -> set[bytes | None]:
    """What a file is in these trees; ``None`` where it is not."""
    return {tree.get(name) for tree in found}


GRANTED = {
    "a synced file has its bytes, wherever its name is": (
        [CREATE_TWO, write(TWO, b"new"), SYNC_TWO], "d/two", {b"new", None}),
    "a name in a synced folder is there": (
        [CREATE_TWO, write(TWO, b"new"), SYNC_TWO, SYNC_D], "d/two", {b"new"}),
    "a file without a sync may be empty though its name is synced": (
        [CREATE_TWO, write(TWO, b"n"), SYNC_D], "d/two", {b"", b"n", b"\0"}),
    "a rename happens or does not": (
        [CREATE_TWO, write(TWO, b"new"), SYNC_TWO, SYNC_D, MOVE], "d/one", {b"old", b"new"}),
    "a rename in a synced folder has happened": (
        [CREATE_TWO, write(TWO, b"new"), SYNC_TWO, MOVE, SYNC_D], "d/one", {b"new"}),
    "a removal may be undone": ([step(What.UNLINK, name="d/one")], "d/one", {b"old", None}),
    "a removal in a synced folder is none": ([step(What.UNLINK, name="d/one"), SYNC_D], "d/one", {None}),
    "a failed sync promises nothing, nor does the next one for what was before it": (
        [write(ONE, b"new"), step(What.SYNC_FAILED, ONE), step(What.SYNC, ONE)], "d/one", {b"old", b"new"}),
    "what is written after a failed sync and synced is there": (
        [write(ONE, b"n"), step(What.SYNC_FAILED, ONE), write(ONE, b"w", 1), step(What.SYNC, ONE)],
        "d/one", {b"owd", b"nwd"}),
    "truncating is a change like any other": (
        [step(What.TRUNCATE, ONE), write(ONE, b"x")], "d/one", {b"old", b"", b"x", b"xld", b"\0"}),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "name", "possible"), GRANTED.values(), ids=GRANTED)
def test_what_may_be_found(steps: list[Step], name: str, possible: set[bytes | None]) -> None:
    """All of these and nothing else, in many cuts of every kind."""
    assert contents(trees(steps), name) == possible


def test_each_fate() -> None:
    """Of a new file and one written to, neither synced."""
    steps = [CREATE_TWO, write(TWO, b"new"), write(ONE, b"N")]
    found = {fate: {(t["d/one"], t.get("d/two")) for t in trees(steps, [fate])} for fate in Fate}
    assert found[Fate.LOST] == {(b"old", None)}
    assert found[Fate.KEPT] == {(b"Nld", b"new")}
    assert found[Fate.NAMES] == {(b"old", b"")}
    assert found[Fate.BYTES] == {(b"Nld", None)}
    assert found[Fate.SIZES] == {(b"old", b"\0\0\0")}
    in_order = [(b"old", None), (b"old", b""), (b"old", b"\0\0\0"), (b"old", b"new"), (b"Nld", b"new")]
    assert found[Fate.ORDERED] == set(in_order)
    assert found[Fate.ANY] >= {
        (b"old", None),
        (b"Nld", None),
        (b"old", b"new"),
        (b"Nld", b"new"),
        (b"Nld", b""),
    }


def test_a_write_is_torn_between_sectors() -> None:
    """A sector is old or new; some are, in any combination; the file may have its old size."""
    old, new = b"a" * 1536, b"b" * 1536
    before = [write(ONE, old), step(What.SYNC, ONE)]
    found = contents(trees([*before, write(ONE, new)], [Fate.ANY], 600), "d/one")
    pieces = {
        tuple(frozenset(content[at : at + 512]) for at in (0, 512, 1024)) for content in found if content
    }
    assert len(pieces) == 8
    assert all(len(sector) == 1 for one in pieces for sector in one)


def test_writes_may_survive_in_any_order() -> None:
    """The later of two unsynced writes may be there without the earlier one, in one file or in two."""
    steps = [write(ONE, b"1", 0), write(ONE, b"2", 2), CREATE_TWO, write(TWO, b"new"), SYNC_TWO, SYNC_D]
    assert contents(trees(steps), "d/one") == {b"old", b"1ld", b"ol2", b"1l2"}


def test_names_of_a_folder_keep_their_order_one_by_one() -> None:
    """Renaming onto a name and then removing it: never the removal without the rename."""
    steps = [CREATE_TWO, MOVE, step(What.UNLINK, name="d/one")]
    found = {(tree.get("d/one") is not None, tree.get("d/two") is not None) for tree in trees(steps)}
    assert found == {(True, False), (True, True), (False, False)}
