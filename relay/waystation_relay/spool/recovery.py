"""From whatever a crash left to a spool that can be trusted.

The index is the authority. SQLite replays its own WAL; then segment files
that no message refers to are removed, messages whose segment is missing or too
short are set aside (their recipients held), and the figures are counted
afresh. An index that SQLite calls damaged is moved to ``corrupt/`` and what
can still be read of it becomes a new one (``salvage``); after that, and when
the index is new although segments exist, unreferenced segments are moved to
``corrupt/`` instead of removed: they may hold what the index has lost.

Every step can be repeated: killed in the middle, it starts over.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from waystation_relay.spool import salvage
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.corrupt import set_aside
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.index import Index, is_damaged
from waystation_relay.spool.layout import Layout, sync_directory
from waystation_relay.spool.operations import Job
from waystation_relay.spool.segments import Segments
from waystation_relay.spool.values import SpoolStats, Tuning, Unusable

Event = Callable[[str, dict[str, object]], None]

COUNT_MESSAGES = "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(max(id), 0) FROM messages"
COUNT_RECIPIENTS = "SELECT status, count(*) FROM recipients GROUP BY status"
# The partial index answers this alone: it is in order of segment and has the sizes.
SEGMENTS = "SELECT segment, count(*), sum(size_bytes) FROM messages WHERE segment > 0 GROUP BY segment"
TOO_SHORT = "SELECT id FROM messages WHERE segment = ? AND segment > 0 AND offset + size_bytes > ?"


@dataclass(frozen=True, slots=True)
class Recovered:
    committer: Committer
    id_floor: int  # the first id that may be given out


def recover(layout: Layout, tuning: Tuning, event: Event) -> Recovered:
    """Open the index, whatever it takes, and bring the files into line with it."""
    try:
        index, counted = _open_whole(layout, event)
    except sqlite3.DatabaseError as error:
        raise Unusable(str(layout.directory), f"index: {error}") from error
    except OSError as error:
        raise Unusable(str(layout.directory), f"{error.strerror}: {error.filename}") from error
    try:
        return _bring_into_line(layout, tuning, event, index, counted)
    except BaseException:
        index.close()
        raise


@dataclass(frozen=True, slots=True)
class Counted:
    messages: int
    size_bytes: int
    last_id: int
    recipients: dict[int, int]
    segments: dict[int, tuple[int, int]]  # number → (records, bytes)


def _open_whole(layout: Layout, event: Event) -> tuple[Index, Counted]:
    mark = salvage.Mark(layout)
    salvage.finish(layout, event)
    if not mark.exists() and not layout.index.exists() and any(layout.segments.iterdir()):
        event("spool.index_missing", {"directory": str(layout.directory)})
        mark.leave()
    try:
        return _open(layout)
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
        event("spool.index_damaged", {"text": str(error)})
    salvage.begin(layout)
    salvage.finish(layout, event)
    return _open(layout)


def _open(layout: Layout) -> tuple[Index, Counted]:
    """Counting reads every row's page, so damage there is found now rather than in the middle of work."""
    index = Index(layout.index)
    try:
        reach("recovery.index_opened")
        db = index.db
        messages, size_bytes, last_id = db.execute(COUNT_MESSAGES).fetchone()
        return index, Counted(
            messages,
            size_bytes,
            last_id,
            dict(db.execute(COUNT_RECIPIENTS).fetchall()),
            {number: (records, live) for number, records, live in db.execute(SEGMENTS).fetchall()},
        )
    except BaseException:
        index.close()
        raise


def _bring_into_line(
    layout: Layout, tuning: Tuning, event: Event, index: Index, counted: Counted
) -> Recovered:
    mark = salvage.Mark(layout)
    files = {path: _number(path) for path in layout.segments.iterdir()}
    last_segment = max([0, *counted.segments, *(number for number in files.values() if number)])
    segments = Segments(layout, tuning, last_segment + 1)
    on_disk: dict[int, int] = {}
    for path, number in files.items():
        if number in counted.segments:
            on_disk[number] = path.stat().st_size
        elif mark.exists() and path.stat().st_size:
            path.rename(layout.corrupt / f"segment-{path.name}")
            event("spool.segment_kept", {"file": f"segment-{path.name}"})
        else:
            path.unlink()
            reach("recovery.file_removed")
    sync_directory(layout.corrupt)
    sync_directory(layout.segments)
    mark.remove()
    layout.probe.unlink(missing_ok=True)
    reach("recovery.swept")
    for number, (records, live_bytes) in counted.segments.items():
        if number in on_disk:
            segments.recover(number, on_disk[number], records, live_bytes)
    stats = SpoolStats(
        messages=counted.messages,
        waiting=counted.recipients.get(0, 0),
        held=counted.recipients.get(1, 0),
        size_bytes=counted.size_bytes,
        oldest_arrival=(index.oldest() or (0, None))[1],
        segments=len(segments.known),
        segment_bytes=segments.disk_bytes,
        segment_live_bytes=segments.live_bytes,
    )
    committer = Committer(index, segments, tuning, stats)
    for number in counted.segments:
        ids = index.db.execute(TOO_SHORT, (number, on_disk.get(number, 0))).fetchall()
        for (message_id,) in ids:
            _condemn(layout, committer, message_id, event)
    return Recovered(committer, max(index.counter("id_floor"), counted.last_id + 1))


def _condemn(layout: Layout, committer: Committer, message_id: int, event: Event) -> None:
    why = "segment missing or too short"
    aside = set_aside(layout, committer.index.db, message_id, why)
    assert aside is not None, "nobody else changes the index during recovery"
    event("spool.corrupt", {"queue_id": aside.queue_id, "text": why})
    copied = aside.copied

    def condemn(index: Index) -> None:
        index.condemn(message_id, f"corrupt: {why}", copied=copied)

    committer.commit((), (), (Job(condemn, lambda _result, _failure: None),))


def _number(path: Path) -> int | None:
    try:
        return int(path.name, 16) if len(path.name) == 16 else None
    except ValueError:
        return None
