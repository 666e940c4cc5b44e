"""A conversation before the mail: one command, one reply, awaited.

Used by ``connect`` for the greeting, EHLO, STARTTLS and AUTH; afterwards the
transport is handed to a ``Connection`` and all is callbacks.

Errors
    OpeningError: no reply came, or none that makes sense; it carries the outcome.
"""

import asyncio
from collections import deque

from waystation_relay.delivery import verdicts
from waystation_relay.mail.outcome import Deferred, Failed
from waystation_relay.mail.reply import Reply
from waystation_relay.wire.response import Responses

KEPT_REPLIES = 16  # unasked-for replies beyond these end the conversation


class OpeningError(Exception):
    """Why there is no connection. ``decisive``: other hosts would not do better."""

    def __init__(self, outcome: Deferred | Failed, *, decisive: bool = False) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome
        self.decisive = decisive


class Dialogue(asyncio.Protocol):
    """``name`` is the server as its troubles are told: ``mx.example [192.0.2.1]:25``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.transport: asyncio.Transport | None = None
        self._responses = Responses()
        self._replies: deque[Reply] = deque()
        self._arrived: asyncio.Event = asyncio.Event()
        self._ended = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._replies.extend(self._responses.receive(data))
        if self._responses.malformed or len(self._replies) > KEPT_REPLIES:
            self.abort()
        self._arrived.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = f"connection lost: {error}" if error else "it closed the connection"
        self._arrived.set()

    @property
    def has_more(self) -> bool:
        """Something has arrived that nobody asked for."""
        return bool(self._replies or self._responses.is_pending or self._responses.malformed)

    async def command(self, line: bytes, what: str, within_s: float) -> Reply:
        assert self.transport is not None
        self.transport.write(line)
        return await self.reply(what, within_s)

    async def reply(self, what: str, within_s: float) -> Reply:
        """The next reply, be it good or bad. ``what`` it answers is for the trouble's text."""
        try:
            async with asyncio.timeout(within_s):
                while not self._replies and not self._ended and not self._responses.malformed:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise OpeningError(
                verdicts.lost(f"{self.name} did not answer {what} within {within_s:g} s")
            ) from None
        if self._replies:
            return self._replies.popleft()
        if self._responses.malformed:
            raise OpeningError(verdicts.nonsense(self._responses.malformed))
        raise OpeningError(verdicts.lost(f"{self.name}: {self._ended}, awaiting the reply to {what}"))

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
