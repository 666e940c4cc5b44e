"""A reader thread: looks things up in the index and on disk, one job after another.

The spool has two: one serves dispatch (due mail, bodies), the other
administration, so that a search through millions of messages delays no
delivery. Jobs are functions of the connection; each one's result goes back to
the loop in a call of its own. Read transactions are short by construction
(rows are fetched at once, searches are cut into windows), because an open one
keeps the WAL from being checkpointed.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from waystation_relay.mail.message import Message
from waystation_relay.spool import rows
from waystation_relay.spool.query import WINDOW, WINDOW_END, Conditions, matching_ids
from waystation_relay.spool.values import Cursor

Result = TypeVar("Result")

DUE = (
    "SELECT DISTINCT due, message_id FROM recipients WHERE status = 0 AND due <= ? "
    "AND (due, message_id) > (?, ?) ORDER BY due, message_id LIMIT ?"
)
NEXT_DUE = "SELECT min(due) FROM recipients WHERE status = 0 AND due > ?"
MESSAGE = f"SELECT {rows.MESSAGE_COLUMNS} FROM messages WHERE id = ?"  # noqa: S608 a constant
SEALED = "SELECT sealed FROM messages WHERE id = ?"
PENDING = f"SELECT {rows.PROGRESS_COLUMNS} FROM recipients WHERE message_id = ? ORDER BY number"  # noqa: S608 a constant


@dataclass(frozen=True, slots=True)
class Found:
    """Messages, and those whose rows do not check out: (id, why)."""

    messages: list[Message]
    unreadable: list[tuple[int, str]]


class Reader:
    def __init__(self, name: str, db: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._db = db
        self._loop = loop
        self._queue: queue.SimpleQueue[
            tuple[Callable[[sqlite3.Connection], Any], Callable[[Any], None], Callable[[Exception], None]]
            | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish what was asked, then end; waits for it."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._db.close()

    def ask(
        self,
        job: Callable[[sqlite3.Connection], Result],
        done: Callable[[Result], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._queue.put((job, done, failed))

    def _run(self) -> None:
        while (asked := self._queue.get()) is not None:
            job, done, failed = asked
            try:
                result = job(self._db)
            except Exception as error:  # noqa: BLE001 handed to who asked
                self._post(failed, error)
            else:
                self._post(done, result)

    def _post(self, call: Callable[[Any], None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop is closed: nobody waits for the answer
            return


def due(db: sqlite3.Connection, after: Cursor, now: float, limit: int, tag: str) -> tuple[Found, Cursor]:
    """Messages with a waiting recipient due by ``now``, in order of (due, id) behind the cursor."""
    found = db.execute(DUE, (now, after.due, after.id, limit)).fetchall()
    if not found:
        return Found([], []), after
    ids = dict.fromkeys(message_id for _, message_id in found)
    return messages(db, list(ids), tag), Cursor(*found[-1])


def next_due(db: sqlite3.Connection, after: float) -> float | None:
    value: float | None = db.execute(NEXT_DUE, (after,)).fetchone()[0]
    return value


def messages(db: sqlite3.Connection, ids: Sequence[int], tag: str) -> Found:
    """Those of ``ids`` that are still in the queue, in the order given, with all their pending recipients."""
    found = Found([], [])
    db.execute("BEGIN")  # one view of the queue for a message and its recipients
    try:
        for number in ids:
            row = db.execute(MESSAGE, (number,)).fetchone()
            if row is None:
                continue
            try:
                message = rows.message_of(row, db.execute(PENDING, (number,)).fetchall(), tag)
            except rows.Unreadable as error:
                found.unreadable.append((number, str(error)))
            else:
                found.messages.append(message)
    finally:
        db.execute("COMMIT")
    return found


def ids_matching(db: sqlite3.Connection, wanted: Conditions, after: int, limit: int) -> list[int]:
    """Ids above ``after`` in order, window by window."""
    found: list[int] = []
    sql = matching_ids(wanted)
    while len(found) < limit:
        end = db.execute(WINDOW_END, (after, WINDOW)).fetchone()[0]
        if end is None:
            break
        values = (after, end, *wanted.message_values, *wanted.recipient_values, limit - len(found))
        found += [row[0] for row in db.execute(sql, values).fetchall()]
        after = end
    return found


def names_matching(
    db: sqlite3.Connection, wanted: Conditions, after: int, limit: int, tag: str
) -> dict[int, str]:
    """The same with their queue ids."""
    found = {}
    for number in ids_matching(db, wanted, after, limit):
        (blob,) = db.execute(SEALED, (number,)).fetchone() or (None,)  # it may have left since
        found[number] = rows.name_of(number, blob, tag)
    return found
