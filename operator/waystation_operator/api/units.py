"""Durations and quantities as people write them, and back.

``1h30m`` is a duration in days, hours, minutes and seconds; ``10Gi`` is a
quantity as Kubernetes writes them, here always bytes. Reading answers a
number or raises ``ValueError`` with the problem and the remedy.
"""

import re
from decimal import Decimal

DURATION = r"([0-9]+[dhms])+"
QUANTITY = r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?"

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_FACTORS = {
    **{letter + "i": 2 ** (10 * n) for n, letter in enumerate("KMGTP", start=1)},
    **{letter: 10 ** (3 * n) for n, letter in enumerate("kMGTP", start=1)},
    "": 1,
}
_MAX_DURATION_S = 3650 * 86_400
_MAX_BYTES = 2**60


def seconds(text: str) -> float:
    """``5d`` → 432000.0."""
    if not re.fullmatch(DURATION, text):
        raise ValueError(
            "is not a duration; write a number and a unit, d, h, m or s, such as 90s, 4h or 1h30m"
        )
    total = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([dhms])", text))
    if total > _MAX_DURATION_S:
        raise ValueError("is longer than ten years; write a shorter duration")
    return float(total)


def duration(value: float) -> str:
    """432000.0 → ``5d``: the shortest text that :func:`seconds` reads as this number."""
    rest, parts = round(value), []
    for unit, size in _SECONDS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def size_bytes(text: str) -> int:
    """``10Gi`` → 10737418240."""
    if not re.fullmatch(QUANTITY, text):
        raise ValueError("is not a quantity; write a number and a unit such as 500Mi, 10Gi or 1Ti")
    number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr] # matched above
    size = Decimal(number) * _FACTORS[suffix]
    if size > _MAX_BYTES:
        raise ValueError("is larger than any volume; write a smaller quantity")
    return int(size)


def quantity(value: int) -> str:
    """10737418240 → ``10Gi``."""
    for suffix in ("Pi", "Ti", "Gi", "Mi", "Ki"):
        if value and value % _FACTORS[suffix] == 0:
            return f"{value // _FACTORS[suffix]}{suffix}"
    return str(value)
