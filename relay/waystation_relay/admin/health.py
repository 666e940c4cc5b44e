"""Whether the process is alive, and whether it should be sent mail.

*Alive* is about restarting: only what a restart mends makes ``/livez`` fail,
that is a spool that can promise nothing any more. Full disks, dead
destinations and bad configurations are no reasons to restart.

*Ready* is about the Service: only a relay that takes mail now belongs in it.
So a relay that starts, stops, drains, or whose spool refuses mail is not ready.
It goes on delivering what it has, and comes back by itself. Trouble with
destinations never makes it unready: taking mail is what a relay is for then.
"""

import enum
from collections.abc import Callable

import msgspec

from waystation_relay.admin.drain import Drain
from waystation_relay.spool.values import Refusal


class Stage(enum.StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Unready(msgspec.Struct, frozen=True):
    """``reason`` is one word (starting, stopping, draining, full, read-only, failing)."""

    reason: str
    text: str


class Health:
    """``app`` moves ``stage`` on. ``broken``: why nothing can be promised any more, "" while it can."""

    def __init__(
        self, drain: Drain, refusal: Callable[[], Refusal | None], broken: Callable[[], str]
    ) -> None:
        self.stage = Stage.STARTING
        self._drain, self._refusal, self._broken = drain, refusal, broken

    def sick(self) -> str:
        """Why the process must be restarted; "" when it need not be."""
        return self._broken()

    def unready(self) -> tuple[Unready, ...]:
        """Every reason not to send mail here now; none when it is ready."""
        found = []
        if self.stage is not Stage.RUNNING:
            found.append(Unready(self.stage.value, f"the relay is {self.stage.value}"))
        if self._drain.active:
            found.append(Unready("draining", "the relay is being drained"))
        refusal = self._refusal()
        if refusal is not None:
            found.append(Unready(refusal.kind.value, refusal.text))
        return tuple(found)
