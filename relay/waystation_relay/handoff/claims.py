"""Which messages may leave now, and how they are let go of: between the queue here and the offer elsewhere.

What is claimed is in flight as far as dispatch can tell: it is not attempted,
and a person's change waits for nothing. It is looked up again once it is
claimed, since what was read before may have been attempted in between.

Invariants
    A claim ends with ``release``, or with the commit that ``settle`` asks for.
    A message leaves the index only by ``settle``.
Known limits
    What a person changes while a message is on its way (a second or so) does
    not reach the other relay.
"""

import asyncio
from collections.abc import Sequence

from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.dispatch.flight import Flight
from waystation_relay.mail.message import Message, Status
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.schema import SET_ASIDE
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import ReadFailure, Settlement, SpoolFailure

PATIENCE_S = 60.0  # what is due is attempted first; what found no turn in this time is not kept for it


def may_leave(message: Message, now: float, since: float) -> bool:
    """Nobody is due now, and there is a body to give. ``since``: when draining began."""
    return is_readable(message) and not any(
        p.status is Status.WAITING and p.due <= now < max(p.due, since) + PATIENCE_S for p in message.pending
    )


def is_readable(message: Message) -> bool:
    return message.place is None or message.place.segment != SET_ASIDE


class Claims:
    def __init__(self, spool: Spool, dispatcher: Dispatcher) -> None:
        self._spool, self._dispatcher = spool, dispatcher

    def is_free(self, message: Message) -> bool:
        return message.id not in self._dispatcher.flights

    async def take(self, messages: Sequence[Message], now: float, since: float) -> list[Flight]:
        """Those that may still leave, claimed."""
        claimed = {
            flight.message.id: flight
            for message in messages
            if (flight := self._dispatcher.claim(message)) is not None
        }
        kept: list[Flight] = []
        try:
            for message in await self._spool.again(list(claimed)):
                flight = claimed[message.id]
                flight.progress = {row.number: row for row in message.pending}
                if may_leave(message, now, since):
                    kept.append(flight)
                    del claimed[message.id]
                else:
                    self.release(claimed.pop(message.id))
        except BaseException:
            for flight in kept:
                self.release(flight)
            raise
        finally:
            for flight in claimed.values():  # gone meanwhile
                flight.progress = {}
                self.release(flight)
        return kept

    def release(self, flight: Flight) -> None:
        """It stays here."""
        self._dispatcher.settled(flight)

    async def body(self, flight: Flight) -> bytes | BodyFile | ReadFailure:
        answer: asyncio.Future[bytes | BodyFile | ReadFailure] = asyncio.get_running_loop().create_future()

        def read(body: bytes | BodyFile | ReadFailure) -> None:
            if not answer.done():
                answer.set_result(body)
            elif isinstance(body, BodyFile):  # whoever asked has gone
                body.close()

        self._spool.read(flight.message, read)
        return await answer

    def settle(self, flight: Flight) -> "asyncio.Future[bool]":
        """The message is another relay's: it leaves the queue. Whether it did."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def committed(failure: SpoolFailure | None) -> None:
            if failure is None:
                flight.progress = {}
                self._dispatcher.settled(flight)
            if not done.done():
                done.set_result(failure is None)

        numbers = tuple([progress.number for progress in flight.progress.values()])
        self._spool.settle(Settlement(flight.message.id, removed=numbers), committed)
        return done
