"""The writer thread: takes everything that waits, commits it once, tells the loop once.

The event loop puts operations; while one batch is on its way to disk the next
gathers, so load makes batches larger and nothing waits on a timer. Callbacks
of a batch go out before any housekeeping (compaction, checkpoint) is done.

When a commit fails nobody is acknowledged: accepts fail at once, settlements
are kept and tried again in order, first and by themselves, since they are
what frees room. A permanent failure (``trouble``) ends all trying: everything
waiting and to come fails, ``broken`` is set, and the process must restart.

Ends with ``Stop``. Every error ends in a callback or a report; none is lost.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from waystation_relay.aio.clock import Clock
from waystation_relay.spool import compaction
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.corrupt import set_aside
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.index import Index
from waystation_relay.spool.layout import Layout, sync, write_all
from waystation_relay.spool.operations import (
    Accept,
    Condemn,
    Drop,
    Job,
    Operation,
    Report,
    Settle,
    Stop,
    Write,
)
from waystation_relay.spool.trouble import failure_of, fullness, refusal_of, volume_of
from waystation_relay.spool.values import (
    FailureKind,
    Refusal,
    SpoolFailure,
    SpoolLimits,
    Tuning,
)

VOLUME_INTERVAL_S = 1.0  # how often the room on the volume is looked at while committing
IDLE_CHECKPOINT_S = 1.0
PROBE = b"\0" * 65536
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
        self._queue: queue.SimpleQueue[Operation] = queue.SimpleQueue()
        self.put = self._queue.put
        self._retained: list[Settle] = []
        self._streams: set[Any] = set()
        self._failure: SpoolFailure | None = None  # of the last attempt
        self._volume = volume_of(layout.directory)
        self._volume_seen = clock.monotonic()
        self._report = Report()
        self._thread = threading.Thread(target=self._run, name="spool-writer", daemon=True)
        self.judge()

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
            else fullness(self.stats.size_bytes, self.limits, self._volume)
        )

    # The thread

    def _run(self) -> None:
        stopping = False
        while not stopping:
            operations = self._take(self._patience())
            try:
                stopping = self._process(operations)
            except Exception as error:  # noqa: BLE001 a mistake of ours must not strand those who wait
                self._break(failure_of(error))
                stopping = any(isinstance(operation, Stop) for operation in operations)
            self._send()
            if not stopping and self.broken is None:
                self._housekeep(idle=not operations)
        self._end()

    def _take(self, patience_s: float | None) -> list[Operation]:
        """What waits, at least one operation unless ``patience_s`` runs out first."""
        waiting = self._queue
        try:
            if patience_s is not None and patience_s <= 0:
                taken = [waiting.get_nowait()]
            else:
                taken = [waiting.get(timeout=patience_s)]
        except queue.Empty:
            return []
        size_bytes = _size(taken[0])
        for _ in range(min(waiting.qsize(), self._tuning.batch_operations - 1)):
            if size_bytes > self._tuning.batch_bytes:
                break
            operation = waiting.get_nowait()  # nobody else takes
            size_bytes += _size(operation)
            taken.append(operation)
        return taken

    def _patience(self) -> float | None:
        if self.broken is not None:
            return None
        if self.refusal is not None or self._retained:
            return self._tuning.probe_interval_s
        if self._committer.segments.sparse:
            return 0.0
        if self._committer.wal_pages:
            return IDLE_CHECKPOINT_S
        return None

    def _process(self, operations: Sequence[Operation]) -> bool:
        accepts: list[Accept] = []
        settles: list[Settle] = []
        jobs: list[Job] = []
        condemned: list[Condemn] = []
        stopping = False
        for operation in operations:
            match operation:
                case Accept():
                    accepts.append(operation)
                case Settle():
                    settles.append(operation)
                case Write():
                    self._write(operation)
                case Drop():
                    self._drop(operation.flow)
                case Job():
                    jobs.append(operation)
                case Condemn():
                    condemned.append(operation)
                case Stop():
                    stopping = True
        if self.broken is not None:
            self._refuse(accepts, settles, jobs, condemned, self.broken)
            return stopping
        for condemn in condemned:
            jobs += self._prepare(condemn)
        settles = self._retained + settles
        self._retained = []
        if self._failure is None:
            if accepts or settles or jobs:
                self._attempt(accepts, settles, jobs)
        else:
            if settles or jobs:
                self._attempt((), settles, jobs)
            if accepts:
                self._attempt(accepts, (), ())
            if not (accepts or settles or jobs) and not operations:
                self._probe()
        if not operations or self._clock.monotonic() - self._volume_seen >= VOLUME_INTERVAL_S:
            self._look_at_volume()
        self.judge()
        return stopping

    def _look_at_volume(self) -> None:
        self._volume_seen = self._clock.monotonic()
        try:
            self._volume = volume_of(self._layout.directory)
        except OSError as error:
            self._fail((), (), (), failure_of(error))

    def _attempt(self, accepts: Sequence[Accept], settles: Sequence[Settle], jobs: Sequence[Job]) -> None:
        if self.broken is not None:
            self._refuse(accepts, settles, jobs, (), self.broken)
            return
        report = self._report
        sound = [accept for accept in accepts if accept.entry.flow is None or not accept.entry.flow.failure]
        for accept in accepts:
            flow = accept.entry.flow
            if flow is not None and flow.failure is not None:
                self._drop(flow)
                report.calls.append((accept.done, (flow.failure,)))
        entries = [accept.entry for accept in sound]
        for settle in settles:
            entries += settle.entries
        try:
            messages, results = self._committer.commit(entries, [settle.change for settle in settles], jobs)
        except Exception as error:  # noqa: BLE001 whatever it was, nothing of this batch was promised
            self._fail(sound, settles, jobs, failure_of(error))
            return
        self._failure = None
        for accept in sound:
            if accept.entry.flow is not None:
                self._streams.discard(accept.entry.flow)
        self.stats = self._committer.stats
        report.messages += messages
        report.calls += [(accept.done, (None,)) for accept in sound]
        report.calls += [(settle.done, (None,)) for settle in settles if settle.done is not None]
        report.calls += [(job.done, (result, None)) for job, result in zip(jobs, results, strict=True)]

    # Failure

    def _fail(
        self, accepts: Sequence[Accept], settles: Sequence[Settle], jobs: Sequence[Job], failure: SpoolFailure
    ) -> None:
        if self._failure != failure:
            self._event("spool.failing", {"kind": failure.kind.value, "text": failure.text})
        self._failure = failure
        if failure.permanent:
            self._break(failure)
            self._refuse(accepts, settles, jobs, (), failure)
            return
        self._refuse(accepts, (), jobs, (), failure)
        self._retained += settles

    def _refuse(
        self,
        accepts: Sequence[Accept],
        settles: Sequence[Settle],
        jobs: Sequence[Job],
        condemned: Sequence[Condemn],
        failure: SpoolFailure,
    ) -> None:
        calls = self._report.calls
        for accept in accepts:
            if accept.entry.flow is not None:
                self._drop(accept.entry.flow)
            calls.append((accept.done, (failure,)))
        calls += [(settle.done, (failure,)) for settle in settles if settle.done is not None]
        calls += [(job.done, (None, failure)) for job in jobs]
        calls += [(condemn.done, ()) for condemn in condemned]

    def _break(self, failure: SpoolFailure) -> None:
        if self.broken is None:
            self.broken = failure
            self._event("spool.broken", {"text": failure.text})
        self._refuse((), self._retained, (), (), failure)
        self._retained = []
        self.judge()

    def _probe(self) -> None:
        """Nothing waits, so write something of our own to see whether writing works again."""
        path = self._layout.probe
        try:
            with path.open("wb", buffering=0) as file:
                write_all(file.fileno(), [PROBE], 0)
                sync(file.fileno(), path)
            path.unlink()
        except Exception as error:  # noqa: BLE001 any failure leaves things as they are
            self._fail((), (), (), failure_of(error))
        else:
            self._failure = None

    # Streams and damaged bodies

    def _write(self, operation: Write) -> None:
        flow = operation.flow
        self._report.written.append((flow.draft, sum(map(len, operation.chunks))))
        if flow.failure is not None:
            return
        if self.broken is not None:
            flow.failure = self.broken
            return
        segments = self._committer.segments
        try:
            if flow.stream is None:
                flow.stream = segments.open_stream()
                self._streams.add(flow)
            segments.extend(flow.stream, operation.chunks)
        except Exception as error:  # noqa: BLE001 told to whoever accepts the draft
            flow.failure = failure_of(error)
            self._fail((), (), (), flow.failure)

    def _drop(self, flow: Any) -> None:
        self._streams.discard(flow)
        if flow.stream is not None:
            self._committer.segments.drop(flow.stream)

    def _prepare(self, condemn: Condemn) -> list[Job]:
        """Copy a damaged body to ``corrupt/``; the job that lets the index know."""
        why, message_id = f"corrupt: {condemn.why}", condemn.message_id
        try:
            aside = set_aside(self._layout, self._committer.index.db, message_id, condemn.why)
        except Exception as error:  # noqa: BLE001 the recipients are held nonetheless
            self._event("spool.set_aside_failed", {"id": message_id, "text": str(error)})
            copied = False
        else:
            if aside is None:
                self._report.calls.append((condemn.done, ()))
                return []
            copied = aside.copied
            self._event("spool.corrupt", {"queue_id": aside.queue_id, "text": condemn.why})

        def apply(index: Index) -> None:
            index.condemn(message_id, why, copied=copied)

        return [Job(apply, lambda _result, _failure: condemn.done())]

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

    def _housekeep(self, *, idle: bool) -> None:
        committer = self._committer
        if self._failure is not None:
            return
        try:
            if committer.segments.sparse:
                for message_id, why in compaction.step(committer, self._layout, self._tuning):
                    self.put(Condemn(message_id, why, lambda: None))
                self.stats = committer.stats
            elif committer.wal_pages >= self._tuning.checkpoint_pages or (idle and committer.wal_pages):
                committer.checkpoint()
        except Exception as error:  # noqa: BLE001 nothing was waiting for it; the next attempt tells
            self._fail((), (), (), failure_of(error))
            self.judge()
            self._send()

    def _end(self) -> None:
        """After Stop: nothing more is tried, nothing half-made stays."""
        left = list(self._retained)
        self._retained = []
        closed = SpoolFailure(FailureKind.CLOSED, "the spool is closed")
        self._refuse((), left, (), (), self.broken or self._failure or closed)
        for flow in list(self._streams):
            self._drop(flow)
        self._send()


def _size(operation: Operation) -> int:
    match operation:
        case Accept(entry=entry):
            return entry.size_bytes if entry.flow is None else 0
        case Settle(entries=entries):
            return sum(entry.size_bytes for entry in entries)
        case _:
            return 0
