"""The clocks."""

import time

from waystation_relay.aio.clock import ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_told() -> None:
    """Time passes when the test says so, on both hands alike."""
    clock = ManualClock(100.0)
    before = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == before
    clock.advance(5)
    assert (clock.now(), clock.monotonic()) == (before[0] + 5, before[1] + 5)


def test_setting_the_clock_moves_the_wall_alone() -> None:
    """When somebody sets the machine's clock, time-outs do not notice."""
    clock = ManualClock(100.0)
    steady = clock.monotonic()
    clock.jump(-50)
    assert (clock.now(), clock.monotonic()) == (50.0, steady)


def test_the_system_clock_is_the_systems() -> None:
    """Unix time, and a hand that never goes back."""
    clock = SystemClock()
    assert abs(clock.now() - time.time()) < 5
    assert clock.monotonic() <= clock.monotonic()
