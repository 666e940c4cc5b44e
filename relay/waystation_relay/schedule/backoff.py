"""When a recipient is tried next, and when its sender is told: RFC 5321 §4.5.4.1.

The wait after attempt n is ``first_s * factor ** (n - 1)``, at most ``max_s``,
moved by up to ``jitter_percent`` either way so that mail deferred together does
not return together. Greylisting servers let the second attempt pass after a
minute or so, which is why the first waits are the short ones.

Invariants
    now <= next_attempt() <= max(now, expires_at()): nothing is due after its
    end, so mail gets its last attempt, and its bounce, when it expires.
    Without jitter the waits never shrink as attempts grow.
"""

import math
from collections.abc import Iterable

from waystation_contract.model import Retry

# The longest a server may ask us to stay away: greylisting wants minutes, hourly quotas an hour.
LONGEST_ASKED_S = 4 * 3600.0


def wait_s(retry: Retry, attempts: int) -> float:
    """The wait after the ``attempts``-th attempt, without jitter."""
    assert attempts >= 1
    if retry.first_s >= retry.max_s:
        return retry.max_s
    if (attempts - 1) * math.log(retry.factor) >= math.log(retry.max_s / retry.first_s):
        return retry.max_s  # decided by logarithms: the power of a large number of attempts overflows
    return min(retry.first_s * retry.factor ** (attempts - 1), retry.max_s)


def next_attempt(
    retry: Retry,
    attempts: int,
    now: float,
    roll: float,
    arrival: float,
    retry_after_s: float | None = None,
) -> float:
    """When to try again after ``attempts`` attempts, the last one just now; Unix seconds.

    ``roll`` in [0, 1) places the wait within its jitter, 0.5 in the middle. When
    the other side asked for a time of its own (``retry_after_s``), the later of
    the two holds, and jitter only adds to what was asked.
    """
    jitter = retry.jitter_percent / 100
    due = now + wait_s(retry, attempts) * (1 + jitter * (2 * roll - 1))
    if retry_after_s is not None:
        due = max(due, now + min(max(retry_after_s, 0.0), LONGEST_ASKED_S) * (1 + jitter * roll))
    return max(now, min(due, expires_at(retry, arrival)))


def longest_wait_s(retries: Iterable[Retry]) -> float:
    """No ``next_attempt`` by any of these lies further ahead, wherever the dice fall."""
    return max(max(retry.max_s, LONGEST_ASKED_S) * (1 + retry.jitter_percent / 100) for retry in retries)


def expires_at(retry: Retry, arrival: float) -> float:
    """When a recipient still not delivered is given up, Unix seconds."""
    return arrival + retry.expire_after_s


def warn_at(retry: Retry, arrival: float) -> float | None:
    """When the sender is told of the delay, Unix seconds; None when the route does not warn."""
    return arrival + retry.warn_after_s if retry.warn_after_s > 0 else None
