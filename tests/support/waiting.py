"""Waiting for other processes: look again until it is so, or fail with what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str, *, within_s: float = 10.0, every_s: float = 0.01) -> T:
    """What ``look`` returns once that is truthy; AssertionError naming ``what`` after ``within_s``."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s for {what}; last seen: {seen!r}")
        time.sleep(every_s)
    return seen
