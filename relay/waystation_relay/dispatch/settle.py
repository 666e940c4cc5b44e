"""Outcomes become durable: judged, reported, committed, and only then believed.

Called by the dispatcher for each job that is over, and for what is decided
without one. The spool keeps what it cannot write yet and tries again, so a
flight whose outcomes wait for a failing disk waits with them.

Invariants
    ``settled`` is told once of each ``settle`` and ``commit``, after the
    commit; never when the spool has broken for good.
    What a person did meanwhile stands: a deleted recipient does not come back
    to life in ``progress``, a held one is not set free.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from waystation_contract.model import Retry
from waystation_relay.aio.clock import Clock
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.dispatch import judge
from waystation_relay.dispatch.flight import Flight
from waystation_relay.dispatch.judge import Decided, Judgement
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.dispatch.record import record
from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Deferred, Delivered
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import NewMessage, Settlement, SpoolFailure


class Settler:
    def __init__(
        self,
        *,
        spool: Spool,
        snapshot: Callable[[], Snapshot],
        notifier: Notifier,
        clock: Clock,
        metrics: DispatchMetrics,
        log: DispatchLog,
        roll: Callable[[], float],
        settled: Callable[[Flight], None],
    ) -> None:
        self._spool, self._snapshot, self._notifier = spool, snapshot, notifier
        self._clock, self._metrics, self._log, self._roll = clock, metrics, log, roll
        self._told = settled

    def settle(self, flight: Flight, decided: Sequence[Decided], retry: Retry, route: str) -> None:
        """One job's outcomes. ``settled`` hears at once when none of them concerns the queue any more."""
        now = self._clock.now()
        if flight.touched:
            decided = self._as_people_said(flight, decided, route, now)
        if not decided:
            self._told(flight)
            return
        judgement = judge.judge(flight.message, flight.progress, decided, retry, now, self._roll)
        record(self._log, self._metrics, flight.message, judgement, route, now)
        if not self._notifier.concerns(flight.message, judgement):
            self.commit(flight, judgement.updates, tuple([n for n, _ in judgement.final]))
            return
        self._notifier.prepare(
            flight.message,
            flight.progress,
            flight.body,
            judgement,
            retry,
            self._snapshot(),
            lambda made: self.commit(flight, (*judgement.updates, *made.kept), made.removed, made.messages),
        )

    def commit(
        self,
        flight: Flight,
        updates: Iterable[Progress],
        removed: tuple[int, ...] = (),
        new: tuple[NewMessage, ...] = (),
    ) -> None:
        updates = tuple(updates)
        self._spool.settle(
            Settlement(flight.message.id, updates, removed, new),
            lambda failure: self._committed(flight, updates, removed, failure),
        )

    def _as_people_said(
        self, flight: Flight, decided: Sequence[Decided], route: str, now: float
    ) -> list[Decided]:
        """Without the recipients deleted meanwhile; a deferral gives way to what a person decided."""
        gone = tuple([(n, o) for n, o in decided if n not in flight.progress and isinstance(o, Delivered)])
        if gone:  # too late to be stopped: the log at least must know
            record(self._log, self._metrics, flight.message, Judgement((), gone, ()), route, now)
        verdicts = flight.verdicts or {}
        left: list[Decided] = []
        for number, outcome in decided:
            verdict = verdicts.pop(number, None)
            if number in flight.progress:
                left.append((number, verdict if verdict and isinstance(outcome, Deferred) else outcome))
        return left

    def _committed(
        self,
        flight: Flight,
        updates: Iterable[Progress],
        removed: Iterable[int],
        failure: SpoolFailure | None,
    ) -> None:
        if failure is not None:
            return
        progress = flight.progress
        for number in removed:
            progress.pop(number, None)
        for update in updates:
            before = progress.get(update.number)
            if before is None:
                continue
            if before.status is Status.HELD and update.status is Status.WAITING:
                update = msgspec.structs.replace(  # noqa: PLW2901 -- the spool did just this
                    update, status=Status.HELD, hold_reason=before.hold_reason
                )
            progress[update.number] = update
        self._told(flight)
