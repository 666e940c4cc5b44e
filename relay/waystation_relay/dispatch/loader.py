"""Brings due messages from the spool to the dispatcher, as many as it has room for.

Looks at the index every half second, and again at once while a page came back
full. A cursor over (due, id) makes each look cost what is new: whatever is put
off gets a later due time and so comes after the cursor. What could lie before
it (mail accepted while there was no room, a person's "retry now", a clock set
back) rewinds it; once a minute it starts over in any case.

Invariants
    One load at a time. A message that ended its flight, or was changed by a
    person, while a load was on its way is not begun from that load's stale rows.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from waystation_relay.aio.clock import Clock
from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.mail.message import Message
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Cursor

POLL_S = 0.5
RESCAN_S = 60.0
PAGE = 500


class Loader:
    def __init__(self, spool: Spool, dispatcher: Dispatcher, clock: Clock) -> None:
        self._spool, self._dispatcher, self._clock = spool, dispatcher, clock
        self._cursor = Cursor()
        self._rewind: float | None = None
        self._stale: set[int] = set()
        self._loading = False
        self._more = True
        self._rescan_at = 0.0
        self._wake = asyncio.Event()
        self.paused = False
        dispatcher.landed = self._landed
        dispatcher.spilled = self.rewind

    def rewind(self, due: float = 0.0) -> None:
        """Mail due from ``due`` on may lie before the cursor: look there again."""
        self._rewind = due if self._rewind is None else min(due, self._rewind)
        self._more = True
        self._wake.set()

    def doubt(self, message_ids: Iterable[int]) -> None:
        """A person changed these: what a load on its way says of them may be from before. Looks again."""
        if self._loading:
            self._stale.update(message_ids)
            self.rewind()

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):  # wait_for of 3.11 may swallow a cancellation
                    await self._wake.wait()
            self._wake.clear()
            self.look()

    def look(self) -> None:
        """Asks for the next page when there is room for it; no-op while one is on its way."""
        room = self._dispatcher.room
        if self._loading or self.paused or room <= 0:
            return
        now = self._clock.monotonic()
        if now >= self._rescan_at:
            self._rescan_at = now + RESCAN_S
            self._rewind = 0.0
        if self._rewind is not None:
            if self._rewind <= self._cursor.due:
                self._cursor = Cursor(self._rewind) if self._rewind > 0 else Cursor()
            self._rewind = None
        self._loading = True
        self._stale.clear()
        self._spool.load_due(self._cursor, self._clock.now(), PAGE, self._loaded)

    def _loaded(self, messages: list[Message], cursor: Cursor) -> None:
        self._loading = False
        self._more = cursor != self._cursor  # a page of unreadable rows is empty and not the last
        self._cursor = cursor
        for message in messages:
            if message.id not in self._stale:
                self._dispatcher.take(message)
        if self._more:
            self._wake.set()

    def _landed(self, message_id: int) -> None:
        if self._loading:
            self._stale.add(message_id)
        elif self._more and self._dispatcher.room >= PAGE:
            self._wake.set()
