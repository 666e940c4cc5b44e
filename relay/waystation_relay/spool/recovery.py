"""From whatever a crash left to a spool that can be trusted.

The index is the authority. SQLite replays its own WAL, once that is synced; then segment files
that no message refers to are removed, messages whose segment is missing or too
short are set aside (their recipients held), and the figures are counted
afresh. An index that is damaged, by SQLite's word or because its parts
contradict each other, is moved to ``corrupt/`` and what can still be read of it
becomes a new one (``salvage``); after that, and when the index is new
although segments exist, unreferenced segments are moved to ``corrupt/`` instead
of removed: they may hold what the index has lost.

Every step can be repeated: killed in the middle, it starts over.

Errors
    Unusable: the disk does not let us (full, read-only, failing), or the damage is past help.
"""

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from waystation_relay.mail.message import Status
from waystation_relay.spool import header, salvage
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.corrupt import set_aside
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.header import PAGE_BYTES
from waystation_relay.spool.index import Index, is_damaged
from waystation_relay.spool.layout import Layout, SyncFailed, beside, said, sync, sync_directory
from waystation_relay.spool.operations import Job
from waystation_relay.spool.schema import Mismatch
from waystation_relay.spool.segments import Segments
from waystation_relay.spool.trouble import probe
from waystation_relay.spool.values import SpoolStats, Tuning, Unusable

Event = Callable[[str, dict[str, object]], None]

COUNT_MESSAGES = "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(max(id), 0) FROM messages"
COUNT_RECIPIENTS = "SELECT status, count(*) FROM recipients GROUP BY status"
# The partial index answers this alone: it is in order of segment and has the sizes.
SEGMENTS = "SELECT segment, count(*), sum(size_bytes) FROM messages WHERE segment > 0 GROUP BY segment"
# Two ways to the same figures. Were they different, a message would be passed over, or a file be removed
# from under it. Sums are of remainders, so that those of ten million ids do not overflow.
IDS = "SELECT count(*), total(id % 999983) FROM "
OWNERS = "(SELECT DISTINCT message_id AS id FROM recipients)"
DUE = (
    "SELECT count(*), total(message_id % 999983), total(CAST(due * 1000000 AS INTEGER) % 999983) "
    "FROM recipients "
)
STORED = (
    "SELECT count(*), total(id % 999983), total(segment % 999983), total(size_bytes % 999983) FROM messages "
)
MUST_AGREE = {
    "messages and recipients": (
        f"{IDS} messages",
        f"{IDS} {OWNERS}",
    ),
    "recipients and their due times": (
        f"{DUE} WHERE +status = 0",  # the plus keeps SQLite from the index, as NOT INDEXED here does not
        f"{DUE} INDEXED BY recipients_due WHERE status = 0",
    ),
    "messages and their segments": (
        f"{STORED} NOT INDEXED WHERE segment > 0",
        f"{STORED} INDEXED BY messages_segment WHERE segment > 0",
    ),
}
TOO_SHORT = "SELECT id FROM messages WHERE segment = ? AND segment > 0 AND offset + size_bytes > ?"
END = 2**60  # of segment numbers; what lies beyond is damage


@dataclass(frozen=True, slots=True)
class Recovered:
    committer: Committer
    id_floor: int  # the first id that may be given out


def recover(layout: Layout, tuning: Tuning, event: Event) -> Recovered:
    """Open the index, whatever it takes, and bring the files into line with it."""
    try:
        for attempt in (1, 2):
            try:
                return _recover(layout, tuning, event)
            except (sqlite3.DatabaseError, Mismatch) as error:
                if isinstance(error, sqlite3.Error) and not is_damaged(error):
                    raise
                salvage.read_through(layout.index)
                if attempt == 2:  # no moment's trouble with reading
                    event("spool.index_damaged", {"text": str(error)})
        salvage.begin(layout)
        return _recover(layout, tuning, event)
    except (sqlite3.Error, Mismatch) as error:
        trouble = probe(layout.probe)  # SQLite's own words would be "disk I/O error"
        raise Unusable(str(layout.directory), trouble.text if trouble else f"index: {error}") from error
    except (OSError, SyncFailed) as error:
        raise Unusable(str(layout.directory), said(error)) from error


@dataclass(frozen=True, slots=True)
class Counted:
    messages: int
    size_bytes: int
    last_id: int
    recipients: dict[int, int]
    segments: dict[int, tuple[int, int]]  # number → (records, bytes)


def _recover(layout: Layout, tuning: Tuning, event: Event) -> Recovered:
    mark = salvage.Mark(layout)
    salvage.examine(layout)
    salvage.finish(layout, event)
    if not mark.exists() and _is_index_missing(layout):
        event("spool.index_missing", {"directory": str(layout.directory)})
        mark.leave()
        salvage.keep_wal(layout)
    _remove_unborn(layout)
    if not header.is_sound(layout.index_header()):
        raise Mismatch("the header is not as it was made")
    _sync_log(layout)
    if salvage.is_log_damaged(layout):  # before SQLite opens it, and takes a part of it for the whole
        raise Mismatch("its log is damaged")
    index = Index(layout.index)
    try:
        reach("recovery.index_opened")
        return _bring_into_line(layout, tuning, event, index, _count(index.db))
    except BaseException:
        index.close()
        raise


def _is_index_missing(layout: Layout) -> bool:
    """No index, or an empty file that SQLite would take for a new one, where something of a queue is left."""
    if layout.index.exists() and layout.index.stat().st_size:
        return False
    return salvage.wal_of(layout).exists() or any(layout.segments.iterdir())


def _remove_unborn(layout: Layout) -> None:
    """A power cut while the first index was made may leave it as long as it should be, with nothing in it."""
    if any(layout.index_header()) or salvage.wal_of(layout).exists() or any(layout.segments.iterdir()):
        return
    with contextlib.suppress(FileNotFoundError), layout.index.open("rb") as file:
        if not any(map(any, iter(lambda: file.read(PAGE_BYTES), b""))):
            layout.index.unlink()
            beside(layout.index, "-journal").unlink(missing_ok=True)
            sync_directory(layout.directory)


def _sync_log(layout: Layout) -> None:
    """Make durable what is about to be believed.

    A process killed between writing a commit and syncing it leaves one that is read but not yet kept.
    Files that it let go of are removed below; a power cut must not bring the index back to before it.
    """
    log = salvage.wal_of(layout)
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(log, os.O_RDWR | os.O_CLOEXEC)
        try:
            sync(fd, log)
        finally:
            os.close(fd)


def _count(db: sqlite3.Connection) -> Counted:
    """Reads every row's page, so damage is found now rather than in the middle of work."""
    messages, size_bytes, last_id = db.execute(COUNT_MESSAGES).fetchone()
    recipients = dict(db.execute(COUNT_RECIPIENTS).fetchall())
    for what, (one, other) in MUST_AGREE.items():
        if db.execute(one).fetchone() != db.execute(other).fetchone():
            raise Mismatch(f"{what} do not match")
    if not recipients.keys() <= set(Status):
        raise Mismatch("a recipient is neither waiting nor held")
    segments = {number: (records, live) for number, records, live in db.execute(SEGMENTS).fetchall()}
    return Counted(messages, size_bytes, last_id, recipients, segments)


def _bring_into_line(
    layout: Layout, tuning: Tuning, event: Event, index: Index, counted: Counted
) -> Recovered:
    mark = salvage.Mark(layout)
    files = {path: number for path in layout.segments.iterdir() if (number := _number(path)) is not None}
    last_segment = max([0, *(n for n in (*counted.segments, *files.values()) if n < END)])
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
    sync_directory(layout.directory)  # SQLite says nothing when it cannot sync the name of its log
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
