"""What a relay says of itself at ``GET /status``, read strictly where it matters and tolerantly otherwise.

Unknown fields pass, so that a newer relay can say more; missing ones take
what a relay that has just started would say. A wrong type is an error: a
figure that cannot be read must not pass for 0.
"""

import msgspec


class Config(msgspec.Struct, frozen=True):
    hash: str = ""
    error: str = ""


class Queue(msgspec.Struct, frozen=True):
    """``waiting`` and ``held`` count recipients; ``oldest_arrival`` is in Unix seconds."""

    messages: int
    waiting: int = 0
    held: int = 0
    bytes: int = 0
    oldest_due_seconds: float = 0.0
    oldest_arrival: float | None = None


class Sessions(msgspec.Struct, frozen=True):
    active: int = 0
    limit: int = 0


class Delivery(msgspec.Struct, frozen=True):
    busy: int = 0
    slots: int = 0


class Drain(msgspec.Struct, frozen=True):
    """``state`` is active, draining or empty; only readings of one ``epoch`` belong together."""

    state: str = "active"
    epoch: int = 0
    remaining: int = 0


class Deferral(msgspec.Struct, frozen=True):
    """Why most of a route's mail waits: ``reason`` is a word of docs/metrics.md, ``text`` the peer's."""

    reason: str
    text: str = ""
    count: int = 0
    destination: str = ""


class RouteReport(msgspec.Struct, frozen=True):
    last_success: float | None = None
    last_failure: float | None = None
    waiting: int = 0
    oldest_arrival: float | None = None
    top_deferral: Deferral | None = None


class Unrouted(msgspec.Struct, frozen=True):
    """Recipients in the queue that no route takes."""

    waiting: int = 0


class RelayReport(msgspec.Struct, frozen=True):
    """One pod's whole answer. ``routes`` are by ``namespace/name``."""

    pod: str
    config: Config
    ready: bool
    queue: Queue
    reasons: tuple[str, ...] = ()
    sessions: Sessions = Sessions()
    delivery: Delivery = Delivery()
    drain: Drain = Drain()
    routes: dict[str, RouteReport] = {}
    unrouted: Unrouted = Unrouted()


_decoder = msgspec.json.Decoder(RelayReport)


def read(data: bytes) -> RelayReport | str:
    """The report, or why there is none in ``data``."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"GET /status answered what this operator cannot read: {error}"
