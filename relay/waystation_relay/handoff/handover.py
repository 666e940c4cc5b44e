"""A draining relay gives away what it cannot deliver now, until nothing is left or somebody says stop.

What is due is attempted first, as always; everything else (deferred, held,
quarantined) goes to the peers at once, in batches. A message is here until
another relay has answered that it is on disk there; then it leaves by one
commit with the others of its batch.

Invariants
    At most ``BATCHES`` batches of ``BATCH_BYTES`` are on their way; a larger message is a batch by itself.
    Every message stays in the queue's count until the commit that lets it go.
Errors
    None: what cannot be handed over now is kept, counted by reason, and tried again.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

from waystation_relay.dispatch.flight import Flight
from waystation_relay.dispatch.ports import DispatchLog
from waystation_relay.dispatch.timeline import Timeline
from waystation_relay.handoff.claims import Claims, is_readable, may_leave
from waystation_relay.handoff.courier import Courier, Item, Lost, Unsent
from waystation_relay.handoff.parcel import Malformed, Parcel, frame
from waystation_relay.handoff.peers import Peer, Peers
from waystation_relay.handoff.ports import HandoffMetrics
from waystation_relay.handoff.words import Answer, Verdict
from waystation_relay.mail.message import Message
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Query, ReadFailure, SpoolUnavailable

PAGE = 750
BATCHES = 3
BATCH_MESSAGES = 250
BATCH_BYTES = 4 * 2**20
PAUSE_S = 1.0


@dataclasses.dataclass(slots=True)
class Batch:
    peer: Peer
    messages: list[Message] = dataclasses.field(default_factory=list)
    size_bytes: int = 0

    def has_room(self, message: Message) -> bool:
        return not self.messages or (
            len(self.messages) < BATCH_MESSAGES and self.size_bytes + message.size_bytes <= BATCH_BYTES
        )

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.size_bytes += message.size_bytes


class Handover:
    """``run`` is a task of ``app``'s; ``begin`` and ``stop`` are a person's or the operator's."""

    def __init__(
        self,
        *,
        spool: Spool,
        claims: Claims,
        courier: Courier,
        peers: Peers,
        clock: Timeline,
        metrics: HandoffMetrics,
        log: DispatchLog,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._spool, self._claims, self._courier, self._peers = spool, claims, courier, peers
        self._clock, self._metrics, self._log, self._pause_s = clock, metrics, log, pause_s
        self._wanted = asyncio.Event()
        self._slots = asyncio.Semaphore(BATCHES)
        self._since = 0.0
        self._handed_off = 0
        self._unreadable = 0
        self._unfit: set[int] = set()  # read, and not what another relay would take
        self._refused: collections.Counter[str] = collections.Counter()

    def begin(self, urls: Sequence[str]) -> None:
        """Gives to these from now on; with nobody to give to, everything is kept."""
        self._peers.replace(urls)
        if urls:
            self._wanted.set()
        else:
            self._wanted.clear()

    def stop(self) -> None:
        """No further batch; those on their way are finished."""
        self._wanted.clear()
        self._peers.replace(())

    def reset(self) -> None:
        """Another draining: its figures begin at nothing."""
        self._since = self._clock.now()
        self._handed_off = self._unreadable = 0
        self._unfit.clear()
        self._refused.clear()

    def describe(self) -> dict[str, object]:
        return {
            "handed_off": self._handed_off,
            "refused": dict(self._refused),
            "unreadable": self._unreadable,
            "peers": {peer.url: peer.reason for peer in self._peers},
        }

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wanted.wait()
                began, before = loop.time(), self._handed_off
                with contextlib.suppress(SpoolUnavailable):  # the spool tells; its disk may come back
                    await self._sweep()
                if self._handed_off == before:  # not to do nothing but look through a long queue
                    await asyncio.sleep(max(self._pause_s, loop.time() - began))
        finally:
            await self._courier.close()

    async def _sweep(self) -> None:
        """Once through the queue."""
        after, unreadable = 0, 0
        async with asyncio.TaskGroup() as work:
            asked = self._ask(work)
            if asked and not self._peers.is_any_open():
                await asyncio.wait(asked)
            while self._wanted.is_set() and self._peers.is_any_open():
                page = await self._spool.find(Query(), PAGE, after)
                if not page:
                    self._unreadable = unreadable
                    return
                after = page[-1].id
                unreadable += sum(not is_readable(message) or message.id in self._unfit for message in page)
                for batch in self._batches(page):
                    await self._slots.acquire()
                    giving = work.create_task(self._give_one(batch.peer, batch.messages))
                    giving.add_done_callback(lambda _: self._slots.release())  # also of one that never began
                self._ask(work)

    def _ask(self, work: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Those that took nothing, whether they do now. One that hangs delays nobody else's mail."""
        return [work.create_task(self._ask_one(peer)) for peer in self._peers.to_ask(self._clock.monotonic())]

    async def _ask_one(self, peer: Peer) -> None:
        hello = await self._courier.ask(peer.url)
        if isinstance(hello, Unsent):
            self._fail(peer, hello.reason, hello.text, 0)
            return
        reason = "itself" if hello.spool == self._spool.tag else hello.refusal
        if reason:
            self._peers.refused(peer, reason, self._clock.monotonic())
        else:
            self._peers.welcomed(peer, hello.spool)

    def _batches(self, page: Sequence[Message]) -> "Iterator[Batch]":
        """Looked at again when it is their turn: the page may be old by then."""
        now, moment = self._clock.now(), self._clock.monotonic()
        filling: dict[str, Batch] = {}
        for message in page:
            is_free = self._claims.is_free(message) and message.id not in self._unfit
            if not is_free or not may_leave(message, now, self._since):
                continue
            peer = self._peers.best(self._spool.queue_id(message.id), moment)
            if peer is None:
                continue
            batch = filling.setdefault(peer.url, Batch(peer))
            if not batch.has_room(message):
                yield batch
                batch = filling[peer.url] = Batch(peer)
            batch.add(message)
        yield from filling.values()

    async def _give_one(self, peer: Peer, batch: list[Message]) -> None:
        try:
            if self._wanted.is_set() and not peer.reason:
                await self._give(peer, batch)
        except SpoolUnavailable:
            pass  # as in ``run``

    async def _give(self, peer: Peer, batch: list[Message]) -> None:
        flights = {
            self._spool.queue_id(flight.message.id): flight
            for flight in await self._claims.take(batch, self._clock.now(), self._since)
        }
        items: list[Item] = []
        try:
            reach("handoff.claimed")
            offered = list(flights)
            bodies = await asyncio.gather(*[self._claims.body(flights[name]) for name in offered])
            for name, body in zip(offered, bodies, strict=True):
                if isinstance(body, ReadFailure):
                    self._claims.release(flights.pop(name))
                    continue
                try:
                    items.append(Item(name, frame(_parcel(name, flights[name])), body))
                except Malformed:
                    self._unfit.add(flights[name].message.id)
                    self._claims.release(flights.pop(name))
                    if isinstance(body, BodyFile):
                        body.close()
            if not items:
                return
            names = [item.name for item in items]
            self._peers.stick(names, peer, self._clock.monotonic())  # until we know
            answer = await self._courier.send(peer.url, peer.tag, items)
            match answer:
                case Answer():
                    self._peers.unstick(names)
                    reach("handoff.answered")
                    await self._heard(peer, answer, flights)
                case Unsent(reason=reason, text=text):
                    self._peers.unstick(names)
                    self._fail(peer, reason, text, len(items))
                case Lost(text=text):
                    self._fail(peer, "no-answer", text, len(items))
        finally:
            for item in items:
                if isinstance(item.body, BodyFile):
                    item.body.close()
            for flight in flights.values():
                self._claims.release(flight)

    async def _heard(self, peer: Peer, answer: Answer, flights: dict[str, Flight]) -> None:
        """What is there leaves here, by one commit; what was refused stays."""
        leaving, reason = [], ""
        counts: collections.Counter[str] = collections.Counter()
        for result in answer.results:
            counts[result.verdict] += 1
            if result.verdict is Verdict.REFUSED:
                self._refused[result.reason] += 1
                reason = result.reason
                continue
            flight = flights.pop(result.name)
            leaving.append((flight.message.queue_id, self._claims.settle(flight)))
        if reason:
            self._peers.refused(peer, reason, self._clock.monotonic())
        else:
            self._peers.answered(peer)
        for verdict, count in counts.items():
            self._metrics.handoff("out", verdict, count)
        for queue_id, settled in leaving:
            if await settled:
                self._handed_off += 1
                self._log.emit("message.handed_off", queue_id=queue_id, peer=peer.url)
        reach("handoff.settled")

    def _fail(self, peer: Peer, reason: str, text: str, count: int) -> None:
        self._peers.refused(peer, reason, self._clock.monotonic())
        if count:
            self._refused[reason] += count
            self._metrics.handoff("out", Verdict.REFUSED, count)
        self._log.emit("handoff.failed", peer=peer.url, reason=reason, error=text[:300], count=count)


def _parcel(name: str, flight: Flight) -> Parcel:
    message = flight.message
    assert message.place is not None, "what comes from the index has a place"
    pending = tuple([flight.progress[number] for number in sorted(flight.progress)])
    adoption = Adoption(name, message.queue_id, message.envelope, message.origin, message.arrival, pending)
    return Parcel(adoption, message.size_bytes, message.place.crc32)
