"""What reports say to people."""

import pytest

from waystation_relay.bounce.words import WORDS, duration
from waystation_relay.mail.outcome import Reason


def test_every_reason_has_words() -> None:
    """No reason is left without a sentence and advice."""
    assert set(WORDS) == set(Reason)
    for words in WORDS.values():
        assert not words.why.endswith(".")
        assert words.why[0].islower()
        assert words.remedy.endswith(".")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (1.5, "2 seconds"),
        (60, "1 minute"),
        (90, "2 minutes"),
        (80, "80 seconds"),
        (3600, "1 hour"),
        (14_400, "4 hours"),
        (86_400, "1 day"),
        (432_000, "5 days"),
        (432_700, "5 days"),
        (-5, "0 seconds"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Waiting times are told as people tell them."""
    assert duration(seconds) == text
