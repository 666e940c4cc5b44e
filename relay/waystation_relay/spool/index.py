"""The index as the writer changes it: transactions over messages, recipients and inline bodies.

Owned by the writer thread (recovery uses it before that thread starts).
Between ``begin`` and ``commit`` every change also adds to ``delta``; the
caller takes it over only when ``commit`` has returned, so figures never run
ahead of the disk.

Invariants
    A message row exists exactly as long as it has a recipient row (recovery compares).
    A body row exists exactly for messages with segment 0.
    The id floor lies above every id ever committed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from waystation_relay.mail.address import domain_of
from waystation_relay.mail.envelope import Envelope
from waystation_relay.mail.message import Place, Status
from waystation_relay.spool import adopt, query, rows
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.header import PAGE_BYTES
from waystation_relay.spool.identity import RESERVED
from waystation_relay.spool.schema import INLINE, SET_ASIDE, Mismatch, open_writer

ADD_MESSAGE = "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?)"
ADD_RECIPIENT = "INSERT INTO recipients VALUES (?,?,?,?,?,?,?,?,?)"
ADD_BODY = "INSERT INTO bodies VALUES (?,?)"
DROP_WAITING = "DELETE FROM recipients WHERE message_id = ? AND number = ? AND status = 0"
DROP_HELD = "DELETE FROM recipients WHERE message_id = ? AND number = ? AND status = 1"
DEFER = "UPDATE recipients SET due = ?, reason = ?, details = ? WHERE message_id = ? AND number = ?"
HOLD = "UPDATE recipients SET status = 1, hold = ? WHERE message_id = ? AND number = ? AND status = 0"
FINISHED = (
    "SELECT id, segment, size_bytes FROM messages WHERE id IN ({}) "
    "AND NOT EXISTS (SELECT 1 FROM recipients WHERE message_id = messages.id)"
)
MOVE = "UPDATE messages SET segment = ?, offset = ? WHERE id = ?"
COUNT_STATUS = "SELECT status, count(*) FROM recipients WHERE message_id = ? GROUP BY status"
RAISE_FLOOR = "UPDATE counters SET value = max(value, ?) WHERE name = 'id_floor'"
IN_SIZES = (1, 4, 16, 64, 256)


class Delta:
    """What a transaction adds to the figures; ``freed`` and ``stored`` are (segment, size) of bodies."""

    __slots__ = ("first_removed", "freed", "held", "messages", "size_bytes", "stored", "waiting")

    def __init__(self) -> None:
        self.messages = self.size_bytes = self.waiting = self.held = 0
        self.freed: list[tuple[int, int]] = []
        self.stored: list[tuple[int, int]] = []
        self.first_removed: int | None = None


class NewRow:
    """A message about to be added. ``content`` is needed only when ``place`` is inline."""

    __slots__ = (
        "adoption",
        "arrival",
        "content",
        "envelope",
        "hold",
        "id",
        "place",
        "sealed",
        "size_bytes",
    )

    def __init__(
        self,
        number: int,
        arrival: float,
        envelope: Envelope,
        sealed: bytes,
        hold: str,
        size_bytes: int,
        place: Place,
        content: bytes | None,
        adoption: Adoption | None = None,
    ) -> None:
        self.id = number
        self.arrival = arrival
        self.envelope = envelope
        self.sealed = sealed
        self.hold = hold
        self.size_bytes = size_bytes
        self.place = place
        self.content = content
        self.adoption = adoption


class Change:
    """One settlement in rows: made on the caller's thread, so that what cannot be stored fails there."""

    __slots__ = ("held", "message_id", "removed", "updated")

    def __init__(
        self,
        message_id: int,
        updated: list[rows.Row],
        held: list[rows.Row],
        removed: list[tuple[int, int]],
    ) -> None:
        self.message_id = message_id
        self.updated = updated
        self.held = held
        self.removed = removed


class Index:
    def __init__(self, path: Path) -> None:
        self.db = open_writer(path)
        self.delta = Delta()
        self._id_floor = -1  # as far as we know here; ``reserve`` raises it

    def close(self) -> None:
        self.db.close()

    def begin(self) -> None:
        self.delta = Delta()
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> Delta:
        self.db.execute("COMMIT")
        return self.delta

    def rollback(self) -> None:
        """After any failure; SQLite has rolled back by itself after some."""
        self._id_floor = -1  # if the lost transaction set it, it is to be set again
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def add(self, messages: Sequence[NewRow]) -> None:
        if not messages:
            return
        db, delta = self.db, self.delta
        message_rows: list[rows.Row] = []
        recipient_rows: list[rows.Row] = []
        bodies: list[rows.Row] = []
        adopted: list[tuple[int, Adoption]] = []
        for new in messages:
            place, sender = new.place, new.envelope.reverse_path
            message_rows.append(
                (
                    new.id,
                    new.arrival,
                    new.size_bytes,
                    sender.lower(),
                    domain_of(sender),
                    place.segment,
                    place.offset,
                    place.crc32,
                    new.sealed,
                )
            )
            if new.adoption is not None:
                pending = new.adoption.pending
                adopted.append((new.id, new.adoption))
                recipient_rows += rows.adopted_rows(new.id, new.envelope, pending)
                held = sum(progress.status is Status.HELD for progress in pending)
                delta.held += held
                delta.waiting += len(pending) - held
            else:
                status = Status.HELD if new.hold else Status.WAITING
                recipient_rows += rows.recipient_rows(new.id, new.envelope, status, new.arrival, new.hold)
                if new.hold:
                    delta.held += len(new.envelope.recipients)
                else:
                    delta.waiting += len(new.envelope.recipients)
            if place.segment == INLINE:
                bodies.append((new.id, new.content))
            else:
                delta.stored.append((place.segment, new.size_bytes))
            delta.size_bytes += new.size_bytes
        delta.messages += len(messages)
        db.executemany(ADD_MESSAGE, message_rows)
        db.executemany(ADD_RECIPIENT, recipient_rows)
        db.executemany(ADD_BODY, bodies)
        if adopted:
            adopt.remember(db, adopted)

    def settle(self, changes: Sequence[Change]) -> None:
        """Recipients updated, held or removed; messages whose last recipient went are removed too."""
        if not changes:
            return
        db, delta = self.db, self.delta
        removed = [row for change in changes for row in change.removed]
        updated = [row for change in changes for row in change.updated]
        held = [row for change in changes for row in change.held]
        if updated:
            db.executemany(DEFER, updated)
        if held:
            count = db.executemany(HOLD, held).rowcount
            delta.waiting -= count
            delta.held += count
        if removed:
            count = db.executemany(DROP_WAITING, removed).rowcount
            delta.waiting -= count
            if count != len(removed):  # some were held meanwhile, or deleted
                delta.held -= db.executemany(DROP_HELD, removed).rowcount
            self.sweep([change.message_id for change in changes if change.removed])

    def apply(
        self, ids: Sequence[int], wanted: query.Conditions, todo: Sequence[query.Statement]
    ) -> list[int]:
        """Carry an action out on those of ``ids`` that still match; the ids changed."""
        changed = []
        check = f"SELECT 1 FROM messages AS m WHERE m.id = ? AND {wanted.message}"  # noqa: S608 no value is in the text
        for number in ids:
            if self.db.execute(check, (number, *wanted.message_values)).fetchone() is None:
                continue
            total = 0
            for statement in todo:
                count = self.db.execute(
                    f"{statement.sql} AND r.message_id = ? AND {wanted.recipient}",
                    (*statement.values, number, *wanted.recipient_values),
                ).rowcount
                self.delta.waiting += count * statement.waiting
                self.delta.held += count * statement.held
                total += count
            if total:
                changed.append(number)
        self.sweep(changed)
        return changed

    def sweep(self, ids: Sequence[int]) -> None:
        """Remove those messages that have no recipient left."""
        db, delta = self.db, self.delta
        # Each once: two settlements of one batch may be about the same message, and what is counted
        # out twice would take a segment's file away from under its last live record.
        gone = list(self._select(FINISHED, dict.fromkeys(ids)))
        if not gone:
            return
        db.executemany("DELETE FROM messages WHERE id = ?", [(number,) for number, _, _ in gone])
        inline = [(number,) for number, segment, _ in gone if segment == INLINE]
        if inline:
            db.executemany("DELETE FROM bodies WHERE message_id = ?", inline)
        for number, segment, size_bytes in gone:
            delta.size_bytes -= size_bytes
            if segment > 0:
                delta.freed.append((segment, size_bytes))
            if delta.first_removed is None or number < delta.first_removed:
                delta.first_removed = number
        delta.messages -= len(gone)

    def move(self, moved: Sequence[tuple[int, Place, int]]) -> None:
        """(id, new place, old segment) of bodies that compaction has copied."""
        for number, place, segment in moved:
            self.delta.freed.append((segment, place.length))
            self.delta.stored.append((place.segment, place.length))
            self.db.execute(MOVE, (place.segment, place.offset, number))

    def condemn(self, number: int, why: str, *, copied: bool) -> None:
        """All recipients are held; the body, if it was copied to ``corrupt/``, is let go.

        No-op for a message that was settled or deleted meanwhile.
        """
        db = self.db
        found = db.execute("SELECT segment, size_bytes FROM messages WHERE id = ?", (number,)).fetchone()
        if found is None:
            return
        count = db.execute(
            "UPDATE recipients SET status = 1 WHERE message_id = ? AND status = 0", (number,)
        ).rowcount
        self.delta.waiting -= count
        self.delta.held += count
        db.execute("UPDATE recipients SET reason = 'storage', hold = ? WHERE message_id = ?", (why, number))
        if copied:
            segment, size_bytes = found
            db.execute(MOVE, (SET_ASIDE, 0, number))
            db.execute("DELETE FROM bodies WHERE message_id = ?", (number,))
            if segment > 0:
                self.delta.freed.append((segment, size_bytes))

    def replace(self, number: int, sealed: bytes, recipients: Sequence[rows.Row]) -> None:
        """A message's envelope and recipients, mended."""
        db, delta = self.db, self.delta
        for status, count in db.execute(COUNT_STATUS, (number,)).fetchall():
            delta.waiting -= count if status == Status.WAITING else 0
            delta.held -= count if status == Status.HELD else 0
        db.execute("UPDATE messages SET sealed = ? WHERE id = ?", (sealed, number))
        db.execute("DELETE FROM recipients WHERE message_id = ?", (number,))
        db.executemany(ADD_RECIPIENT, recipients)
        delta.waiting += sum(row[2] == Status.WAITING for row in recipients)
        delta.held += sum(row[2] == Status.HELD for row in recipients)

    def reserve(self, last_id: int) -> None:
        """Keep the floor above the ids in use; inside a transaction."""
        if last_id >= self._id_floor:
            self.db.execute(RAISE_FLOOR, (last_id + RESERVED,))
            self._id_floor = last_id + RESERVED

    def counter(self, name: str) -> int:
        row = self.db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        if row is None or not isinstance(row[0], int):
            raise Mismatch(f"no counter {name}")
        return row[0]

    def set_counter(self, name: str, value: int) -> None:
        self.db.execute("UPDATE counters SET value = ? WHERE name = ?", (value, name))

    def free_bytes(self) -> int:
        """Of pages that are free for what comes."""
        return int(self.db.execute("PRAGMA freelist_count").fetchone()[0]) * PAGE_BYTES

    def live_bytes(self) -> int:
        return int(self.db.execute("PRAGMA page_count").fetchone()[0]) * PAGE_BYTES - self.free_bytes()

    def oldest(self) -> tuple[int, float] | None:
        """(id, arrival) of the oldest message."""
        row: tuple[int, float] | None = self.db.execute(
            "SELECT id, arrival FROM messages ORDER BY id LIMIT 1"
        ).fetchone()
        return row

    def _select(self, sql: str, ids: Iterable[int]) -> Iterator[tuple[int, int, int]]:
        """``IN`` with a few fixed numbers of places, so that the statements stay prepared."""
        left = list(ids)
        while left:
            size = next((size for size in IN_SIZES if size >= len(left)), IN_SIZES[-1])
            part, left = left[:size], left[size:]
            part += part[-1:] * (size - len(part))
            yield from self.db.execute(sql.format(",".join("?" * size)), part)


def is_damaged(error: sqlite3.Error) -> bool:
    """SQLite says that the file is not what it wrote."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
