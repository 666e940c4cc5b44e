"""When a recipient is tried next."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.tables import table

from waystation_contract.model import Retry
from waystation_relay.schedule.backoff import (
    LONGEST_ASKED_S,
    expires_at,
    next_attempt,
    wait_s,
    warn_at,
)

NOW = 1_800_000_000.0
UNITS = {"h": 3600, "m": 60, "s": 1}

RETRIES = st.builds(
    Retry,
    first_s=st.floats(1, 7200),
    factor=st.floats(1, 1000),
    max_s=st.floats(1, 86_400),
    jitter_percent=st.integers(0, 100),
    expire_after_s=st.floats(1, 1e6),
)
ROLLS = st.floats(0, 1, exclude_max=True)
ATTEMPTS = st.integers(1, 10_000)


def seconds(text: str) -> int:
    return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)([hms])", text))


@pytest.mark.parametrize("row", table("scheduling.md", "attempt", "wait after it", "with jitter"), ids=str)
def test_documented_wait(row: dict[str, str]) -> None:
    """The waits of docs/scheduling.md are what the defaults give."""
    attempt = int(row["attempt"])
    least, most = map(seconds, row["with jitter"].split(" to "))
    assert wait_s(Retry(), attempt) == seconds(row["wait after it"])
    assert next_attempt(Retry(), attempt, NOW, 0.0, NOW) - NOW == pytest.approx(least)
    assert next_attempt(Retry(), attempt, NOW, 1.0, NOW) - NOW == pytest.approx(most)


@given(RETRIES, ATTEMPTS)
def test_waits_never_shrink(retry: Retry, attempts: int) -> None:
    """Without jitter each wait is at least as long as the one before, and never above the longest."""
    assert wait_s(retry, attempts) <= wait_s(retry, attempts + 1) <= retry.max_s


@given(RETRIES)
def test_first_wait_is_the_first(retry: Retry) -> None:
    """The first retry comes after `first`, so that greylisting costs a minute and not an hour."""
    assert wait_s(retry, 1) == min(retry.first_s, retry.max_s)


@given(RETRIES, ATTEMPTS, ROLLS)
def test_jitter_is_bounded(retry: Retry, attempts: int, roll: float) -> None:
    """A wait is never moved further than the jitter allows."""
    wait, share = wait_s(retry, attempts), retry.jitter_percent / 100
    waited = next_attempt(retry, attempts, 0.0, roll, 1e9)
    assert wait * (1 - share) - 1e-6 <= waited <= wait * (1 + share) + 1e-6


@given(RETRIES, ATTEMPTS, ROLLS, st.floats(0, 2e6), st.none() | st.floats(-10, 1e9))
def test_never_before_now_and_never_after_the_end(
    retry: Retry, attempts: int, roll: float, age_s: float, retry_after_s: float | None
) -> None:
    """Whatever the settings, the age and what the other side asked: due between now and the expiry."""
    due = next_attempt(retry, attempts, NOW, roll, NOW - age_s, retry_after_s)
    assert NOW <= due <= max(NOW, expires_at(retry, NOW - age_s))


@pytest.mark.parametrize(
    ("asked_s", "expected_s"),
    [
        pytest.param(None, 60, id="nothing asked"),
        pytest.param(10, 60, id="less than the wait"),
        pytest.param(300, 300, id="more than the wait"),
        pytest.param(-5, 60, id="nonsense"),
        pytest.param(10 * 86_400, LONGEST_ASKED_S, id="too much to be believed"),
    ],
)
def test_other_side_asks_for_a_time(asked_s: float | None, expected_s: float) -> None:
    """A greylisting server's own time is respected when it is later than ours, within reason."""
    assert next_attempt(Retry(jitter_percent=0), 1, NOW, 0.5, NOW, asked_s) == NOW + expected_s


@given(RETRIES, ATTEMPTS, ROLLS, st.floats(0, LONGEST_ASKED_S))
def test_what_was_asked_is_never_undercut(retry: Retry, attempts: int, roll: float, asked_s: float) -> None:
    """Jitter only adds to the time the other side named: coming early would start greylisting anew."""
    assert next_attempt(retry, attempts, 0.0, roll, 1e9, asked_s) >= asked_s


def test_times_of_a_message() -> None:
    """Expiry and warning count from arrival; a route may go without warnings."""
    retry = Retry(expire_after_s=1000, warn_after_s=100)
    assert expires_at(retry, NOW) == NOW + 1000
    assert warn_at(retry, NOW) == NOW + 100
    assert warn_at(Retry(warn_after_s=0), NOW) is None
