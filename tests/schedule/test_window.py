"""How many connections a destination gets."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from waystation_relay.schedule.window import (
    CUT_EVERY_S,
    FAILURES_TO_CLOSE,
    FIRST_DELAY_S,
    INITIAL,
    JITTER,
    LONGEST_DELAY_S,
    MEMORY_S,
    Description,
    Phase,
    Verdict,
    Window,
)

T = 1000.0
BAD = [Verdict.BUSY, Verdict.BROKEN]


def fill(window: Window, now: float = T) -> int:
    """Opens all connections the window allows."""
    count = 0
    while window.may_start(now):
        window.acquire(now)
        count += 1
    return count


def fail(window: Window, now: float, verdict: Verdict = Verdict.BROKEN) -> None:
    window.acquire(now)
    window.release(verdict, now)


def closed(limit: int = 20, now: float = T) -> Window:
    window = Window(limit)
    for _ in range(FAILURES_TO_CLOSE):
        fail(window, now)
    assert window.phase is Phase.CLOSED
    return window


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (3, 3), (20, INITIAL)])
def test_starts_small(limit: int, expected: int) -> None:
    """A destination we know nothing about gets a few connections, never more than its limit."""
    assert fill(Window(limit)) == expected


def test_grows_to_its_limit_and_no_further() -> None:
    """Good deliveries earn connections: one each, up to the limit."""
    window = Window(20)
    for _ in range(100):
        fill(window)
        window.succeeded()
    assert window.size == window.in_flight == 20


def test_unused_window_does_not_grow() -> None:
    """One connection that does well for long proves nothing about twenty."""
    window = Window(20)
    window.acquire(T)
    for _ in range(1000):
        window.succeeded()
    assert window.size == INITIAL


@pytest.mark.parametrize("verdict", BAD)
def test_trouble_halves(verdict: Verdict) -> None:
    """A destination that asks to slow down, or drops a connection, gets half as many."""
    window = Window(20)
    for _ in range(20):
        fill(window)
        window.succeeded()
    window.release(verdict, T)
    assert window.size == 10
    assert not window.may_start(T)


def test_connections_failing_together_cut_once() -> None:
    """A burst of 421s says once that it was too much."""
    window = Window(20)
    for _ in range(20):
        fill(window)
        window.succeeded()
    for _ in range(10):
        window.throttled(T)
    assert window.size == 10
    window.throttled(T + CUT_EVERY_S)
    assert window.size == 5


def test_growth_is_slow_above_where_trouble_began() -> None:
    """After a cut the window grows by one a full window of successes, not one a success."""
    window = Window(20)
    fill(window)
    while window.size < 16:
        window.succeeded()
        fill(window)
    window.throttled(T)
    assert window.size == 8
    for expected in (9, 10):
        for _ in range(expected - 2):
            window.succeeded()
        assert window.size == expected - 1
        window.succeeded()
        assert window.size == expected


@pytest.mark.parametrize("limit", [1, 5, 20])
def test_dead_destination_is_closed(limit: int) -> None:
    """Connections that fail in a row, none succeeding, close the window for its first delay."""
    window = Window(limit)
    for _ in range(FAILURES_TO_CLOSE - 1):
        fail(window, T)
    assert window.phase is Phase.OPEN
    fail(window, T)
    assert not window.may_start(T)
    assert window.opens_at(T) == T + FIRST_DELAY_S
    assert not window.may_start(T + FIRST_DELAY_S - 0.1)
    assert window.may_start(T + FIRST_DELAY_S)
    assert window.opens_at(T + FIRST_DELAY_S) is None


def test_success_forgives_failures() -> None:
    """A destination that fails now and then stays open."""
    window = Window(20)
    for _ in range(50):
        window.acquire(T)
        window.succeeded()
        window.release(Verdict.GOOD, T)
        for _ in range(FAILURES_TO_CLOSE - 1):
            fail(window, T)
    assert window.phase is Phase.OPEN


def test_busy_destination_shrinks_before_it_closes() -> None:
    """421 alone closes a window only when a single connection is still too many."""
    window, now, sizes = Window(20), T, []
    while window.phase is Phase.OPEN:
        sizes.append(window.size)
        fail(window, now, Verdict.BUSY)
        now += CUT_EVERY_S
        assert len(sizes) < 50
    assert sizes == [5, 2, 1]


def test_probe_is_alone() -> None:
    """A window that re-opens risks one connection, not five."""
    window = closed()
    now = T + FIRST_DELAY_S
    assert fill(window, now) == 1
    assert window.phase is Phase.PROBING


def test_probe_waits_for_stragglers() -> None:
    """While a connection from before still hangs, no probe is sent: its result could not be told apart."""
    window = Window(20)
    window.acquire(T)
    for _ in range(FAILURES_TO_CLOSE):
        fail(window, T)
    now = T + FIRST_DELAY_S
    assert not window.may_start(now)
    window.release(Verdict.BROKEN, now)
    assert window.may_start(now)


@pytest.mark.parametrize("verdict", BAD)
def test_delay_doubles_up_to_its_longest(verdict: Verdict) -> None:
    """Each probe in vain makes the next wait twice as long, a quarter of an hour at most."""
    window, now, delays = closed(), T, []
    for _ in range(8):
        opens_at = window.opens_at(now)
        assert opens_at is not None
        delays.append(opens_at - now)
        now = opens_at
        fail(window, now, verdict)
    assert delays == [30, 60, 120, 240, 480, 900, 900, 900]
    assert delays[0] == FIRST_DELAY_S
    assert delays[-1] == LONGEST_DELAY_S


def test_successful_probe_opens_and_resets_the_delay() -> None:
    """One delivery through: the window opens small, grows fast, and the next closing is short again."""
    window = closed()
    now = T + FIRST_DELAY_S
    fail(window, now)
    now += 2 * FIRST_DELAY_S
    window.acquire(now)
    window.succeeded()
    assert window.phase is Phase.OPEN
    assert window.may_start(now)
    window.release(Verdict.GOOD, now)
    for _ in range(FAILURES_TO_CLOSE):
        fail(window, now)
    assert window.opens_at(now) == now + FIRST_DELAY_S


def test_probe_that_ends_without_trouble_opens() -> None:
    """A probe connection that delivered nothing but was fine shows the destination alive."""
    window = closed()
    now = T + FIRST_DELAY_S
    window.acquire(now)
    window.release(Verdict.GOOD, now)
    assert window.phase is Phase.OPEN


def test_straggler_that_delivers_opens() -> None:
    """A delivery on an old connection proves a closed destination alive."""
    window = Window(20)
    window.acquire(T)
    for _ in range(FAILURES_TO_CLOSE):
        fail(window, T)
    window.succeeded()
    assert window.phase is Phase.OPEN
    assert window.opens_at(T) is None


@pytest.mark.parametrize(("roll", "expected"), [(0.0, 1 - JITTER), (0.5, 1.0), (1.0, 1 + JITTER)])
def test_delay_has_jitter(roll: float, expected: float) -> None:
    """Relays that lost a destination together do not come back to it together."""
    window = Window(1)
    for _ in range(FAILURES_TO_CLOSE):
        window.acquire(T)
        window.release(Verdict.BROKEN, T, roll)
    assert window.opens_at(T) == pytest.approx(T + FIRST_DELAY_S * expected)


def test_reopen_lets_a_probe_go_at_once() -> None:
    """A person who says "retry now" need not wait for the delay; the probe stays alone."""
    window = closed()
    window.reopen()
    assert window.opens_at(T) is None
    assert fill(window) == 1


def test_limit_follows_the_configuration() -> None:
    """A lower limit holds for new connections at once; a higher one lets the window grow on."""
    window = Window(20)
    for _ in range(20):
        fill(window)
        window.succeeded()
    window.set_limit(4)
    assert (window.size, window.in_flight) == (4, 20)
    assert not window.may_start(T)
    for _ in range(16):
        window.release(Verdict.GOOD, T)
    assert not window.may_start(T)
    window.set_limit(30)
    for _ in range(30):
        fill(window)
        window.succeeded()
    assert window.size == 30


def test_forgettable() -> None:
    """An unused destination without recent trouble is forgotten; one that was dead is remembered a while."""
    fresh = Window(20)
    assert fresh.is_forgettable(T)
    fresh.acquire(T)
    assert not fresh.is_forgettable(T)
    dead = closed()
    assert not dead.is_forgettable(T + FIRST_DELAY_S + MEMORY_S - 1)
    assert dead.is_forgettable(T + FIRST_DELAY_S + MEMORY_S)


def test_overfull() -> None:
    """After a cut, a lower limit or a closing there are more connections than there should be."""
    window = Window(20)
    fill(window)
    assert not window.is_overfull
    window.throttled(T)
    assert window.is_overfull
    while window.in_flight > window.size:
        window.release(Verdict.GOOD, T)
    assert not window.is_overfull
    window.set_limit(1)
    assert window.is_overfull
    assert closed().is_overfull


def test_describe() -> None:
    """An administrator sees the phase, the figures and how long a closed window stays closed."""
    assert closed(limit=20).describe(T + 10) == Description(
        Phase.CLOSED, in_flight=0, size=1, limit=20, failures=3, opens_in_s=20.0
    )
    assert Window(3).describe(T) == Description(Phase.OPEN, 0, 3, 3, 0, None)


class AnyUse(RuleBasedStateMachine):
    """Every order of calls a dispatcher could make."""

    @initialize(limit=st.integers(1, 30))
    def begin(self, limit: int) -> None:
        self.window = Window(limit)
        self.now = T
        self.last_bad = 0  # in a row

    @rule(seconds=st.floats(0, 2000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.window.may_start(self.now))
    @rule()
    def acquire(self) -> None:
        before = self.window.in_flight
        assert before < self.window.size or self.window.phase is Phase.CLOSED
        self.window.acquire(self.now)
        assert self.window.in_flight == before + 1
        assert self.window.in_flight <= self.window.limit

    @precondition(lambda self: self.window.in_flight)
    @rule(verdict=st.sampled_from(Verdict), roll=st.floats(0, 1, exclude_max=True))
    def release(self, verdict: Verdict, roll: float) -> None:
        size, before = self.window.size, self.window.in_flight
        self.window.release(verdict, self.now, roll)
        assert self.window.in_flight == before - 1
        assert self.window.size <= size

    @precondition(lambda self: self.window.in_flight)
    @rule()
    def succeed(self) -> None:
        size = self.window.size
        self.window.succeeded()
        assert self.window.phase is Phase.OPEN
        assert size <= self.window.size <= size + 1

    @precondition(lambda self: self.window.in_flight)
    @rule()
    def throttle(self) -> None:
        self.window.throttled(self.now)

    @rule(limit=st.integers(1, 30))
    def set_limit(self, limit: int) -> None:
        self.window.set_limit(limit)

    @rule()
    def reopen(self) -> None:
        self.window.reopen()

    @invariant()
    def bounds(self) -> None:
        window = self.window
        assert window.in_flight >= 0
        assert 1 <= window.size <= window.limit
        if window.phase is Phase.PROBING:
            assert window.in_flight == 1
            assert not window.may_start(self.now)
        opens_at = window.opens_at(self.now)
        if opens_at is not None:
            assert self.now < opens_at <= self.now + LONGEST_DELAY_S * (1 + JITTER)
            assert not window.may_start(self.now)

    @invariant()
    def never_stuck(self) -> None:
        """With nothing in flight a connection may be opened, sooner or later."""
        if not self.window.in_flight:
            assert self.window.may_start(self.now + LONGEST_DELAY_S * (1 + JITTER))


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
