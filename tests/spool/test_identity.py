"""Names of messages: unique, in order of arrival, short enough to read out on the telephone."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.spool.identity import END, Identities, id_of, is_tag, new_tag, queue_id_of

NUMBERS = st.integers(0, END - 1)
TAG = "7F2QX"


@given(NUMBERS)
def test_queue_id_and_number_are_one(number: int) -> None:
    """A queue id names its message and no other, in either case."""
    queue_id = queue_id_of(number, TAG)
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{11}-7F2QX", queue_id)
    assert id_of(queue_id, TAG) == number
    assert id_of(queue_id.lower(), TAG) == number


@given(NUMBERS, NUMBERS)
def test_queue_ids_sort_as_messages_do(one: int, other: int) -> None:
    """Sorted as text, queue ids are in order of arrival."""
    assert (queue_id_of(one, TAG) < queue_id_of(other, TAG)) is (one < other)


FOREIGN = {
    "empty": "",
    "no tag": "1KA3ZQ9W0TH",
    "another spool's": "1KA3ZQ9W0TH-7F2QY",
    "too short": "1KA3ZQ9W0T-7F2QX",
    "too long": "01KA3ZQ9W0TH-7F2QX",
    "letter that is none": "1KA3ZQ9W0TU-7F2QX",
    "Postfix's": "4XyZ7k0tBWz9",
    "other digits": "\u0661KA3ZQ9W0TH-7F2QX",
    "a letter that grows in capitals": "ßKA3ZQ9W0TH-7F2QX",
    "NUL": "1KA3ZQ9W0TH-7F2QX\0",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_foreign_queue_ids_name_nothing(text: str) -> None:
    """What is no queue id of this spool finds nothing; it is never an error."""
    assert id_of(text, TAG) is None


@given(st.lists(st.floats(0, 30_000_000_000, allow_nan=False), min_size=1, max_size=50), NUMBERS)
def test_ids_grow_whatever_the_clock_does(times: list[float], floor: int) -> None:
    """Ids grow and stay above the floor, though the clock jumps or stands still."""
    identities = Identities(TAG, floor)
    given_out = [identities.next(now) for now in times]
    assert given_out[0] >= floor
    assert all(one < other for one, other in itertools.pairwise(given_out))
    assert identities.last == given_out[-1]


def test_id_is_the_time_of_arrival() -> None:
    """With a clock that goes forward an id is its microsecond."""
    assert Identities(TAG, 0).next(1_800_000_000.25) == 1_800_000_000_250_000


def test_tags_are_random_and_recognised() -> None:
    """Each spool has a tag of its own; what could not be one is refused."""
    tags = {new_tag() for _ in range(100)}
    assert len(tags) == 100
    assert all(is_tag(tag) for tag in tags)
    assert not any(is_tag(text) for text in ("", "ABCD", "ABCDEF", "abcde", "AB/DE", "ABCDU", 5, None))
