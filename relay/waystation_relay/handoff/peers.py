"""Which relay takes which message. Pure: the caller supplies the time and tells what each relay said.

Each message has an order of relays of its own (rendezvous hashing over the
spools' tags), so that the load is spread and an offer repeated after a crash
goes where the first went, which knows whether it came. When an answer got
lost the message sticks to that relay for ``STICK_S``: it may be there already.

Invariants
    No message is offered to our own spool, nor to a relay that has refused and may not be asked again yet.
Known limits
    A relay that took mail, did not answer, and stays away for longer than
    ``STICK_S`` may deliver it a second time when it is back.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Iterator, Sequence

FIRST_S, MOST_S = 1.0, 30.0
STICK_S = 120.0
ASKING_S = 30.0  # within which an answer, or that there is none, is certainly known
MOST_STUCK = 10_000  # before those of long ago are swept out
UNASKED = "not asked yet"


@dataclasses.dataclass(slots=True, eq=False)
class Peer:
    """``reason``: why it takes nothing now, "" while it does."""

    url: str
    tag: str = ""
    reason: str = UNASKED
    ask_at: float = 0.0
    wait_s: float = FIRST_S


class Peers:
    """``tag``: our own spool's."""

    def __init__(self, tag: str, stick_s: float = STICK_S) -> None:
        self._tag, self._stick_s = tag, stick_s
        self._peers: dict[str, Peer] = {}
        self._stuck: dict[str, tuple[str, float]] = {}  # name → (tag, until)

    def replace(self, urls: Sequence[str]) -> None:
        """Those that stay keep what is known of them."""
        self._peers = {url: self._peers.get(url) or Peer(url) for url in urls}

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def to_ask(self, now: float) -> list[Peer]:
        """Whose word is missing or old; each is told of once, until it is known what it said."""
        found = [peer for peer in self._peers.values() if peer.reason and peer.ask_at <= now]
        for peer in found:
            peer.ask_at = now + ASKING_S
        return found

    def is_any_open(self) -> bool:
        return any(not peer.reason for peer in self._peers.values())

    def welcomed(self, peer: Peer, tag: str) -> None:
        peer.tag, peer.reason = tag, ""

    def answered(self, peer: Peer) -> None:
        """It took what it was given."""
        peer.wait_s = FIRST_S

    def refused(self, peer: Peer, reason: str, now: float) -> None:
        peer.reason = reason
        peer.ask_at = now + peer.wait_s
        peer.wait_s = min(MOST_S, peer.wait_s * 2)

    def best(self, name: str, now: float) -> Peer | None:
        """Who gets this message; None: nobody for now."""
        open_ = [peer for peer in self._peers.values() if not peer.reason and peer.tag != self._tag]
        if name in self._stuck:
            tag, until = self._stuck[name]
            if now < until:
                return next((peer for peer in open_ if peer.tag == tag), None)
            open_ = [peer for peer in open_ if peer.tag != tag] or open_
        return max(open_, key=lambda peer: zlib.crc32(f"{name} {peer.tag}".encode()), default=None)

    def stick(self, names: Iterable[str], peer: Peer, now: float) -> None:
        """They may be there soon. What already sticks to this relay does so no longer for that."""
        if len(self._stuck) > MOST_STUCK:
            self._stuck = {name: at for name, at in self._stuck.items() if at[1] + self._stick_s > now}
        for name in names:
            if name not in self._stuck or self._stuck[name][0] != peer.tag:
                self._stuck[name] = peer.tag, now + self._stick_s

    def unstick(self, names: Iterable[str]) -> None:
        for name in names:
            self._stuck.pop(name, None)
