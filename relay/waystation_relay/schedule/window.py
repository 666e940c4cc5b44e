"""How many connections a destination bears, learned from how it takes them.

A window opens small, grows while deliveries go well, halves when the
destination asks to slow down or drops connections, and closes when nothing
succeeds any more. A closed window re-opens after a delay that doubles each
time in vain; then one single connection, the probe, decides. Pure: the caller
gives the time (seconds that never go back) and reports what happened.

          failures without a success              delay over: acquire()
    OPEN ───────────────────────────> CLOSED ─────────────────────────> PROBING
     ^                                 ^  │ any success                   │  │
     │                                 │  └──────────> OPEN              │  │
     │                                 └───────── busy or broken ─────────┘  │
     └───────────────────────────── success ─────────────────────────────────┘

Growth is by one a success up to the size at which trouble last began, then by
one a full window of successes; and only while at least half the window is in
use, since an idle window proves nothing.

Invariants
    0 <= in_flight; 1 <= size <= limit; a slot is granted only below ``size``,
    while open; while probing there is exactly one slot in flight.
    At most one cut in ``CUT_EVERY_S``: connections that fail together say one thing.
Errors
    AssertionError: acquire() when may_start() says no, release() without acquire().
Known limits
    Windows are forgotten on restart.
"""

import enum

import msgspec

INITIAL = 5
FAILURES_TO_CLOSE = 3
FIRST_DELAY_S = 30.0
LONGEST_DELAY_S = 900.0
CUT_EVERY_S = 1.0
JITTER = 0.1  # of the delay, either way
MEMORY_S = 1800.0  # how long past trouble is worth remembering for an unused destination


class Verdict(enum.Enum):
    """What a connection's use says about the destination, not about the mail."""

    GOOD = "good"
    BUSY = "busy"  # alive, and asks to slow down: 421, throttled
    BROKEN = "broken"  # refused, timed out, lost


class Phase(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    PROBING = "probing"


class Description(msgspec.Struct, frozen=True, gc=False):
    """A window as an administrator sees it."""

    phase: Phase
    in_flight: int
    size: int
    limit: int
    failures: int  # since the last success
    opens_in_s: float | None


class Window:
    __slots__ = (
        "_closed_until", "_cut_again_at", "_delay_s", "_limit", "_phase", "_size", "_streak", "_threshold",
        "_troubled_at", "failures", "in_flight",
    )  # fmt: skip

    def __init__(self, limit: int) -> None:
        assert limit >= 1
        self.in_flight = 0
        self.failures = 0  # busy or broken, since the last success
        self._limit = limit
        self._size = min(INITIAL, limit)
        self._threshold = limit  # below it growth is by one a success
        self._streak = 0  # successes towards the next step above it
        self._cut_again_at = 0.0
        self._phase = Phase.OPEN
        self._delay_s = FIRST_DELAY_S
        self._closed_until = 0.0
        self._troubled_at: float | None = None

    @property
    def size(self) -> int:
        return self._size

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def phase(self) -> Phase:
        return self._phase

    def may_start(self, now: float) -> bool:
        """Whether another connection may be opened."""
        if self._phase is Phase.OPEN:
            return self.in_flight < self._size
        return self._phase is Phase.CLOSED and not self.in_flight and now >= self._closed_until

    @property
    def is_overfull(self) -> bool:
        """More in flight than there should be now: whoever is done with a connection lets it go."""
        return self._phase is Phase.CLOSED or self.in_flight > self._size

    def acquire(self, now: float) -> None:
        """Takes a slot; on a closed window whose delay is over, the probe's."""
        assert self.may_start(now)
        if self._phase is Phase.CLOSED:
            self._phase = Phase.PROBING
        self.in_flight += 1

    def release(self, verdict: Verdict, now: float, roll: float = 0.5) -> None:
        """Gives a slot back; ``roll`` in [0, 1) places a delay in its jitter.

        ``GOOD`` is a connection that ended without trouble: it re-opens a window it
        was the probe of, and makes none grow (what it delivered, ``succeeded`` told).
        """
        assert self.in_flight
        self.in_flight -= 1
        if verdict is not Verdict.GOOD:
            self._trouble(verdict, now, roll)
        elif self._phase is Phase.PROBING:
            self._open()

    def succeeded(self) -> None:
        """A delivery went well; its connection stays in flight."""
        self.failures = 0
        self._delay_s = FIRST_DELAY_S
        if self._phase is not Phase.OPEN:
            self._open()
        if self._size >= self._limit or self.in_flight * 2 < self._size:
            return
        self._streak += 1
        if self._size < self._threshold or self._streak >= self._size:
            self._size += 1
            self._streak = 0

    def throttled(self, now: float, roll: float = 0.5) -> None:
        """The destination asked to slow down; the connection stays in flight."""
        self._trouble(Verdict.BUSY, now, roll)

    def opens_at(self, now: float) -> float | None:
        """When a closed window may be probed; None when it is open, being probed, or may be probed now."""
        return self._closed_until if self._phase is Phase.CLOSED and now < self._closed_until else None

    def reopen(self) -> None:
        """Somebody asked for an attempt now: a closed window may be probed at once."""
        self._closed_until = 0.0

    def set_limit(self, limit: int) -> None:
        """A new limit; connections above it go when what they do is done (``is_overfull``)."""
        assert limit >= 1
        if self._threshold == self._limit:
            self._threshold = limit
        self._limit = limit
        self._threshold = min(self._threshold, limit)
        self._size = min(self._size, limit)

    def is_forgettable(self, now: float) -> bool:
        """Unused, and without trouble recent enough to be worth keeping."""
        if self.in_flight:
            return False
        return self._troubled_at is None or now >= max(self._troubled_at, self._closed_until) + MEMORY_S

    def describe(self, now: float) -> Description:
        opens_at = self.opens_at(now)
        return Description(
            self._phase,
            self.in_flight,
            self._size,
            self._limit,
            self.failures,
            None if opens_at is None else opens_at - now,
        )

    def _trouble(self, verdict: Verdict, now: float, roll: float) -> None:
        self._troubled_at = now
        self.failures += 1
        if self._phase is Phase.PROBING:
            self._close(now, roll)
            return
        if self._phase is Phase.CLOSED:
            return  # a straggler from before: it says nothing new
        if self.failures >= FAILURES_TO_CLOSE and (verdict is Verdict.BROKEN or self._size == 1):
            self._close(now, roll)
        elif now >= self._cut_again_at:
            self._cut_again_at = now + CUT_EVERY_S
            self._size = self._threshold = max(1, self._size // 2)
            self._streak = 0

    def _close(self, now: float, roll: float) -> None:
        self._phase = Phase.CLOSED
        self._closed_until = now + self._delay_s * (1 + JITTER * (2 * roll - 1))
        self._delay_s = min(self._delay_s * 2, LONGEST_DELAY_S)
        self._threshold = max(1, self._size // 2)
        self._size = 1
        self._streak = 0

    def _open(self) -> None:
        self._phase = Phase.OPEN
        self._closed_until = 0.0
