"""Taking a relay out of service: no new sessions; what is queued is delivered, or handed to other relays.

Invariants
    ``epoch`` counts how often draining began; readings of ``empty`` from
    different epochs do not belong together.
    ``empty`` is said only when no message is in the queue and no session or
    batch of another relay is open that could still bring one.
Known limits
    Forgotten on restart: whoever wants the relay drained says so again.
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from waystation_relay.admin.problem import Problem
from waystation_relay.aio.clock import Clock

PEER = re.compile(r"http://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}")
MOST_PEERS = 1000


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


class Leaving(Protocol):
    """What gives the queue away (``handoff.handover``)."""

    def reset(self) -> None: ...
    def begin(self, urls: Sequence[str]) -> None: ...
    def stop(self) -> None: ...
    def describe(self) -> dict[str, object]: ...


class Drain:
    """``messages`` counts the queue, ``arriving`` the batches that other relays are handing over."""

    def __init__(
        self,
        gate: Gate,
        messages: Callable[[], int],
        clock: Clock,
        *,
        leaving: Leaving,
        arriving: Callable[[], int],
    ) -> None:
        self._gate, self._messages, self._clock = gate, messages, clock
        self._leaving, self._arriving = leaving, arriving
        self._since: float | None = None
        self.epoch = 0

    @property
    def active(self) -> bool:
        return self._since is not None

    def begin(self) -> None:
        if self._since is None:
            self._since = self._clock.now()
            self.epoch += 1
            self._leaving.reset()
            self._gate.cordon()

    def give_to(self, urls: Sequence[str]) -> None:
        """What cannot be delivered now goes to these relays; to nobody when there are none."""
        if self._since is not None:
            self._leaving.begin(urls)

    def cancel(self) -> None:
        if self._since is not None:
            self._since = None
            self._leaving.stop()
            self._gate.uncordon()

    @property
    def state(self) -> State:
        if self._since is None:
            return State.ACTIVE
        return State.DRAINING if self._messages() or self._sessions() or self._arriving() else State.EMPTY

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
            **self.progress(),
        }

    def progress(self) -> dict[str, object]:
        """What became of the attempts to give mail to others, in this draining."""
        return self._leaving.describe()

    def _sessions(self) -> int:
        return int(sum(self._gate.sessions.values()))


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /drain``. ``peers``: admin ports of relays of the pool; None: as before."""

    peers: list[str] | None = None


def peers_of(body: bytes) -> list[str] | None:
    """Raises ``Problem``."""
    remedy = 'send {"peers": ["http://HOST:8025", …]}, or no body'
    try:
        order = msgspec.json.decode(body or b"{}", type=Order)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not what this call takes: {error}", remedy) from None
    for url in order.peers or ():
        if not PEER.fullmatch(url):
            raise Problem(400, f"{url[:80]!r} is not the address of an admin port", remedy)
    if order.peers is not None and len(order.peers) > MOST_PEERS:
        raise Problem(400, f"{len(order.peers)} peers", f"name up to {MOST_PEERS}")
    return order.peers
