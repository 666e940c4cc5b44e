"""What people do to the queue while it moves: hold, release, retry, delete, bounce.

The spool is changed first; messages that are in memory then learn of it, so
that nothing deleted is still sent and nothing held is attempted, save what was
on the wire already.
"""

from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.dispatch.loader import Loader
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Action, Delete, Hold, Query, Release, RetryNow

PAGE = 500


class People:
    def __init__(self, spool: Spool, dispatcher: Dispatcher, loader: Loader) -> None:
        self._spool, self._dispatcher, self._loader = spool, dispatcher, loader

    async def change(self, query: Query, action: Action) -> int:
        """Carries the action out; how many messages it changed. Raises ``SpoolUnavailable``."""
        changed = await self._spool.change(query, action)
        if isinstance(action, Hold | Delete | Release):
            for message_id in changed:
                await self._refresh(message_id)
        if isinstance(action, Release | RetryNow):
            self._loader.rewind()
            self._dispatcher.lanes.reopen()
        return len(changed)

    async def bounce(self, query: Query, reason: str) -> int:
        """Fails all matching messages as if the destination had refused them: their senders are told."""
        verdict = Failed(reply(554, "5.7.0", f"returned by the postmaster: {reason}"), Reason.OPERATOR)
        count, after = 0, 0
        while messages := await self._spool.find(query, PAGE, after):
            for message in messages:
                self._dispatcher.bounce(message, verdict)
            count += len(messages)
            after = messages[-1].id
        return count

    async def _refresh(self, message_id: int) -> None:
        flight = self._dispatcher.flights.get(message_id)
        if flight is None:
            return
        now: Message | None = await self._spool.get(flight.message.queue_id)
        if now is None:
            flight.removed = True
        else:
            flight.progress = {progress.number: progress for progress in now.pending}
