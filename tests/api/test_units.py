"""Durations and quantities, as people write them and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_operator.api import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0s", 0, id="zero"),
        pytest.param("90s", 90, id="seconds"),
        pytest.param("1m", 60, id="minutes"),
        pytest.param("4h", 14_400, id="hours"),
        pytest.param("5d", 432_000, id="days"),
        pytest.param("1h30m", 5_400, id="two units"),
        pytest.param("1d2h3m4s", 93_784, id="all units"),
        pytest.param("3650d", 315_360_000, id="ten years"),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is the sum of its parts, in seconds."""
    assert units.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-1s", "1 h", "1w", "1H", "1h ", "1ms", "٣s", "1h\n"])
def test_not_a_duration(text: str) -> None:
    """Anything else is refused with an example of what to write."""
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit"):
        units.seconds(text)


def test_longest_duration() -> None:
    """Beyond ten years it is a mistake."""
    with pytest.raises(ValueError, match="longer than ten years"):
        units.seconds("3650d1s")


@given(st.integers(0, 3650 * 86_400))
def test_durations_survive_writing(value: int) -> None:
    """What is written out is read as the same number, and is a text the API server takes."""
    text = units.duration(float(value))
    assert units.seconds(text) == value
    assert len(text) <= 24


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("1024", 1024, id="bytes"),
        pytest.param("1k", 1000, id="k"),
        pytest.param("1Ki", 1024, id="Ki"),
        pytest.param("10Gi", 10 * 2**30, id="Gi"),
        pytest.param("1.5Gi", 3 * 2**29, id="fraction"),
        pytest.param("0.1M", 100_000, id="decimal fraction"),
        pytest.param("2P", 2 * 10**15, id="P"),
    ],
)
def test_quantities(text: str, size: int) -> None:
    """Kubernetes' suffixes: those with i are powers of 1024, the others of 1000."""
    assert units.size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "Gi", "10GB", "10 Gi", "10gi", "-1Gi", "1e3", "1,5Gi", "10Gi\n", ".5Gi"]
)
def test_not_a_quantity(text: str) -> None:
    """Anything else is refused with an example of what to write."""
    with pytest.raises(ValueError, match="is not a quantity; write a number and a unit"):
        units.size_bytes(text)


def test_largest_quantity() -> None:
    """No volume has more than an exbibyte."""
    with pytest.raises(ValueError, match="larger than any volume"):
        units.size_bytes("1025Pi")


@given(st.integers(0, 2**60))
def test_quantities_survive_writing(value: int) -> None:
    """What is written out is read as the same number."""
    assert units.size_bytes(units.quantity(value)) == value
