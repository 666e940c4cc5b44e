"""Brings due messages from the spool to the dispatcher, as many as it has room for.

Looks at the index every half second, and again at once while a page came back
full. A cursor over (due, id) makes each look cost what is new: whatever is put
off gets a later due time and so comes after the cursor. What could lie before
it (mail accepted while there was no room, a person's "retry now", a clock set
back) rewinds it; once a minute it starts over in any case.

Once a minute it also looks at the far end: mail due later than any wait could
make it got its time from another clock, one that was set back since, and is due now.

Invariants
    One load at a time. A message that ended its flight, or was changed by a
    person, while a load was on its way is not begun from that load's stale rows.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable

from waystation_relay.aio.clock import Clock
from waystation_relay.dispatch.dispatcher import Dispatcher, due_at
from waystation_relay.mail.message import Message
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Cursor

POLL_S = 0.5
RESCAN_S = 60.0
MARGIN_S = 1.0
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
        self._far: Cursor | None = None  # where to go on with the far end, once all that is due is loaded
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
            if self._far is None:
                self._far = Cursor(self._reach())
        if self._rewind is not None:
            if self._rewind <= self._cursor.due:
                self._cursor = Cursor(self._rewind) if self._rewind > 0 else Cursor()
            self._rewind = None
        self._load(self._cursor, self._clock.now(), self._loaded)

    def _load(self, after: Cursor, until: float, loaded: Callable[[list[Message], Cursor], None]) -> None:
        self._loading = True
        self._stale.clear()
        self._spool.load_due(after, until, PAGE, loaded)

    def _loaded(self, messages: list[Message], cursor: Cursor) -> None:
        self._more = cursor != self._cursor  # a page of unreadable rows is empty and not the last
        self._cursor = cursor
        self._take(messages)
        if self._more:
            self._wake.set()
        elif self._far is not None and self._dispatcher.room > 0 and not self.paused:
            self._load(self._far, math.inf, self._loaded_far)

    def _loaded_far(self, messages: list[Message], cursor: Cursor) -> None:
        # The reach of now, not of when the look began: what was put off since is within it.
        now, reach = self._clock.now(), self._reach()
        self._take([due_at(message, now, reach) for message in messages])
        if cursor == self._far:
            self._far = None
            return
        self._far = cursor
        self._wake.set()

    def _reach(self) -> float:
        """No wait that begins now goes further."""
        return self._clock.now() + self._dispatcher.longest_wait_s() + MARGIN_S

    def _take(self, messages: Iterable[Message]) -> None:
        self._loading = False
        for message in messages:
            if message.id not in self._stale:
                self._dispatcher.take(message)

    def _landed(self, message_id: int) -> None:
        if self._loading:
            self._stale.add(message_id)
        elif self._more and self._dispatcher.room >= PAGE:
            self._wake.set()
