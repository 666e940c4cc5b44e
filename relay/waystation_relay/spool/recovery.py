"""From whatever a crash left to a spool that can be trusted.

The index is the authority. SQLite replays its own WAL; then segment files
that no message refers to are removed, messages whose segment is missing or too
short are set aside (their recipients held), and the figures are counted
afresh. An index that SQLite calls damaged, or whose messages and recipients
do not match, is moved to ``corrupt/`` and what can still be read of it becomes
a new one (``salvage``); after that, and when the index is new although
segments exist, unreferenced segments are moved to ``corrupt/`` instead of
removed: they may hold what the index has lost.

Every step can be repeated: killed in the middle, it starts over.

Errors
    Unusable: the disk does not let us (full, read-only, failing), or the damage is past help.
"""

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from waystation_relay.mail.message import Status
from waystation_relay.spool import salvage
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.corrupt import set_aside
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.index import Index, is_damaged
from waystation_relay.spool.layout import Layout, SyncFailed, said, sync_directory
from waystation_relay.spool.operations import Job
from waystation_relay.spool.segments import Segments
from waystation_relay.spool.trouble import probe
from waystation_relay.spool.values import SpoolStats, Tuning, Unusable

Event = Callable[[str, dict[str, object]], None]

# Ids are summed by remainder, so that two sets of ten million ids can be compared without an overflow.
COUNT_MESSAGES = (
    "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(max(id), 0), total(id % 999983) FROM messages"
)
COUNT_OWNERS = "SELECT count(*), total(id % 999983) FROM (SELECT DISTINCT message_id AS id FROM recipients)"
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
        try:
            return _bring_into_line(layout, tuning, event, index, counted)
        except BaseException:
            index.close()
            raise
    except (sqlite3.Error, Mismatch) as error:
        trouble = probe(layout.probe)  # SQLite's own words would be "disk I/O error"
        raise Unusable(str(layout.directory), trouble.text if trouble else f"index: {error}") from error
    except (OSError, SyncFailed) as error:
        raise Unusable(str(layout.directory), said(error)) from error


class Mismatch(Exception):  # noqa: N818 the word for what happened
    """Messages without recipients, or recipients without a message: a lookup would pass over them."""


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
    if not mark.exists() and not layout.index.exists() and _is_left_over(layout):
        event("spool.index_missing", {"directory": str(layout.directory)})
        mark.leave()
        salvage.keep_wal(layout)
    try:
        return _open(layout)
    except (sqlite3.DatabaseError, Mismatch) as error:
        if isinstance(error, sqlite3.Error) and not is_damaged(error):
            raise
        event("spool.index_damaged", {"text": str(error)})
    salvage.begin(layout)
    salvage.finish(layout, event)
    return _open(layout)


def _is_left_over(layout: Layout) -> bool:
    """Something of a queue is here."""
    return salvage.wal_of(layout).exists() or any(layout.segments.iterdir())


def _open(layout: Layout) -> tuple[Index, Counted]:
    """Counting reads every row's page, so damage there is found now rather than in the middle of work."""
    index = Index(layout.index)
    try:
        reach("recovery.index_opened")
        db = index.db
        messages, size_bytes, last_id, ids = db.execute(COUNT_MESSAGES).fetchone()
        recipients = dict(db.execute(COUNT_RECIPIENTS).fetchall())
        _compare((messages, ids), db.execute(COUNT_OWNERS).fetchone(), recipients)
        return index, Counted(
            messages,
            size_bytes,
            last_id,
            recipients,
            {number: (records, live) for number, records, live in db.execute(SEGMENTS).fetchall()},
        )
    except BaseException:
        index.close()
        raise


def _compare(messages: tuple[int, float], owners: tuple[int, float], recipients: dict[int, int]) -> None:
    if messages != owners or not recipients.keys() <= set(Status):
        raise Mismatch("messages and recipients do not match")


def _bring_into_line(
    layout: Layout, tuning: Tuning, event: Event, index: Index, counted: Counted
) -> Recovered:
    mark = salvage.Mark(layout)
    files = {path: number for path in layout.segments.iterdir() if (number := _number(path)) is not None}
    last_segment = max([0, *counted.segments, *files.values()])
    segments = Segments(layout, tuning, last_segment + 1)
    on_disk: dict[int, int] = {}
    for path, number in files.items():
        if number in counted.segments:
            on_disk[number] = path.stat().st_size
        elif mark.exists() and path.stat().st_size:
            kept = _free(layout.corrupt, f"segment-{path.name}")
            path.rename(kept)
            event("spool.segment_kept", {"file": kept.name})
            reach("recovery.segment_kept")
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
    """A segment's number; what is named otherwise is none of ours and is left alone."""
    try:
        number = int(path.name, 16)
    except ValueError:
        return None
    return number if path.name == f"{number:016x}" else None


def _free(folder: Path, name: str) -> Path:
    """A name that nothing has yet: what an earlier accident left is kept as well."""
    names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    return next(path for path in map(folder.joinpath, names) if not path.exists())
