"""Figures in messages of conditions, rounded: a status is written when its text changes.

Exact figures are in the status's own fields and in the metrics.
"""

_STEPS = (
    (600, "10 minutes"),
    (3600, "hour"),
    (21_600, "6 hours"),
    (86_400, "day"),
    (604_800, "week"),
)


def within(seconds: float) -> str:
    """``within the last hour``"""
    found = next((words for most, words in _STEPS if seconds <= most), "")
    return f"within the last {found}" if found else "more than a week ago"


def about(count: int) -> str:
    """7 → ``7``; 123 → ``about 100``; 98765 → ``about 90000``."""
    if count < 10:
        return str(count)
    size = 10 ** (len(str(count)) - 1)
    return f"about {count // size * size}"


def counted(count: int, noun: str, verb: str) -> str:
    """``1 recipient waits``, ``about 100 recipients wait``: ``verb`` as of many."""
    return f"1 {noun} {verb}s" if count == 1 else f"{about(count)} {noun}s {verb}"


def longer_than(seconds: float) -> str:
    """``1 minute``, ``2 hours``: the largest whole unit that fits."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "no time"
