"""What is due soon: a bounded set of (due, id), earliest first.

Only a part of the queue is in it; the rest waits on disk, and what finds no
room is found there when its time comes. An id is held once: adding it again
moves it. Forgotten and moved entries stay in the heap as garbage until they
surface or outnumber the living.

Invariants
    len(agenda) <= capacity; the heap is at most twice that plus a constant.
    Entries leave in the order of (due, id).
"""

import heapq

_GARBAGE_FLOOR = 64  # below this the heap is not worth sweeping


class Agenda:
    __slots__ = ("_due", "_heap", "capacity")

    def __init__(self, capacity: int) -> None:
        assert capacity > 0
        self.capacity = capacity
        self._due: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, id_: int) -> bool:
        return id_ in self._due

    def has_room(self, count: int = 1) -> bool:
        return len(self._due) + count <= self.capacity

    def add(self, due: float, id_: int) -> bool:
        """Holds ``id_`` until ``due``, moving it if it is held already; False when there is no room."""
        held = self._due.get(id_)
        if held is None and len(self._due) >= self.capacity:
            return False
        if held != due:
            self._due[id_] = due
            heapq.heappush(self._heap, (due, id_))
            self._sweep()
        return True

    def forget(self, id_: int) -> None:
        """Lets go of ``id_``; nothing happens when it is not held."""
        if self._due.pop(id_, None) is not None:
            self._sweep()

    def pop_due(self, now: float, limit: int) -> list[int]:
        """The ids due by ``now``, at most ``limit``, earliest first; they are no longer held."""
        ids: list[int] = []
        while len(ids) < limit:
            due = self.next_due()
            if due is None or due > now:
                break
            _, id_ = heapq.heappop(self._heap)
            del self._due[id_]
            ids.append(id_)
        return ids

    def next_due(self) -> float | None:
        """When the earliest entry is due; None when there is none."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    @property
    def garbage(self) -> int:
        """Entries of the heap that stand for nothing any more."""
        return len(self._heap) - len(self._due)

    def _sweep(self) -> None:
        if self.garbage > len(self._due) + _GARBAGE_FLOOR:
            self._heap = [(due, id_) for id_, due in self._due.items()]
            heapq.heapify(self._heap)
