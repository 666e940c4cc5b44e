"""What a power cut may leave of a folder: the model of a disk that keeps only what it must.

Fed with the journal's steps, a ``Disk`` knows what is durable and what is
merely on its way. ``cut`` makes one of the trees that a machine may find when
it comes back; a ``Fate`` and dice decide about everything not synced.

What the model takes for granted, and nothing else
    fsync or fdatasync of a file makes its bytes and its size durable, not its name.
    fsync of a folder makes the names in it durable.
    A rename happens or does not. The changes to one name keep their order.
    A write leaves what is outside its range alone; a sector of 512 bytes is old or new.
What it does not
    Any order among changes to different names, or to the bytes of files, or between the two.
    That a failed sync leaves anything to be synced again.
"""

import enum
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fault.journal import Step, What

Tree = Mapping[str, bytes | None]  # name → content, None for a folder
Snapshot = Sequence[tuple[str, int, bytes | None]]  # name, inode, content: parents before what is in them
SECTORS = (512, 4096)


class Fate(enum.Enum):
    """Of what was not synced."""

    LOST = "lost"  # nothing of it is there
    KEPT = "kept"  # all of it is
    NAMES = "names"  # files have their names, but nothing in them
    BYTES = "bytes"  # bytes are there, names are not
    SIZES = "sizes"  # files are as long as they should be, and zero
    ORDERED = "ordered"  # up to some moment all of it, the last write torn
    ANY = "any"  # each change for itself, any write torn


@dataclass(eq=False, slots=True)
class Node:
    """A file or a folder, whatever its names."""

    is_folder: bool
    content: bytearray = field(default_factory=bytearray)  # durable
    pending: "list[Change]" = field(default_factory=list)  # in order; a durable one may follow a doomed one
    names: "dict[str, Node]" = field(default_factory=dict)  # durable


@dataclass(slots=True)
class Change:
    """Of a file's bytes."""

    step: Step
    moment: int
    durable: bool = False
    doomed: bool = False  # a sync of it failed: no later one speaks of it


@dataclass(eq=False, slots=True)
class Naming:
    """Of a folder's names: ``places`` are the (folder, name) it touches."""

    what: What
    places: tuple[tuple[Node, str], ...]
    node: Node | None
    moment: int

    def apply(self, names: dict[Node, dict[str, Node]]) -> None:
        (folder, name), *more = self.places
        match self.what:
            case What.UNLINK | What.RMDIR:
                del names[folder][name]
            case What.RENAME:
                ((target, new),) = more
                names[target][new] = names[folder].pop(name)
            case _:
                assert self.node is not None
                names[folder][name] = self.node


def snapshot(folder: Path) -> Snapshot:
    """The folder as it is now, itself first, without what SQLite's shared memory is kept in."""
    paths = [folder, *sorted(path for path in folder.rglob("*") if not path.name.endswith("-shm"))]
    return [
        (
            path.relative_to(folder).as_posix() if path != folder else "",
            path.stat().st_ino,
            None if path.is_dir() else path.read_bytes(),
        )
        for path in paths
    ]


class Disk:
    def __init__(self, before: Snapshot) -> None:
        """A disk on which all this is durable."""
        self.root = Node(is_folder=True)
        self._nodes: dict[int, Node] = {}  # by inode
        self._live: dict[str, Node] = {}  # by name, as the process sees it
        self._namings: list[Naming] = []  # not durable
        self._moment = 0
        for name, inode, content in before:
            node = Node(content is None, bytearray(content or b"")) if name else self.root
            self._nodes[inode] = self._live[name] = node
            if name:
                folder, own = self._place(name)
                folder.names[own] = node

    def feed(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self._moment += 1
            self._feed(step)

    def _feed(self, step: Step) -> None:
        match step.what:
            case What.CREATE | What.MKDIR:
                node = Node(step.what is What.MKDIR)
                self._nodes[step.inode] = node
                self._name(step.what, step.name, node)
                self._live[step.name] = node
            case What.LINK:
                self._live[step.other] = self._live[step.name]
                self._name(step.what, step.other, self._live[step.name])
            case What.UNLINK | What.RMDIR:
                del self._live[step.name]
                self._name(step.what, step.name, None)
            case What.RENAME:
                self._live[step.other] = self._live.pop(step.name)
                places = (self._place(step.name), self._place(step.other))
                self._namings.append(Naming(step.what, places, None, self._moment))
            case What.WRITE | What.TRUNCATE | What.ALLOCATE:
                self._nodes[step.inode].pending.append(Change(step, self._moment))
            case What.SYNC:
                self._sync(self._nodes[step.inode])
            case What.SYNC_FAILED:
                for change in self._nodes[step.inode].pending:
                    change.doomed = not change.durable
            case What.SYNC_DIRECTORY:
                self._sync_names(self._nodes[step.inode])
            case What.NOTE:
                pass

    # What a step means

    def _parent(self, name: str) -> Node:
        return self._live[name.rpartition("/")[0]]

    def _place(self, name: str) -> tuple[Node, str]:
        return self._parent(name), name.rpartition("/")[2]

    def _name(self, what: What, name: str, node: Node | None) -> None:
        self._namings.append(Naming(what, (self._place(name),), node, self._moment))

    def _sync(self, node: Node) -> None:
        for change in node.pending:
            change.durable = not change.doomed
        while node.pending and node.pending[0].durable:
            _write(node.content, node.pending.pop(0).step)

    def _sync_names(self, folder: Node) -> None:
        """All changes to this folder's names, and those that they build on."""
        durable: list[Naming] = []
        needed: set[tuple[Node, str]] = set()
        for naming in reversed(self._namings):
            if any(place[0] is folder or place in needed for place in naming.places):
                durable.append(naming)
                needed.update(naming.places)
        names = _Live()
        for naming in reversed(durable):
            naming.apply(names)
            self._namings.remove(naming)

    # What is left of it

    def cut(self, fate: Fate, dice: random.Random) -> Tree:
        """One of the trees that may be found after a power cut now."""
        until = dice.randint(0, self._moment) if fate is Fate.ORDERED else self._moment
        names = _Copied()
        broken: set[tuple[Node, str]] = set()
        for naming in self._namings:
            stays = {
                Fate.LOST: False,
                Fate.BYTES: False,
                Fate.ORDERED: naming.moment <= until,
                Fate.ANY: dice.random() < 0.5,
            }.get(fate, True)
            if stays and broken.isdisjoint(naming.places):
                naming.apply(names)
            else:
                broken.update(naming.places)
        tree: dict[str, bytes | None] = {}
        written: dict[Node, bytes] = {}
        open_folders = [("", self.root)]
        while open_folders:
            path, folder = open_folders.pop()
            for name, node in names[folder].items():
                tree[path + name] = None
                if node.is_folder:
                    open_folders.append((f"{path}{name}/", node))
                else:
                    if node not in written:
                        written[node] = _remains(node, fate, dice, until)
                    tree[path + name] = written[node]
        return tree


class _Live(dict[Node, dict[str, Node]]):
    """The durable names themselves."""

    def __missing__(self, folder: Node) -> dict[str, Node]:
        return folder.names


class _Copied(dict[Node, dict[str, Node]]):
    """The same to try things on."""

    def __missing__(self, folder: Node) -> dict[str, Node]:
        self[folder] = dict(folder.names)
        return self[folder]


def _remains(node: Node, fate: Fate, dice: random.Random, until: int) -> bytes:
    content = bytearray(node.content)
    few = dice.choice((0.0, 0.1, 0.5, 0.9, 1.0))  # each write of this file survives with this chance
    last = dice.randint(0, len(node.pending))  # or those before this one do
    in_order = dice.random() < 0.5
    for number, change in enumerate(node.pending):
        stays = change.durable or {
            Fate.KEPT: True,
            Fate.BYTES: True,
            Fate.ORDERED: change.moment <= until,
            Fate.ANY: number < last if in_order else dice.random() < few,
        }.get(fate, False)
        is_torn = not change.durable and (
            (fate is Fate.ORDERED and change.moment == until) or (fate is Fate.ANY and dice.random() < 0.3)
        )
        if stays and is_torn:
            _tear(content, change.step, dice)
        elif stays:
            _write(content, change.step)
        elif fate is Fate.SIZES:
            _size(content, change.step)
    return bytes(content)


def _write(content: bytearray, step: Step) -> None:
    _size(content, step)
    if step.what is What.WRITE:
        content[step.first : step.first + step.second] = step.data


def _size(content: bytearray, step: Step) -> None:
    if step.what is What.TRUNCATE:
        del content[step.first :]
    end = step.first + step.second
    if len(content) < end:
        content.extend(bytes(end - len(content)))


def _tear(content: bytearray, step: Step, dice: random.Random) -> None:
    """Some of the sectors are written, others are as they were; the size may be what it was, too."""
    if step.what is not What.WRITE:
        return
    sector = dice.choice(SECTORS)
    size = len(content)
    _size(content, step)
    start, end = step.first, step.first + step.second
    kept = 0
    edge = start
    in_order = dice.random() < 0.5
    last = dice.randint(start, end)
    while edge < end:
        following = min(end, (edge // sector + 1) * sector)
        if (edge < last) if in_order else dice.random() < 0.5:
            content[edge:following] = step.data[edge - start : following - start]
            kept = following
        edge = following
    if dice.random() < 0.5:
        del content[max(size, kept) :]


def lay_out(tree: Tree, folder: Path) -> None:
    """The tree, as files."""
    folder.mkdir()
    for name in sorted(tree):
        content = tree[name]
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
