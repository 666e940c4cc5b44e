"""Taking over what another relay of the pool hands over: all of a batch on disk before it is answered for.

A batch is read to its end before any of it counts: cut off or damaged, it has
not happened. Then each message is on disk by the same commit as received mail,
or was here before, or is refused; the answer names each.

Invariants
    ``open`` counts the batches that may still bring mail.
    At most ``MOST_OPEN`` batches of ``MOST_BYTES`` in memory; larger bodies are streamed to disk.
    Two offers of one message at the same time become one message.
Errors
    Refused: nothing of the batch was taken, nor will be.
    Malformed: the same, and it never could be.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from waystation_relay.dispatch.ports import DispatchLog
from waystation_relay.handoff.parcel import FORMAT, Decoder, Malformed, Parcel
from waystation_relay.handoff.ports import HandoffMetrics
from waystation_relay.handoff.words import Answer, Hello, Result, Verdict
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import SpoolFailure

MOST_OPEN = 4
MOST_MESSAGES = 1000
MOST_BYTES = 16 * 2**20
STALL_S = 30.0  # for each piece
FORGET_EVERY_S = 3600.0
BUSY = "busy"
FAILING = "failing"


class Refused(Exception):  # noqa: N818 -- the word for what happened
    """``reason`` is one word."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Intake:
    """``refusal``: the word for why this relay takes no mail now, "" while it does."""

    def __init__(
        self, spool: Spool, refusal: Callable[[], str], metrics: HandoffMetrics, log: DispatchLog
    ) -> None:
        self._spool, self._refusal, self._metrics, self._log = spool, refusal, metrics, log
        self._arriving: set[str] = set()
        self._forget_at = 0.0
        self.open = 0

    def hello(self) -> Hello:
        return Hello(self._spool.tag, FORMAT, self._why_not())

    async def take(self, pieces: AsyncIterator[bytes], client: str) -> Answer:
        reason = self._why_not()
        if reason:
            raise Refused(reason)
        self.open += 1
        drafts: list[Draft] = []
        try:
            parcels = await self._read(pieces, drafts)
            reach("handoff.received")
            results = await self._decide(parcels, drafts, client)
        finally:
            self.open -= 1
            for draft in drafts:
                draft.discard()
        reach("handoff.adopted")
        for verdict in {result.verdict for result in results}:
            self._metrics.handoff("in", verdict, sum(result.verdict == verdict for result in results))
        self._forget()
        return Answer(self._spool.tag, results)

    def _why_not(self) -> str:
        return self._refusal() or (BUSY if self.open >= MOST_OPEN else "")

    async def _read(self, pieces: AsyncIterator[bytes], drafts: list[Draft]) -> list[Parcel]:
        """The parcels of the batch, their bodies in as many drafts."""
        decoder = Decoder()
        parcels: list[Parcel] = []
        in_memory = 0
        while (piece := await _next(pieces)) is not None:
            for event in decoder.feed(piece):
                if isinstance(event, Parcel):
                    parcels.append(event)
                    in_memory += min(event.size_bytes, self._spool.memory_bytes)
                    if len(parcels) > MOST_MESSAGES or in_memory > MOST_BYTES:
                        raise Malformed("a batch larger than any relay makes")
                    drafts.append(self._spool.draft())
                    reach("handoff.receiving")
                elif isinstance(event, bytes):
                    await _append(drafts[-1], event)
        if not decoder.ended:
            raise Malformed("it ends before its end")
        return parcels

    async def _decide(self, parcels: list[Parcel], drafts: list[Draft], client: str) -> list[Result]:
        claimed: set[str] = set()
        try:
            mine: dict[str, tuple[Parcel, Draft]] = {}
            for parcel, draft in zip(parcels, drafts, strict=True):
                if not {parcel.adoption.name, parcel.adoption.queue_id} & self._arriving:
                    names = {parcel.adoption.name, parcel.adoption.queue_id}
                    self._arriving |= names
                    claimed |= names
                    mine[parcel.adoption.name] = parcel, draft
            known = await self._spool.known(
                [(p.adoption.name, p.adoption.queue_id) for p, _ in mine.values()]
            )
            reason = self._refusal()  # once more: reading took its time
            waits: dict[str, asyncio.Future[SpoolFailure | None]] = {}
            for name, (parcel, draft) in mine.items():
                if name not in known and not reason:
                    waits[name] = asyncio.get_running_loop().create_future()
                    self._spool.adopt(draft, parcel.adoption, waits[name].set_result)
            # No deadline: the spool answers, or the process ends. Who waits for us has one.
            failures = dict(zip(waits, await asyncio.gather(*waits.values()), strict=True))
        finally:
            self._arriving -= claimed
        results = []
        for parcel in parcels:
            name = parcel.adoption.name
            if name in known:
                results.append(Result(name, Verdict.DUPLICATE))
            elif name not in mine or reason:
                results.append(Result(name, Verdict.REFUSED, reason or BUSY))
            elif (failure := failures[name]) is not None:
                results.append(Result(name, Verdict.REFUSED, failure.kind.value))
            else:
                results.append(Result(name, Verdict.ACCEPTED))
                self._log.emit(
                    "message.adopted",
                    queue_id=parcel.adoption.queue_id,
                    client=client,
                    count=len(parcel.adoption.pending),
                    size_bytes=parcel.size_bytes,
                )
        return results

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            self._spool.forget()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(STALL_S):
            return await anext(pieces, None)
    except TimeoutError:
        raise Malformed(f"nothing came for {STALL_S:g} s") from None


async def _append(draft: Draft, piece: bytes) -> None:
    if not draft.append(piece):
        drained = asyncio.Event()
        draft.on_drain = drained.set
        try:
            async with asyncio.timeout(STALL_S):
                await drained.wait()
        except TimeoutError:
            raise Refused(FAILING) from None
