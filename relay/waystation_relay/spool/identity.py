"""Names for messages: an integer for this spool, a text for the world.

An id is the microsecond it was given out, or one more than the last: it
orders by arrival and never repeats, not even after the clock was set back
across a restart, because the index keeps a *floor* above every id it has ever
held (``RESERVED`` ahead, exact after a clean close).

A queue id is the id in Crockford's base 32 (11 characters, so it sorts as the
id does) and the spool's own five random characters: ``1KA3ZQ9W0TH-7F2QX``.
"""

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
ID_LENGTH = 11
TAG_LENGTH = 5
END = 32**ID_LENGTH  # ids are below: the year 3111
# Ten seconds' worth: the floor is rewritten no more often, and a crash loop runs ahead of time by no more.
RESERVED = 10_000_000


def new_tag() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(TAG_LENGTH))


def is_tag(text: object) -> bool:
    return isinstance(text, str) and len(text) == TAG_LENGTH and all(letter in VALUES for letter in text)


def queue_id_of(number: int, tag: str) -> str:
    return (
        f"{ALPHABET[number >> 50 & 31]}{PAIRS[number >> 40 & 1023]}{PAIRS[number >> 30 & 1023]}"
        f"{PAIRS[number >> 20 & 1023]}{PAIRS[number >> 10 & 1023]}{PAIRS[number & 1023]}-{tag}"
    )


def id_of(queue_id: str, tag: str) -> int | None:
    """The message's id, ``None`` when this is no queue id of the spool with that tag."""
    digits, _, its_tag = queue_id.upper().partition("-")
    if its_tag != tag or len(digits) != ID_LENGTH or not all(letter in VALUES for letter in digits):
        return None
    number = 0
    for letter in digits:
        number = number << 5 | VALUES[letter]
    return number


def is_queue_id(text: str) -> bool:
    """Whether some spool may have given this name."""
    digits, _, tag = text.partition("-")
    return len(digits) == ID_LENGTH and all(letter in VALUES for letter in digits) and is_tag(tag)


class Identities:
    """Gives out ids; belongs to the event loop's thread."""

    __slots__ = ("_last", "tag")

    def __init__(self, tag: str, floor: int) -> None:
        self._last = floor - 1
        self.tag = tag

    def next(self, now: float) -> int:
        """The id of a message that arrives ``now``."""
        self._last = number = max(self._last + 1, int(now * 1_000_000))
        return number

    @property
    def last(self) -> int:
        return self._last
