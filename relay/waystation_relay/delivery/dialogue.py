"""A conversation before the mail: one command, one reply, awaited.

Used by ``connect`` for the greeting, EHLO, STARTTLS and AUTH; afterwards the
transport is handed to a ``Connection`` and all is callbacks.

Errors
    OpeningError: no reply came, or none that makes sense; it carries the outcome.
"""

import asyncio
from collections import deque
from typing import cast

from waystation_relay.delivery import verdicts
from waystation_relay.mail.outcome import Deferred, Failed
from waystation_relay.mail.reply import Reply
from waystation_relay.wire import envelope_commands as commands
from waystation_relay.wire.client import SERVICE_CLOSING
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
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

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

    @property
    def is_over(self) -> bool:
        return bool(self._ended) or self.transport is None or self.transport.is_closing()

    async def command(self, line: bytes, what: str, within_s: float) -> Reply:
        assert self.transport is not None
        if (
            self.has_more
        ):  # it would be taken for the answer to this; only a server that closes may speak first
            if self._replies and self._replies[0].code == SERVICE_CLOSING:
                return self._replies.popleft()
            raise OpeningError(verdicts.nonsense(f"more replies than commands, before {what}"))
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

    def leave(self, within_s: float) -> None:
        """Says goodbye and closes, without waiting for an answer (RFC 5321 §4.1.1.10 asks for the word)."""
        if self.transport is None or self.is_over:
            return
        self.transport.write(commands.QUIT)
        self.transport.close()
        asyncio.get_running_loop().call_later(within_s, self.transport.abort)  # should it not take even that

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
