"""What a spool was asked, what it answered, and what must therefore be found later.

Everything is kept as one line of JSON a note, so that a run's notes can lie in
the shim's journal between the changes on disk: the notes before a cut are what
the world had been told by then.

A message is known by the number in its text. A *picture* is all that is to be
seen of it. An *ask* says which pictures change if it is carried out: all of
them, or none. While it is unanswered either is right; ``done`` makes it fact,
``failed`` means that it is not in the queue, ``unsure`` that nobody knows.
Whoever opens the spool after a kill settles what was open by what it finds, and
that is fact from then on.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tests.support.spools import text


class Pending(NamedTuple):
    """A recipient that is still in the queue."""

    number: int
    status: int
    due: float
    attempts: int
    hold: str


class Picture(NamedTuple):
    sender: str
    recipients: tuple[str, ...]
    size_bytes: int
    pending: tuple[Pending, ...]


Pictures = Mapping[int, Picture]  # by the message's number
HEAD_BYTES = 8  # what ``text`` puts the number in


def content_of(number: int, size_bytes: int) -> bytes:
    assert size_bytes >= HEAD_BYTES
    return text(size_bytes, number)


def number_of(content: bytes) -> int:
    return int(content[:HEAD_BYTES])


class Ledger:
    """Asks and answers up to some moment."""

    def __init__(self) -> None:
        self.facts: dict[int, Picture] = {}
        self.open: dict[int, dict[int, Picture | None]] = {}  # by the ask's number
        self.asks = 0  # the last one's number
        self.messages = 0  # the highest number of one

    @classmethod
    def of(cls, notes: Iterable[str]) -> "Ledger":
        ledger = cls()
        for note in notes:
            ledger.hear(json.loads(note))
        return ledger

    def hear(self, note: dict[str, object]) -> None:
        match note:
            case {"ask": int(ask), "changes": dict(changes)}:
                self.asks = ask
                self.open[ask] = {int(number): _picture(said) for number, said in changes.items()}
                self.messages = max([self.messages, *self.open[ask]])
            case {"done": int(ask)}:
                _apply(self.facts, self.open.pop(ask))
            case {"failed": int(ask)}:
                del self.open[ask]
            case {"unsure": int(ask)}:
                assert ask in self.open
            case _:
                raise AssertionError(f"not a note: {note}")

    def settle(self, found: Pictures) -> list[str]:
        """The notes that settle what is open, by what was found when the spool was opened again."""
        return [answer("done" if self._is_carried_out(ask, found) else "failed", ask) for ask in self.open]

    def judge(self, found: Pictures) -> list[str]:
        """What is wrong with what was found: lost, changed, come back, or never asked for."""
        expected = dict(self.facts)
        for ask, changes in self.open.items():
            if self._is_carried_out(ask, found):
                _apply(expected, changes)
        wrong = []
        for number in sorted(expected.keys() | found.keys()):
            wanted, seen = expected.get(number), found.get(number)
            if wanted != seen:
                wrong.append(f"message {number}: promised {wanted}, found {seen}")
        return wrong

    def _is_carried_out(self, ask: int, found: Pictures) -> bool:
        """Each message is as this ask, or a later one that builds on it, would have it."""
        later = [changes for number, changes in self.open.items() if number >= ask]
        return all(
            any(found.get(number) == changes[number] for changes in later if number in changes)
            for number in self.open[ask]
        )


def ask(number: int, changes: Mapping[int, Picture | None]) -> str:
    return json.dumps({"ask": number, "changes": changes})


def answer(word: str, number: int) -> str:
    return json.dumps({word: number})


def _apply(pictures: dict[int, Picture], changes: Mapping[int, Picture | None]) -> None:
    for number, picture in changes.items():
        if picture is None:
            pictures.pop(number, None)
        else:
            pictures[number] = picture


def _picture(said: object) -> Picture | None:
    match said:
        case None:
            return None
        case [str(sender), list(recipients), int(size_bytes), list(pending)]:
            return Picture(sender, tuple(recipients), size_bytes, tuple([Pending(*one) for one in pending]))
        case _:
            raise AssertionError(f"not a picture: {said!r}")
