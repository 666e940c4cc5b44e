"""The machine's clock as the queue sees it: when it is set, nobody's age changes.

Arrival and due times are wall-clock times, and the wall clock may be set: by
a person, by a virtual machine that was suspended, by NTP after a start with a
wrong clock. Monotonic time tells how much time really passed, so each setting
is noticed at the next look at the clock. Mail that came before it has its
arrival moved along, in memory: it does not expire early, its sender is not
warned of a delay that is none, and a clock that is set right again leaves no trace.

Invariants
    ``now`` is the machine's own time.
    Of two looks, the one that comes first after a setting notices it: spool
    and dispatcher share one timeline, so that each message is known to be from
    before or after.
Known limits
    Settings are forgotten on restart: then clock and arrival count as they are.
    Admin calls and metrics show arrivals as they are on disk.
"""

from collections.abc import Callable

import msgspec

from waystation_relay.aio.clock import Clock
from waystation_relay.mail.message import Message

UNNOTICED_S = 60.0  # a smaller correction changes no decision about mail
MOST_STEPS = 100  # of more than these the oldest are taken for one


class Timeline:
    """A ``Clock``, for one process."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic = clock.monotonic
        self._clock = clock
        self._ahead_s = clock.now() - clock.monotonic()
        self._steps: list[tuple[int, float]] = []  # (the last message before it, seconds)
        self._last_id: Callable[[], int] = lambda: 0
        self._set: Callable[[float], None] = lambda _: None

    def follow(self, last_id: Callable[[], int], was_set: Callable[[float], None]) -> None:
        """``last_id``: of all messages, that of the latest; ``was_set`` hears by how many seconds."""
        self._last_id, self._set = last_id, was_set

    def now(self) -> float:
        now = self._clock.now()
        step_s = now - self._clock.monotonic() - self._ahead_s
        if not -UNNOTICED_S < step_s < UNNOTICED_S:
            self._note(step_s)
        return now

    def aligned(self, message: Message) -> Message:
        """The message as if the clock had always been as it is now."""
        if not self._steps:
            return message
        return shifted(message, sum(step_s for last_id, step_s in self._steps if message.id <= last_id))

    def _note(self, step_s: float) -> None:
        self._ahead_s += step_s
        if len(self._steps) == MOST_STEPS:
            (_, first_s), (last_id, second_s), *rest = self._steps
            self._steps = [(last_id, first_s + second_s), *rest]
        self._steps.append((self._last_id(), step_s))
        self._set(step_s)


def shifted(message: Message, step_s: float) -> Message:
    return msgspec.structs.replace(message, arrival=message.arrival + step_s) if step_s else message
