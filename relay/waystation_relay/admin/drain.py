"""Taking a relay out of service: no new sessions, what is queued is delivered.

Invariants
    ``epoch`` counts how often draining began; readings of ``empty`` from
    different epochs do not belong together.
    ``empty`` is said only when no message is in the queue and no session is
    open that could still bring one.
Known limits
    Forgotten on restart: whoever wants the relay drained says so again.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Protocol

from waystation_relay.aio.clock import Clock


class Gate(Protocol):
    """What lets sessions in (the receiver)."""

    def cordon(self) -> None: ...
    def uncordon(self) -> None: ...
    @property
    def sessions(self) -> Mapping[tuple[str, ...], float]: ...


class State(enum.StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"
    EMPTY = "empty"


class Drain:
    """``messages`` counts the queue."""

    def __init__(self, gate: Gate, messages: Callable[[], int], clock: Clock) -> None:
        self._gate, self._messages, self._clock = gate, messages, clock
        self._since: float | None = None
        self.epoch = 0

    @property
    def active(self) -> bool:
        return self._since is not None

    def begin(self) -> None:
        if self._since is None:
            self._since = self._clock.now()
            self.epoch += 1
            self._gate.cordon()

    def cancel(self) -> None:
        if self._since is not None:
            self._since = None
            self._gate.uncordon()

    @property
    def state(self) -> State:
        if self._since is None:
            return State.ACTIVE
        return State.DRAINING if self._messages() or self._sessions() else State.EMPTY

    @property
    def remaining(self) -> int:
        """Messages that keep a draining relay from being empty; 0 when it is not draining."""
        return self._messages() if self.active else 0

    def describe(self) -> dict[str, object]:
        """``remaining`` counts the queue here, draining or not: what there would be to do."""
        return {
            "state": self.state.value,
            "epoch": self.epoch,
            "since": self._since,
            "remaining": self._messages(),
            "sessions": self._sessions(),
        }

    def _sessions(self) -> int:
        return int(sum(self._gate.sessions.values()))
