"""What the loop asks of the index and the body files, answered by two reader threads.

One serves dispatch (due mail, bodies), the other administration, so that a
search through millions of messages delays no delivery.

Every question is answered, whatever goes wrong: with nothing, or a failure.
Damage met on the way is the writer's to settle: a body that does not check
out is condemned before its reader hears of it, rows that do not check out are
mended and found by a later look, and a damaged index breaks the spool.
"""

import asyncio
import functools
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from waystation_relay.mail.message import Message
from waystation_relay.spool import reader
from waystation_relay.spool.bodies import BodyFile, Damaged, Gone, load
from waystation_relay.spool.index import is_damaged
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.operations import Break, Condemn, Mend, Operation
from waystation_relay.spool.reader import Found, Reader
from waystation_relay.spool.schema import open_reader
from waystation_relay.spool.trouble import failure_of
from waystation_relay.spool.values import (
    Cursor,
    FailureKind,
    ReadFailure,
    ReadFailureKind,
    SpoolFailure,
    SpoolUnavailable,
)

Result = TypeVar("Result")
CLOSED = SpoolFailure(FailureKind.CLOSED, "the spool is closed")


class Lookups:
    """Belongs to the loop's thread. ``put`` hands an operation to the writer."""

    def __init__(
        self,
        layout: Layout,
        put: Callable[[Operation], None],
        loop: asyncio.AbstractEventLoop,
        memory_bytes: int,
    ) -> None:
        self._layout = layout
        self._put = put
        self._loop = loop
        self._memory_bytes = memory_bytes
        self._mending: set[int] = set()
        self._closed = False
        self._dispatch = Reader("spool-reader", open_reader(layout.index), loop)
        self._people = Reader("spool-admin-reader", open_reader(layout.index), loop)

    def start(self) -> None:
        self._dispatch.start()
        self._people.start()

    def close(self) -> None:
        """No more questions; those asked before are answered."""
        self._closed = True

    def stop(self) -> None:
        """Off the loop: wait for the threads."""
        self._dispatch.stop()
        self._people.stop()

    def due(
        self, after: Cursor, now: float, limit: int, done: Callable[[list[Message], Cursor], None]
    ) -> None:
        if self._closed:
            self._loop.call_soon(done, [], after)
            return
        tag = self._layout.tag

        def found(result: tuple[Found, Cursor]) -> None:
            done(self._sound(result[0]), result[1])

        def failed(error: Exception) -> None:
            self._noted(error)
            done([], after)

        self._dispatch.ask(lambda db: reader.due(db, after, now, limit, tag), found, failed)

    def next_due(self, after: float, done: Callable[[float | None], None]) -> None:
        if self._closed:
            self._loop.call_soon(done, None)
            return

        def failed(error: Exception) -> None:
            self._noted(error)
            done(None)

        self._dispatch.ask(lambda db: reader.next_due(db, after), done, failed)

    def body(self, message_id: int, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None:
        if self._closed:
            self._loop.call_soon(done, ReadFailure(ReadFailureKind.IO, CLOSED.text))
            return

        def failed(error: Exception) -> None:
            text = str(error)
            match error:
                case Gone():
                    done(ReadFailure(ReadFailureKind.GONE, text))
                case Damaged() if not self._closed:
                    corrupt = ReadFailure(ReadFailureKind.CORRUPT, text)
                    self._put(Condemn(message_id, text, lambda: done(corrupt)))
                case Damaged():
                    done(ReadFailure(ReadFailureKind.CORRUPT, text))
                case OSError():
                    done(ReadFailure(ReadFailureKind.IO, text))
                case _:
                    self._noted(error)
                    done(ReadFailure(ReadFailureKind.IO, text))

        self._dispatch.ask(lambda db: load(db, self._layout, message_id, self._memory_bytes), done, failed)

    async def search(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """For administration. Raises SpoolUnavailable."""
        if self._closed:
            raise SpoolUnavailable(CLOSED)
        answer: asyncio.Future[Result] = self._loop.create_future()

        def done(result: Result) -> None:
            if not answer.done():
                answer.set_result(result)

        def failed(error: Exception) -> None:
            wrapped = error
            if isinstance(error, sqlite3.Error):
                self._noted(error)
                wrapped = SpoolUnavailable(failure_of(error))
            if not answer.done():
                answer.set_exception(wrapped)

        self._people.ask(job, done, failed)
        return await answer

    async def messages(self, job: Callable[[sqlite3.Connection], Found]) -> list[Message]:
        return self._sound(await self.search(job))

    def _sound(self, found: Found) -> list[Message]:
        for message_id, why in found.unreadable:
            if message_id not in self._mending and not self._closed:
                self._mending.add(message_id)
                self._put(Mend(message_id, why, functools.partial(self._mending.discard, message_id)))
        return found.messages

    def _noted(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_damaged(error):
            self._put(Break(failure_of(error)))
        else:
            self._loop.call_exception_handler({"message": "spool lookup failed", "exception": error})
