"""Whose turn it is to open a connection when slots are short.

Servers that accept a connection and then say nothing hold its slot until a
time-out, which may be ten minutes away. However many of them there are, one
slot in ``SHARE`` is out of their reach: it is for *proven* destinations, which
answered when mail was last sent to them. Others share the rest. Proven and
others that wait have their turns alternately, in the order of asking.

Invariants
    ``unproven`` is the sum of the slots held by lanes that are not proven.
    Nobody who waits is passed over while a slot is free that it may have.
Known limits
    A proven destination that falls silent keeps what it has open until that times out.
    What is proven is forgotten on restart.
"""

from waystation_relay.delivery.target import Target
from waystation_relay.dispatch.lane import Lane

SHARE = 5
REMEMBERED = 10_000  # proven destinations whose lanes are gone


class Turns:
    """Called with the number of slots ``free`` at that moment."""

    def __init__(self, slots: int) -> None:
        self.unproven = 0
        self._most_unproven = slots - slots // SHARE
        self._proven: dict[Lane, None] = {}
        self._others: dict[Lane, None] = {}
        self._others_next = False
        self._remembered: dict[Target, None] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._proven or self._others)

    # What lanes hold

    def taken(self, lane: Lane) -> None:
        lane.slots += 1
        if not lane.proven:
            self.unproven += 1

    def given_back(self, lane: Lane) -> None:
        lane.slots -= 1
        if not lane.proven:
            self.unproven -= 1

    def prove(self, lane: Lane, *, answers: bool) -> None:
        if answers is not lane.proven:
            lane.proven = answers
            self.unproven += -lane.slots if answers else lane.slots

    def begins(self, lane: Lane) -> None:
        lane.proven = self._remembered.pop(lane.target, self) is None

    def ends(self, lane: Lane) -> None:
        if lane.proven:
            if len(self._remembered) >= REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[lane.target] = None

    # Who waits

    def may_open(self, lane: Lane, free: int) -> bool:
        return free > 0 and (lane.proven or self.unproven < self._most_unproven)

    def wait(self, lane: Lane) -> None:
        (self._proven if lane.proven else self._others)[lane] = None

    def next(self, free: int) -> Lane | None:
        """Who has its turn, and waits no longer; ``None`` when there is no slot for anybody who waits."""
        others = self._others if self.unproven < self._most_unproven else None
        waiting = (others or self._proven) if self._others_next else (self._proven or others)
        if free <= 0 or not waiting:
            return None
        self._others_next = waiting is self._proven
        lane = next(iter(waiting))
        del waiting[lane]
        return lane

    def to_give_way(self, idle: int, unused: int) -> int:
        """How many idle connections are to be closed, so that who waits has its turn. The ``unused`` ones
        among them carried nothing yet: closed, they make room for others like them."""
        others = min(len(self._others), max(0, self._most_unproven - self.unproven) + unused)
        return min(idle, len(self._proven) + others)
