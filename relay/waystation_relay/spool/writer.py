"""The writer thread: takes everything that waits, commits it once, tells the loop once.

The event loop puts operations; while one batch is on its way to disk the next
gathers (``batch``). Callbacks of a batch go out before any housekeeping
(compaction, checkpoint) is done.

When a commit fails nobody is acknowledged: accepts fail at once, settlements
are kept and tried again in order, first and by themselves, since they are
what frees room. A permanent failure (``trouble``) ends all trying: everything
waiting and to come fails, ``broken`` is set, and the process must restart. If
it is the index that seems damaged, the next start is left word to look closely.

Ends with ``Stop``. Every error ends in a callback or a report; none is lost.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable

from waystation_relay.aio.clock import Clock
from waystation_relay.spool import compaction, damage, salvage
from waystation_relay.spool.batch import Batch, Inbox
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.draft import Flow
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.operations import Accept, Condemn, Job, Report, Settle, Write
from waystation_relay.spool.room import NO_ROOM, Room
from waystation_relay.spool.trouble import failure_of, probe, refusal_of
from waystation_relay.spool.values import FailureKind, Refusal, SpoolFailure, SpoolLimits, Tuning

IDLE_CHECKPOINT_S = 1.0
EventSink = Callable[[str, dict[str, object]], None]


class Writer:
    """Other threads use ``put``, ``limits``, and read ``stats``, ``refusal``, ``broken``, ``unsettled``."""

    def __init__(
        self,
        committer: Committer,
        layout: Layout,
        tuning: Tuning,
        limits: SpoolLimits,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        deliver: Callable[[Report], None],
        event: EventSink,
        arriving: Callable[[], int],
    ) -> None:
        self.limits = limits
        self.stats = committer.stats
        self.refusal: Refusal | None = None
        self.broken: SpoolFailure | None = None
        self.unsettled = 0
        self._committer = committer
        self._layout = layout
        self._tuning = tuning
        self._clock = clock
        self._loop = loop
        self._deliver = deliver
        self._event = event
        self._inbox = Inbox(tuning, arriving)
        self.put = self._inbox.put
        self.put_accept = self._inbox.put_accept
        self.put_settle = self._inbox.put_settle
        self._retained: list[Settle] = []
        self._flows: set[Flow] = set()  # with a file that no message refers to yet
        self._failure: SpoolFailure | None = None  # of the last attempt
        self._room = Room(layout, committer.segments, clock)
        self._again = False  # room was made just now for what failed
        self._report = Report()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self.judge()
        if not self._room.is_reserved:
            event("spool.failing", {"kind": NO_ROOM.kind.value, "text": NO_ROOM.text})

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def judge(self) -> None:
        """Whether intake is refused, from what is known."""
        failure = self.broken or self._failure
        self.refusal = (
            refusal_of(failure)
            if failure is not None
            else self._room.refusal(self.stats.size_bytes, self.limits)
        )

    # The thread

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch = Batch(self._inbox.take(self._patience()))
            is_last = batch.is_last
            try:
                self._process(batch)
            except Exception as error:  # noqa: BLE001 a mistake of ours must not strand those who wait
                self._break(failure_of(error))
                self._refuse_all(batch)
            self._send()
            if self._failure is None and self.broken is None and not is_last:
                self._housekeep(is_idle=batch.is_idle)
        self._end()

    def _patience(self) -> float | None:
        if self.broken is not None:
            return None
        if self._again:
            self._again = False
            return 0.0
        if self._failure is None and self._committer.segments.sparse:
            return 0.0
        if self.refusal is not None or self._retained:
            return self._tuning.probe_interval_s
        if self._committer.wal_pages:
            return IDLE_CHECKPOINT_S
        return None

    def _process(self, batch: Batch) -> None:
        for operation in batch.flows:
            if isinstance(operation, Write):
                self._write(operation)
            else:
                self._drop(operation.flow)
        if batch.broken is not None:
            self._break(batch.broken)
        if self.broken is not None:
            self._refuse_all(batch)
            return
        while batch.damage:
            found = batch.damage.pop(0)
            job = damage.prepare(self._layout, self._committer.index, found, self._event)
            if job is None:
                self._report.calls.append((found.done, ()))
            else:
                batch.jobs.append(job)
        if not self._room.is_reserved:
            self._refuse(batch.accepts, [], [], NO_ROOM)
        batch.settles[:0], self._retained = self._retained, []
        if self._failure is None:
            if batch:
                self._attempt(batch.accepts, batch.settles, batch.jobs)
        elif batch:
            if batch.settles or batch.jobs:
                self._attempt([], batch.settles, batch.jobs)
            if batch.accepts:
                self._attempt(batch.accepts, [], [])
        elif batch.is_idle:
            failure = probe(self._layout.probe)
            if failure is None:
                self._failure = None
            else:
                self._fail(failure)
        if batch.is_idle or self._room.is_due():
            self._look_around()
        self.judge()

    def _look_around(self) -> None:
        is_sound = self._failure is None and not self._retained
        size_bytes, committer = self.stats.size_bytes, self._committer
        try:
            spare_bytes = committer.index.free_bytes()
            self._room.look(size_bytes, self.limits, is_sound=is_sound, spare_bytes=spare_bytes)
            if self._room.refusal(size_bytes, self.limits) is not None:
                committer.make_room()
        except (OSError, sqlite3.Error) as error:
            failure = failure_of(error)
            if failure.kind is not FailureKind.FULL:  # no room to make room: the next look tries again
                self._fail(failure)

    def _attempt(self, accepts: list[Accept], settles: list[Settle], jobs: list[Job]) -> None:
        """Commit, and tell those who wait for it; the lists are empty afterwards."""
        if self.broken is not None:
            self._refuse(accepts, settles, jobs, self.broken)
            return
        calls = self._report.calls
        sound: list[Accept] = []
        for accept in accepts:
            flow = accept.entry.flow
            if flow is not None and flow.failure is not None:
                self._drop(flow)
                calls.append((accept.done, (flow.failure,)))
            else:
                sound.append(accept)
        accepts.clear()
        if not (sound or settles or jobs):
            return
        entries = [accept.entry for accept in sound]
        for settle in settles:
            entries += settle.entries
        began = self._clock.monotonic()
        try:
            messages, results = self._committer.commit(entries, [settle.change for settle in settles], jobs)
        except Exception as error:  # noqa: BLE001 whatever it was, nothing of this batch was promised
            failure = self._fail(failure_of(error))
            if not failure.permanent:
                self._retained += settles
                settles.clear()
            self._refuse(sound, settles, jobs, failure)
            return
        self._failure = None
        self._flows.difference_update([accept.entry.flow for accept in sound if accept.entry.flow])
        self.stats = self._committer.stats
        self._report.commits_s.append(self._clock.monotonic() - began)
        self._report.messages += messages
        calls += [(accept.done, (None,)) for accept in sound]
        calls += [(settle.done, (None,)) for settle in settles if settle.done is not None]
        calls += [(job.done, (result, None)) for job, result in zip(jobs, results, strict=True)]
        settles.clear()
        jobs.clear()

    # Failure

    def _fail(self, failure: SpoolFailure) -> SpoolFailure:
        """Note a failed attempt; the failure by its proper name."""
        if failure.kind is FailureKind.IO and not failure.permanent:
            failure = probe(self._layout.probe) or failure
        if failure.kind is FailureKind.FULL and self._room.give_up():
            self._again = True
        if self._failure != failure:
            self._event("spool.failing", {"kind": failure.kind.value, "text": failure.text})
        self._failure = failure
        if failure.permanent:
            self._break(failure)
        return failure

    def _break(self, failure: SpoolFailure) -> None:
        if self.broken is None:
            self.broken = self._report.broken = failure
            self._event("spool.broken", {"text": failure.text})
            if failure.kind is FailureKind.CORRUPT:
                with contextlib.suppress(Exception):  # without it the next start has to see for itself
                    salvage.suspect(self._layout)
        self._refuse([], self._retained, [], failure)
        self.judge()

    def _refuse(
        self, accepts: list[Accept], settles: list[Settle], jobs: list[Job], failure: SpoolFailure
    ) -> None:
        calls = self._report.calls
        for accept in accepts:
            if accept.entry.flow is not None:
                self._drop(accept.entry.flow)
            calls.append((accept.done, (failure,)))
        calls += [(settle.done, (failure,)) for settle in settles if settle.done is not None]
        calls += [(job.done, (None, failure)) for job in jobs]
        for operations in (accepts, settles, jobs):
            operations.clear()

    def _refuse_all(self, batch: Batch) -> None:
        assert self.broken is not None
        self._refuse(batch.accepts, batch.settles, batch.jobs, self.broken)
        self._report.calls += [(found.done, ()) for found in batch.damage]
        batch.damage.clear()

    # Streaming drafts

    def _write(self, operation: Write) -> None:
        flow = operation.flow
        self._report.written.append((flow.draft, sum(map(len, operation.chunks))))
        if flow.failure is not None:
            return
        if self.broken is not None or not self._room.is_reserved:
            flow.failure = self.broken or NO_ROOM
            self._drop(flow)
            return
        segments = self._committer.segments
        try:
            if flow.stream is None:
                flow.stream = segments.open_stream()
                self._flows.add(flow)
            segments.extend(flow.stream, operation.chunks)
        except Exception as error:  # noqa: BLE001 told to whoever accepts the draft
            flow.failure = self._fail(failure_of(error))
            self._drop(flow)  # the room it takes may be what is missing

    def _drop(self, flow: Flow) -> None:
        self._flows.discard(flow)
        if flow.stream is not None:
            if self.broken is None:
                self._committer.segments.drop(flow.stream)
            else:
                self._committer.segments.abandon(flow.stream)

    # Between batches

    def _send(self) -> None:
        self.unsettled = len(self._retained)
        if self._report:
            report, self._report = self._report, Report()
            reach("report.sending")
            try:
                self._loop.call_soon_threadsafe(self._deliver, report)
            except RuntimeError:  # the loop is closed: nobody is left to tell
                self._event("spool.unheard", {"callbacks": len(report.calls)})

    def _housekeep(self, *, is_idle: bool) -> None:
        committer = self._committer
        compacts = bool(committer.segments.sparse)
        try:
            if compacts:
                for message_id, why in compaction.step(committer, self._layout, self._tuning):
                    self.put(Condemn(message_id, why, lambda: None))
                self.stats = committer.stats
            is_quiet = is_idle and not compacts
            if committer.wal_pages >= (1 if is_quiet else self._tuning.checkpoint_pages):
                committer.checkpoint()
        except Exception as error:  # noqa: BLE001 nothing was waiting for it; the next attempt tells
            self._fail(failure_of(error))
            self.judge()
            self._send()

    def _end(self) -> None:
        """After Stop: nothing more is tried, nothing half-made stays."""
        closed = SpoolFailure(FailureKind.CLOSED, "the spool is closed")
        self._refuse([], self._retained, [], self.broken or self._failure or closed)
        for flow in list(self._flows):
            self._drop(flow)
        self._room.close()
        self._send()
