"""Says once that the API server is away, and once that it is back.

One that is starting answers some calls and refuses others for a moment, so it
counts as back only when a second has passed without a failure.
"""

from collections.abc import Callable

from waystation_operator.cluster.log import Log

QUIET_S = 1.0


class Reached:
    def __init__(self, log: Log, monotonic: Callable[[], float]) -> None:
        self._log, self._monotonic = log, monotonic
        self._failed_at: float | None = None  # None: it is there

    def told(self, problem: str) -> None:
        """Of each call: what was in its way, or nothing."""
        now = self._monotonic()
        if problem:
            if self._failed_at is None:
                self._log.emit("api.unreachable", error=problem)
            self._failed_at = now
        elif self._failed_at is not None and now - self._failed_at >= QUIET_S:
            self._failed_at = None
            self._log.emit("api.reachable")
