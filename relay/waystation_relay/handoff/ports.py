"""What handing over needs of metrics, so that tests can listen in."""

from typing import Protocol


class HandoffMetrics(Protocol):
    def handoff(self, direction: str, result: str, count: int) -> None: ...
