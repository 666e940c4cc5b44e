"""What people do to the queue while it moves: hold, release, retry, delete, bounce.

The spool is changed first; messages that are in memory then learn of it, so
that nothing deleted is still sent and nothing held is attempted, save what was
on the wire already. A bounce is an outcome like any other: of a message that
is being attempted it waits for the attempt, which may yet deliver it.

Errors
    SpoolUnavailable: it cannot be committed now; what was done before stays.
"""

import asyncio
from collections.abc import Callable, Mapping

from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.dispatch.flight import Flight
from waystation_relay.dispatch.loader import Loader
from waystation_relay.mail.address import domain_of, normal_domain
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import (
    Action,
    FailureKind,
    Query,
    Release,
    RetryNow,
    SpoolFailure,
    SpoolUnavailable,
)

PAGE = 500
COMMIT_WITHIN_S = 30.0
UNSETTLED = SpoolFailure(
    FailureKind.IO, "the disk takes nothing now; reports that wait are written when it does"
)


class People:
    def __init__(self, spool: Spool, dispatcher: Dispatcher, loader: Loader) -> None:
        self._spool, self._dispatcher, self._loader = spool, dispatcher, loader

    async def change(
        self, query: Query, action: Action, changed_now: Callable[[Mapping[int, str]], None] = lambda _: None
    ) -> int:
        """Carries the action out; how many messages it changed. ``changed_now`` hears ids and queue ids."""
        at_once = isinstance(action, Release | RetryNow)
        count = 0
        async for changed in self._spool.changing(query, action):
            count += len(changed)
            changed_now(changed)
            self._loader.doubt(changed)
            for message_id in changed:
                flight = self._dispatcher.flights.get(message_id)
                if flight is not None:
                    flight.refresh(await self._spool.get(flight.message.queue_id), due=at_once)
            if at_once:
                self._loader.rewind()
        if at_once:
            self._dispatcher.lanes.reopen()
        return count

    async def bounce(self, query: Query, reason: str) -> int:
        """Fails the matching recipients as if the destination had refused them: their senders are told.

        On return the reports are on disk, save those of messages being attempted.
        """
        verdict = Failed(reply(554, "5.7.0", f"returned by the postmaster: {reason}"), Reason.OPERATOR)
        count, after = 0, 0
        while messages := await self._spool.find(query, PAGE, after):
            await self._bounce(messages, query, verdict)
            count += len(messages)
            after = messages[-1].id
        return count

    async def _bounce(self, messages: list[Message], query: Query, verdict: Failed) -> None:
        if not self._dispatcher.can_settle():
            raise SpoolUnavailable(UNSETTLED)
        claimed: dict[int, Flight] = {}
        for message in messages:
            flight = self._dispatcher.claim(message)
            if flight is not None:
                claimed[message.id] = flight
            else:
                numbers = matching(query, message)
                self._dispatcher.flights[message.id].overrule(dict.fromkeys(numbers, verdict))
        try:
            # What was found may have been attempted meanwhile; from now on it is not.
            names = tuple([flight.message.queue_id for flight in claimed.values()])
            found = await self._spool.find(Query(queue_ids=names), PAGE) if names else []
        except BaseException:
            for flight in claimed.values():
                self._dispatcher.settled(flight)
            raise
        fresh = {message.id: message for message in found}
        waits: list[asyncio.Future[None]] = []
        for message_id, flight in claimed.items():
            now = fresh.get(message_id)
            flight.progress = {row.number: row for row in now.pending} if now is not None else {}
            if now is not None:
                flight.overrule(dict.fromkeys(matching(query, now), verdict))
            waits.append(_settling(flight))
            self._dispatcher.settled(flight)
        if waits:
            _, unsettled = await asyncio.wait(waits, timeout=COMMIT_WITHIN_S)
            if unsettled:
                raise SpoolUnavailable(UNSETTLED)


def _settling(flight: Flight) -> "asyncio.Future[None]":
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard() -> None:
        if not settled.done():
            settled.set_result(None)

    flight.on_settled = heard
    return settled


def matching(query: Query, message: Message) -> list[int]:
    """Which of a message's recipients meet the query's conditions on recipients."""
    recipients, numbers = message.envelope.recipients, []
    for row in message.pending:
        address = recipients[row.number].address
        reason = row.last_reason.value if row.last_reason is not None else ""
        if (
            (query.recipient is None or address.lower() == query.recipient.lower())
            and (query.domain is None or domain_of(address) == normal_domain(query.domain))
            and (query.status is None or row.status is query.status)
            and (query.reason is None or query.reason in (reason, row.hold_reason))
        ):
            numbers.append(row.number)
    return numbers
