"""Ends the processes of a run: those on record, and only while they are the ones that were recorded."""

import signal
import time
from collections.abc import Callable, Sequence

from waystation_operator.local import record as records
from waystation_operator.local.child import STOP_WITHIN_S
from waystation_operator.local.layout import Layout
from waystation_operator.local.record import Identity, Record

_POLL_S = 0.02
_SUPERVISOR_WITHIN_S = STOP_WITHIN_S + 5.0  # it waits for its children

Say = Callable[[str], None]


def live(layout: Layout) -> Record | None:
    """The record of a run whose supervisor is alive."""
    record = records.read_record(layout)
    return record if record is not None and records.is_alive(record.supervisor) else None


def orphans(layout: Layout) -> dict[str, Identity]:
    """By name, what still runs of a run whose supervisor is gone."""
    record = records.read_record(layout)
    if record is None or records.is_alive(record.supervisor):
        return {}
    return {
        running.process.name: running.identity
        for running in record.processes
        if running.identity is not None and records.is_alive(running.identity)
    }


def end_orphans(layout: Layout, say: Say) -> None:
    """Stops what a killed supervisor left behind, and forgets that run."""
    left = orphans(layout)
    if left:
        say(f"stopping what an earlier run left behind: {', '.join(sorted(left))}")
        end(list(left.values()), STOP_WITHIN_S)
    if live(layout) is None:
        layout.record.unlink(missing_ok=True)


def end_run(record: Record, say: Say) -> None:
    """Asks the supervisor to stop everything, and waits until it has."""
    names = [running.process.name for running in record.processes]
    say(f"stopping {', '.join(names) or 'the supervisor'}")
    end([record.supervisor], _SUPERVISOR_WITHIN_S)


def end(processes: Sequence[Identity], within_s: float) -> None:
    """SIGTERM to all at once; SIGKILL to those that are still there in the end."""
    for identity in processes:
        records.send(identity, signal.SIGTERM)
    if not _gone(processes, within_s):
        for identity in processes:
            records.send(identity, signal.SIGKILL)
        _gone(processes, within_s)


def _gone(processes: Sequence[Identity], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while any(map(records.is_alive, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
