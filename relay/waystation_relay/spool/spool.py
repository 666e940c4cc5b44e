"""The spool: accept, settle, load what is due, read bodies, administer. The only door to ``spool/``.

Lives on the event loop's thread: every method is called there and every
callback runs there. Behind it one writer thread commits and two reader
threads look things up.

Promises
    ``accept`` and ``settle`` call ``done(None)`` only when everything is on
    disk (body files and index synced). ``done(failure)`` means that nothing of
    it is in the queue, save that a failed fsync leaves it unknown until the
    restart: a duplicate perhaps, never a loss.
    Accepted messages go to ``on_accepted``, once a batch, before its ``done`` calls.
    A settlement is all or nothing; on a failing disk it is kept and retried
    in order, and ``done`` is called when it is committed, or never can be.

Known limits
    Opening counts all rows. After ``on_broken`` the process must restart.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from waystation_relay.aio.clock import Clock
from waystation_relay.mail.envelope import Envelope, Origin
from waystation_relay.mail.message import Message
from waystation_relay.spool.administration import Administration
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.draft import Draft, Flow
from waystation_relay.spool.identity import Identities, queue_id_of
from waystation_relay.spool.index import Index
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.lookups import CLOSED, Lookups
from waystation_relay.spool.operations import (
    Accept,
    Done,
    Drop,
    Entry,
    Job,
    Report,
    Settle,
    Stop,
    Wake,
    Write,
    change_of,
)
from waystation_relay.spool.recovery import Recovered, recover
from waystation_relay.spool.survey import Responsible, Tally
from waystation_relay.spool.trouble import failure_of
from waystation_relay.spool.values import (
    Action,
    Cursor,
    Query,
    ReadFailure,
    Refusal,
    Settlement,
    SpoolFailure,
    SpoolLimits,
    SpoolStats,
    Tuning,
    Unusable,
)
from waystation_relay.spool.writer import EventSink, Writer

DEFAULT = Tuning()


def _nothing(*_: object) -> None:
    pass


class Spool:
    def __init__(
        self,
        layout: Layout,
        recovered: Recovered,
        clock: Clock,
        limits: SpoolLimits,
        loop: asyncio.AbstractEventLoop,
        report: EventSink,
        tuning: Tuning,
    ) -> None:
        self.on_accepted: Callable[[Sequence[Message]], None] = _nothing
        self.on_broken: Callable[[SpoolFailure], None] = _nothing
        self.on_commit: Callable[[float], None] = _nothing  # hears how many seconds each commit took
        self.memory_bytes = tuning.memory_bytes
        self.chunk_bytes = tuning.stream_chunk_bytes
        self._clock = clock
        self._loop = loop
        self._layout = layout
        self._committer = recovered.committer
        self._identities = Identities(layout.tag, recovered.id_floor)
        self._closed = False

        def event(name: str, fields: dict[str, object]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(report, name, fields)

        self.arriving = 0
        self._writer = Writer(
            recovered.committer,
            layout,
            tuning,
            limits,
            clock,
            loop,
            self._deliver,
            event,
            lambda: self.arriving,
        )
        self._put = self._writer.put
        self._lookups = Lookups(layout, self._put, loop, tuning.memory_bytes)
        self._administration = Administration(self._lookups, self._job, clock, loop, layout.tag)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        clock: Clock,
        limits: SpoolLimits,
        loop: asyncio.AbstractEventLoop,
        report: EventSink = _nothing,
        tuning: Tuning = DEFAULT,
    ) -> "Spool":
        """Take ownership and recover; raises ``SpoolError``. ``report`` hears of damage and failures."""
        layout = Layout(directory)
        layout.claim()
        try:
            recovered = recover(layout, tuning, report)
            try:
                return cls(layout, recovered, clock, limits, loop, report, tuning)
            except BaseException as error:
                recovered.committer.index.close()
                if isinstance(error, (OSError, sqlite3.Error)):
                    raise Unusable(str(directory), failure_of(error).text) from error
                raise
        except BaseException:
            layout.release()
            raise

    def start(self) -> None:
        self._writer.start()
        self._lookups.start()

    async def close(self) -> None:
        """Commit what waits, stop the threads, give up the lock. Callbacks run before this returns."""
        if self._closed:
            return
        self._closed = True
        self._lookups.close()
        self._put(Stop())
        await self._loop.run_in_executor(None, self._finish)
        await asyncio.sleep(0)  # what the threads posted last runs before we are gone

    # Intake

    def refusal(self) -> Refusal | None:
        """``None``: mail may be accepted. Cheap; ask before each message."""
        return self._writer.refusal

    def set_limits(self, limits: SpoolLimits) -> None:
        self._writer.limits = limits
        self._writer.judge()  # for whoever asks next;
        self._put(Wake())  # and once more in the writer's own time, lest it judged just now by the old ones

    def draft(self) -> Draft:
        """A new message, named now so that its Received field can say so."""
        now = self._clock.now()
        number = self._identities.next(now)
        return Draft(number, queue_id_of(number, self._identities.tag), now, self)

    def accept(self, draft: Draft, envelope: Envelope, origin: Origin, done: Done, *, hold: str = "") -> None:
        """Make a draft durable; non-empty ``hold`` starts all recipients held for that reason."""
        flow = draft.finish()
        entry = Entry(
            draft.id,
            draft.queue_id,
            draft.arrival,
            envelope,
            origin,
            hold,
            draft.size_bytes,
            draft.chunks,
            flow,
        )
        self._accept(entry, done)

    def adopt(self, draft: Draft, adoption: Adoption, done: Done) -> None:
        """Make another relay's message durable here, as far as it had come there (``known`` first)."""
        flow = draft.finish()
        entry = Entry(
            draft.id,
            adoption.queue_id,
            adoption.arrival,
            adoption.envelope,
            adoption.origin,
            "",
            draft.size_bytes,
            draft.chunks,
            flow,
            adoption,
        )
        self._accept(entry, done)

    async def known(self, offered: Sequence[tuple[str, str]]) -> set[str]:
        """Of (name, queue id) pairs offered, the names of those that were here before (``adopt``)."""
        return await self._administration.known(offered)

    def forget(self, done: Callable[[object, SpoolFailure | None], None] = _nothing) -> None:
        """Names of what was adopted long ago take no more room."""
        self._administration.forget(done)

    # Outcomes

    def settle(self, change: Settlement, done: Done | None = None) -> None:
        """Commit what became of a message, new messages (reports) included, in one transaction."""
        entries = []
        for new in change.new:
            now = self._clock.now()
            number = self._identities.next(now)
            entries.append(
                Entry(
                    number,
                    queue_id_of(number, self._identities.tag),
                    now,
                    new.envelope,
                    new.origin,
                    new.hold,
                    len(new.content),
                    [new.content],
                    None,
                )
            )
        if self._closed:
            if done is not None:
                self._loop.call_soon(done, CLOSED)
        else:
            self._writer.put_settle(Settle(change_of(change), entries, done))

    def can_settle(self) -> bool:
        """``False`` while settlements wait for a failing disk: an attempt now might be made twice."""
        return not self._writer.unsettled and self._writer.broken is None

    @property
    def broken(self) -> SpoolFailure | None:
        """Nothing can be promised until the process restarts."""
        return self._writer.broken

    # What is due

    def load_due(
        self, after: Cursor, now: float, limit: int, done: Callable[[list[Message], Cursor], None]
    ) -> None:
        """Messages with a recipient due by ``now``, in order of (due, id) behind ``after``.

        Each comes with all its pending recipients, due or not, and without
        content. A message whose recipients are due at different times comes
        once for each time. An empty list with a cursor that moved is not the end.
        """
        self._lookups.due(after, now, limit, done)

    def next_due(self, after: float, done: Callable[[float | None], None]) -> None:
        """The earliest due time later than ``after``."""
        self._lookups.next_due(after, done)

    def read(self, message: Message, done: Callable[[bytes | BodyFile | ReadFailure], None]) -> None:
        """The body: at once when it is warm, else checked from disk.

        ``bytes`` up to 1 MiB, above that a ``BodyFile`` for the caller to
        close. A damaged one is set aside and its recipients held before
        ``done`` hears of it.
        """
        if message.content is not None:
            done(message.content)
        else:
            self._lookups.body(message.id, done)

    # Figures and administration

    def stats(self) -> SpoolStats:
        return msgspec.structs.replace(self._writer.stats, unsettled=self._writer.unsettled)

    async def find(self, query: Query, limit: int, after: int = 0) -> list[Message]:
        """Matching messages with ids above ``after``, in order of arrival."""
        return await self._administration.find(query, limit, after)

    async def get(self, queue_id: str) -> Message | None:
        return await self._administration.get(queue_id)

    async def again(self, ids: Sequence[int]) -> list[Message]:
        """These messages as they are now, without those that have left."""
        return await self._administration.again(ids)

    async def survey(self, after: int, responsible: Responsible) -> tuple[dict[str, Tally], int | None]:
        """What waits among the next messages behind the id ``after``, by who is responsible, and the id to go
        on from; ``responsible`` is called in another thread."""
        return await self._administration.survey(after, responsible)

    async def change(self, query: Query, action: Action) -> list[int]:
        """Carry an action out on the matching recipients; the ids of the messages changed.

        Raises ``SpoolUnavailable`` when it cannot be committed; steps before that stay.
        """
        return [number async for step in self.changing(query, action) for number in step]

    def changing(self, query: Query, action: Action) -> AsyncIterator[dict[int, str]]:
        """The same for many messages: ids and queue ids come in steps, each as soon as it is committed."""
        return self._administration.change(query, action)

    @property
    def last_id(self) -> int:
        """The highest id given out so far."""
        return self._identities.last

    @property
    def tag(self) -> str:
        """What the queue ids made here end with: no other spool's do."""
        return self._identities.tag

    def queue_id(self, message_id: int) -> str:
        """What this spool calls the message; its queue id unless it was adopted."""
        return queue_id_of(message_id, self._identities.tag)

    # For drafts (``draft.Streamer``)

    def send(self, flow: Flow, chunks: list[bytes]) -> None:
        self._put(Write(flow, chunks))

    def drop(self, flow: Flow) -> None:
        self._put(Drop(flow))

    # Inside

    def _accept(self, entry: Entry, done: Done) -> None:
        if self._closed:
            self._loop.call_soon(done, CLOSED)
        elif entry.flow is not None:  # behind its last piece
            self._put(Accept(entry, done))
        else:
            self._writer.put_accept(Accept(entry, done))

    def _deliver(self, report: Report) -> None:
        """A batch's consequences; one callback's mistake does not cost the others theirs."""
        for draft, size_bytes in report.written:
            self._call(draft.written, size_bytes)
        for seconds in report.commits_s:
            self._call(self.on_commit, seconds)
        if report.messages:
            self._call(self.on_accepted, report.messages)
        for call, arguments in report.calls:
            try:
                call(*arguments)
            except Exception as error:  # noqa: BLE001 reported by the loop
                self._mistake(call, error)
        if report.broken is not None:
            self._call(self.on_broken, report.broken)

    def _call(self, call: Callable[..., None], argument: object) -> None:
        try:
            call(argument)
        except Exception as error:  # noqa: BLE001 reported by the loop
            self._mistake(call, error)

    def _mistake(self, call: Callable[..., None], error: Exception) -> None:
        self._loop.call_exception_handler({"message": f"spool callback {call!r} failed", "exception": error})

    def _job(self, operation: Job) -> None:
        if self._closed:
            operation.done(None, CLOSED)
        else:
            self._put(operation)

    def _finish(self) -> None:
        """Off the loop: wait for the threads, leave things tidy, let the lock go."""
        self._writer.join()
        self._lookups.stop()
        try:
            if self._writer.broken is None:
                _tidy(self._committer.index, self._identities.last)
                self._committer.segments.close()
        except (OSError, sqlite3.Error):
            pass  # the next start recovers: tidying saves it time, no more
        finally:
            self._committer.index.close()
            self._layout.release()


def _tidy(index: Index, last_id: int) -> None:
    index.begin()
    index.set_counter("id_floor", last_id + 1)
    index.commit()
    index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
