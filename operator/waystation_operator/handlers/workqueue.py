"""Which pool to look at next: a queue of keys, each at most once.

Pure: the caller supplies the time and the dice. Workers ``take`` a key, do
their work, and say with ``done`` how it went.

Invariants
    A key that is being worked on is not given out again before it is done.
    A key that is added meanwhile is given out once more afterwards.
    A key's failures delay that key alone, the more the longer they last; an
    event that only echoes does not cut the delay short, a wish of somebody does.
    Starts of one key are at least ``gap_s`` apart.
"""

import enum
import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

FIRST_S = 1.0
MOST_S = 60.0
GAP_S = 0.25
JITTER = 0.25

Key = TypeVar("Key", bound=Hashable)


class Cause(enum.Enum):
    """``WISH``: somebody wants something else; ``ECHO``: the world moved, perhaps because of us."""

    WISH = "wish"
    ECHO = "echo"


@dataclass(slots=True)
class _Entry:
    due: float | None = None  # when to give it out; None: not waiting
    waiting_since: float = 0.0  # when it was first due
    started: float = float("-inf")
    running: bool = False
    wished: bool = False  # somebody wished since the last start
    failures: int = 0
    not_before: float = float("-inf")  # the back-off


class WorkQueue(Generic[Key]):
    """``roll`` gives numbers in [0, 1)."""

    def __init__(self, roll: Callable[[], float], *, gap_s: float = GAP_S) -> None:
        self._roll, self._gap_s = roll, gap_s
        self._entries: dict[Key, _Entry] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0

    def add(self, key: Key, now: float, cause: Cause = Cause.WISH) -> None:
        """Look at ``key`` as soon as its back-off and the gap allow."""
        entry = self._entries.setdefault(key, _Entry())
        if cause is Cause.WISH:
            entry.wished, entry.not_before = True, float("-inf")
        self._schedule(key, entry, max(now, entry.not_before, entry.started + self._gap_s))

    def take(self, now: float) -> Key | None:
        """The key that has been due the longest, or None when none is due."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.due != due or entry.running:
                continue  # it was scheduled anew, forgotten, or will be when it is done
            entry.due, entry.running, entry.wished, entry.started = None, True, False, now
            return key
        return None

    def done(self, key: Key, now: float, again_after_s: float | None = None) -> None:
        """It went well; ``again_after_s``: look again then, whatever happens."""
        entry = self._entries[key]
        assert entry.running
        entry.running, entry.failures, entry.not_before = False, 0, float("-inf")
        if entry.due is not None:
            due, entry.due = entry.due, None
            self._schedule(key, entry, due)
        if again_after_s is not None:
            self._schedule(key, entry, now + max(again_after_s, self._gap_s))

    def failed(self, key: Key, now: float) -> float:
        """It went wrong; returns after how many seconds it is tried again unless somebody wishes."""
        entry = self._entries[key]
        assert entry.running
        entry.running, entry.due = False, None
        entry.failures += 1
        delay = min(MOST_S, FIRST_S * 2.0 ** min(entry.failures - 1, 16)) * (1 - JITTER * self._roll())
        if not entry.wished:  # a wish that came meanwhile may have put right what went wrong
            entry.not_before = now + delay
        self._schedule(key, entry, max(now, entry.not_before, entry.started + self._gap_s))
        return delay

    def forget_idle(self, key: Key) -> None:
        """There is nothing to do about it any more, unless it was added meanwhile."""
        entry = self._entries.get(key)
        if entry is not None and entry.due is None and not entry.running:
            del self._entries[key]

    def next_due(self) -> float | None:
        """When ``take`` will next have something."""
        while self._heap:
            due, _, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.due == due and not entry.running:
                return due
            heapq.heappop(self._heap)
        return None

    def depth(self, now: float) -> int:
        """How many keys are due and wait for a worker."""
        return sum(1 for e in self._entries.values() if self._waits(e, now))

    def oldest_s(self, now: float) -> float:
        """For how long the key that waits the longest has been due."""
        ages = [now - e.waiting_since for e in self._entries.values() if self._waits(e, now)]
        return max(ages, default=0.0)

    def running(self) -> int:
        return sum(1 for entry in self._entries.values() if entry.running)

    def _waits(self, entry: _Entry, now: float) -> bool:
        return entry.due is not None and entry.due <= now and not entry.running

    def _schedule(self, key: Key, entry: _Entry, due: float) -> None:
        if entry.due is not None and entry.due <= due:
            return
        entry.due = entry.waiting_since = due
        if not entry.running:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, key))
