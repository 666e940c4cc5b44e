"""What people ask of the queue: find, show, hold, release, retry, delete.

Searches run on a reader thread of their own (``lookups``), window by window. A change finds
the ids first and then has the writer carry the action out on them, a few
hundred in one transaction; there each message is checked against the query
once more, so that what has moved on meanwhile is left alone. A change is thus
atomic for each message, not for all of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from waystation_relay.aio.clock import Clock
from waystation_relay.mail.message import Message
from waystation_relay.spool import adopt, reader
from waystation_relay.spool.index import Index
from waystation_relay.spool.lookups import Lookups
from waystation_relay.spool.operations import Job
from waystation_relay.spool.query import conditions, statements
from waystation_relay.spool.survey import Responsible, Tally, survey
from waystation_relay.spool.values import Action, Query, SpoolFailure, SpoolUnavailable

CHANGE_STEP = 500  # messages changed in one transaction: others wait no longer than that


class Administration:
    def __init__(
        self,
        lookups: Lookups,
        put: Callable[[Job], None],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        tag: str,
    ) -> None:
        self._lookups = lookups
        self._put = put
        self._clock = clock
        self._loop = loop
        self._tag = tag

    async def find(self, query: Query, limit: int, after: int) -> list[Message]:
        wanted = conditions(query, self._clock.now(), self._tag)

        return await self._lookups.messages(
            lambda db: reader.messages(db, reader.ids_matching(db, wanted, after, limit), self._tag)
        )

    async def get(self, queue_id: str) -> Message | None:
        tag = self._tag
        found = await self._lookups.messages(
            lambda db: reader.messages(db, adopt.ids_of(db, [queue_id], tag), tag)
        )
        return found[0] if found else None

    async def again(self, ids: Sequence[int]) -> list[Message]:
        return await self._lookups.messages(lambda db: reader.messages(db, ids, self._tag))

    async def known(self, offered: Sequence[tuple[str, str]]) -> set[str]:
        return await self._lookups.search(lambda db: adopt.known(db, self._tag, offered))

    def forget(self, done: Callable[[Any, SpoolFailure | None], None]) -> None:
        now = self._clock.now()
        self._put(Job(lambda index: adopt.forget(index.db, now), done))

    async def survey(self, after: int, responsible: Responsible) -> tuple[dict[str, Tally], int | None]:
        return await self._lookups.search(lambda db: survey(db, after, responsible))

    async def change(self, query: Query, action: Action) -> AsyncIterator[dict[int, str]]:
        """Step by step: ids and queue ids of the messages each step changed, once it is committed."""
        now = self._clock.now()
        wanted = conditions(query, now, self._tag)
        todo = statements(action, now)
        for statement in todo:
            for value in statement.values:
                str(value).encode()  # text that cannot be stored raises here, not in a batch of others
        after = 0
        while names := await self._lookups.search(
            lambda db, after=after: reader.names_matching(db, wanted, after, CHANGE_STEP, self._tag)  # type: ignore[misc] # a bound default
        ):
            ids = list(names)

            def apply(index: Index, ids: list[int] = ids) -> list[int]:
                return index.apply(ids, wanted, todo)

            changed: list[int] = await self._have_done(apply)
            yield {number: names[number] for number in changed}
            after = ids[-1]

    async def _have_done(self, apply: Callable[[Index], Any]) -> Any:
        answer: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, failure: SpoolFailure | None) -> None:
            if answer.done():  # whoever asked has gone
                return
            if failure is None:
                answer.set_result(result)
            else:
                answer.set_exception(SpoolUnavailable(failure))

        self._put(Job(apply, done))
        return await answer
