"""Turns a judgement into the reports that its senders are owed.

Asks ``bounce`` who is to be told, reads as much of the message as the report
returns, and hands back messages for the same transaction that closes or
updates the recipients: a report is durable before its message leaves.
"""

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Mapping

from waystation_contract.model import Retry
from waystation_relay.aio.clock import Clock
from waystation_relay.bounce import notices, report
from waystation_relay.bounce.notices import Kind, Notice, Settled
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.dispatch import judge
from waystation_relay.dispatch.judge import Judgement
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.dispatch.record import RECIPIENTS_LOGGED
from waystation_relay.mail.envelope import Origin
from waystation_relay.mail.message import Message, Progress
from waystation_relay.schedule import backoff
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import NewMessage, ReadFailure


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What to commit: reports, recipients that leave, recipients kept because nobody can be told."""

    messages: tuple[NewMessage, ...]
    removed: tuple[int, ...]
    kept: tuple[Progress, ...]


class Notifier:
    def __init__(self, spool: Spool, clock: Clock, metrics: DispatchMetrics, log: DispatchLog) -> None:
        self._spool, self._clock, self._metrics, self._log = spool, clock, metrics, log

    def concerns(self, message: Message, judgement: Judgement) -> bool:
        """Whether anybody is to be told anything; False for nearly all mail, and cheap."""
        recipients = message.envelope.recipients
        return any(
            notices.kind_of(outcome, recipients[number].notify) is not None
            for number, outcome in (*judgement.final, *judgement.late)
        )

    def prepare(
        self,
        message: Message,
        progress: Mapping[int, Progress],
        body: bytes | None,
        judgement: Judgement,
        retry: Retry,
        snapshot: Snapshot,
        done: Callable[[Prepared], None],
    ) -> None:
        """``body``: the message's bytes when they are at hand. ``done`` may be called before this returns."""
        now = self._clock.now()
        until = backoff.expires_at(retry, message.arrival)
        plan = notices.plan(
            message,
            [Settled(number, outcome, now) for number, outcome in judgement.final]
            + [Settled(number, outcome, now, until) for number, outcome in judgement.late],
            postmaster=snapshot.document.postmaster,
        )
        staying = {kept.number for kept in plan.kept}
        outcomes = dict(judgement.final)
        kept = tuple(
            judge.kept(progress[entry.number], outcomes[entry.number], entry.reason, now)
            for entry in plan.kept
        )
        removed = tuple(number for number, _ in judgement.final if number not in staying)
        for entry in plan.kept:
            self._log.emit("message.held", queue_id=message.queue_id, reason=entry.reason)

        def written(original: bytes) -> None:
            messages: list[NewMessage] = []
            unsaid: list[Settled] = []
            for notice in plan.notices:
                try:
                    messages.append(self._write(notice, message, original, snapshot, now))
                except Exception as error:  # noqa: BLE001 -- a report we cannot write must not lose what it is about
                    self._log.emit(
                        "internal.error", where="report", queue_id=message.queue_id, error=repr(error)
                    )
                    if notice.kind in (Kind.FAILURE, Kind.DOUBLE):
                        unsaid += notice.settled
            why = "its report could not be written"
            extra = tuple([judge.kept(progress[e.number], e.outcome, why, now) for e in unsaid])
            silent = {entry.number for entry in unsaid}
            leaving = tuple([number for number in removed if number not in silent])
            done(Prepared(tuple(messages), leaving, (*kept, *extra)))

        if not plan.notices:
            done(Prepared((), removed, kept))
        elif body is not None:
            written(body)
        else:
            whole = any(report.wants_full(notice, message) for notice in plan.notices)
            wanted_bytes = message.size_bytes if whole else report.HEADER_BYTES
            self._spool.read(message, lambda found: _beginning(found, wanted_bytes, written))

    def _write(
        self, notice: Notice, message: Message, original: bytes, snapshot: Snapshot, now: float
    ) -> NewMessage:
        built = report.build(
            notice,
            message,
            original if report.wants_full(notice, message) else original[: report.HEADER_BYTES],
            hostname=snapshot.document.hostname,
            now=now,
            tag=f"{message.queue_id}.{secrets.token_hex(4)}",
        )
        self._metrics.notice(notice.kind)
        self._log.emit(
            "bounce.created",
            queue_id=message.queue_id,
            kind=notice.kind,
            to=notice.to,
            recipients=[
                message.envelope.recipients[s.number].address for s in notice.settled[:RECIPIENTS_LOGGED]
            ],
            count=len(notice.settled),
        )
        return NewMessage(built.envelope, Origin(), built.content)


def _beginning(
    found: bytes | BodyFile | ReadFailure, wanted_bytes: int, then: Callable[[bytes], None]
) -> None:
    """What the report returns of the message; nothing of one that cannot be read. Not on the loop: a disk."""
    match found:
        case bytes():
            then(found)
        case BodyFile():
            reading = asyncio.get_running_loop().run_in_executor(None, found.read, 0, wanted_bytes)

            def read(reading: "asyncio.Future[bytes]") -> None:
                found.close()
                failed = reading.cancelled() or reading.exception() is not None
                then(b"" if failed else reading.result())

            reading.add_done_callback(read)
        case _:
            then(b"")
