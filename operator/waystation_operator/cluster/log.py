"""The operator's log: one JSON object a line, on standard output. docs/operator.md shows the table.

What libraries log comes as lines of the event ``library``; probes know nothing
of a cluster and log in the same way, under an event of their own. A blocked
reader blocks the operator: it has no mail to delay.
"""

import datetime
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO


class Line(NamedTuple):
    event: str
    meaning: str
    level: int = logging.INFO


LINES: tuple[Line, ...] = (
    Line("operator.started", "The process is up."),
    Line("operator.stopping", "A signal, or a failure, ends it."),
    Line("operator.stopped", "Everything is closed."),
    Line("operator.failed", "A part of the operator ended that must not; the process ends.", logging.ERROR),
    Line("election.waiting", "Another replica holds the lease."),
    Line("election.won", "This replica leads from now on."),
    Line("election.lost", "The lease could not be renewed in time; the process ends at once.", logging.ERROR),
    Line("api.unreachable", "The API server does not answer; it is tried again.", logging.ERROR),
    Line("api.reachable", "The API server answers again."),
    Line("start.waiting", "The operator cannot begin; it is tried again. The text says what is missing."),
    Line("resync.refused", "Objects could not be listed anew.", logging.ERROR),
    Line("start.synced", "All objects are known; work begins."),
    Line("watch.began", "Watches are open."),
    Line("watch.failed", "Watching failed and begins anew.", logging.ERROR),
    Line(
        "watch.stalled", "A list showed what a watch should have told; all watches begin anew.", logging.ERROR
    ),
    Line("pool.reconciled", "A pass over a pool went well and changed nothing.", logging.DEBUG),
    Line("pool.failed", "A pass over a pool failed; it is tried again after a while.", logging.ERROR),
    Line("pool.again", "An object changed during a pass; it is done again at once.", logging.DEBUG),
    Line("object.applied", "An object was written; why tells what was not as planned."),
    Line("object.refused", "An object could not be written; the others were.", logging.ERROR),
    Line("object.deleted", "An object that is no longer wanted was deleted."),
    Line("claim.grown", "A volume claim was asked to grow."),
    Line("pod.marked", "Labels or annotations of a running pod were set."),
    Line("finalizer.set", "The pool's finalizer was added or removed."),
    Line("status.written", "A status was written; conditions tells what it says now."),
    Line("relay.called", "A relay was asked to load its configuration, to drain, or not to."),
    Line("relay.silent", "A relay could not be asked; error tells why.", logging.WARNING),
    Line(
        "server.tried",
        "A probe of a server that routes name has another result than before; info when the server works.",
        logging.WARNING,
    ),
    Line("event.refused", "A Kubernetes Event could not be written.", logging.WARNING),
    Line("library", "A line of a library, such as kopf.", logging.WARNING),
)

LOGGERS = {"waystation_operator.probe.watch": "server.tried"}
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_BY_NAME = {line.event: line for line in LINES}


class Log:
    """``emit`` writes a line unless its level is below the one asked for."""

    def __init__(
        self,
        level: str = "info",
        stream: TextIO | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._level, self._stream, self._wall = LEVELS[level], stream or sys.stdout, wall

    def emit(self, event: str, /, **fields: object) -> None:
        line = _BY_NAME[event]
        self.write(line.level, event, fields)

    def write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if level < self._level:
            return
        at = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"ts": stamp, "level": logging.getLevelName(level).lower(), "event": event, **fields}
        print(json.dumps(record, default=str), file=self._stream, flush=True)


class Bridge(logging.Handler):
    """Python's logging → our lines. ``hush``: beginnings of messages that we say better ourselves."""

    def __init__(self, log: Log, hush: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._log, self._hush = log, hush

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(self._hush):
            return
        fields: dict[str, object] = {"logger": record.name, "text": text}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = repr(record.exc_info[1])
        self._log.write(record.levelno, LOGGERS.get(record.name, "library"), fields)
