"""From damage that a reader met to the job that settles it: the writer's part of keeping what is broken.

A body that cannot be read is copied to ``corrupt/`` and its recipients are
held; rows that do not check out are written down there and mended. What goes
to ``corrupt/`` is durable before the index lets go of the original.
"""

import contextlib
from collections.abc import Callable

from waystation_relay.spool import rows
from waystation_relay.spool.corrupt import keep_rows, set_aside
from waystation_relay.spool.index import Index
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.mend import mended
from waystation_relay.spool.operations import Condemn, Job, Mend

EventSink = Callable[[str, dict[str, object]], None]
MESSAGE = f"SELECT {rows.MESSAGE_COLUMNS} FROM messages WHERE id = ?"  # noqa: S608 a constant
SENDER = "SELECT sender FROM messages WHERE id = ?"
RECIPIENTS = "SELECT * FROM recipients WHERE message_id = ? ORDER BY number"
PROGRESS = f"SELECT {rows.PROGRESS_COLUMNS} FROM recipients WHERE message_id = ?"  # noqa: S608 a constant


def prepare(layout: Layout, index: Index, damage: Condemn | Mend, event: EventSink) -> Job | None:
    """Copy what is damaged; the job that lets the index know, ``None`` when the message is gone."""
    match damage:
        case Condemn():
            return _condemn(layout, index, damage, event)
        case Mend():
            return _mend(layout, index, damage, event)


def _condemn(layout: Layout, index: Index, condemn: Condemn, event: EventSink) -> Job | None:
    message_id = condemn.message_id
    try:
        aside = set_aside(layout, index.db, message_id, condemn.why)
    except Exception as error:  # noqa: BLE001 the recipients are held nonetheless
        event("spool.set_aside_failed", {"id": message_id, "text": str(error)})
        copied = False
    else:
        if aside is None:
            return None
        copied = aside.copied
        event("spool.corrupt", {"queue_id": aside.queue_id, "text": condemn.why})

    def apply(index: Index) -> None:
        index.condemn(message_id, f"corrupt: {condemn.why}", copied=copied)

    return Job(apply, lambda _result, _failure: condemn.done())


def _mend(layout: Layout, index: Index, mend: Mend, event: EventSink) -> Job | None:
    message_id = mend.message_id
    message = index.db.execute(MESSAGE, (message_id,)).fetchone()
    if message is None:
        return None
    with contextlib.suppress(rows.Unreadable):
        rows.message_of(message, index.db.execute(PROGRESS, (message_id,)).fetchall(), layout.tag)
        return None  # whoever asks saw the queue as it was before it was mended
    recipients = index.db.execute(RECIPIENTS, (message_id,)).fetchall()
    try:
        queue_id = keep_rows(layout, message_id, mend.why, message, recipients)
    except Exception as error:  # noqa: BLE001 the rows stay as they are; whoever meets them next asks again
        event("spool.set_aside_failed", {"id": message_id, "text": str(error)})
        return None
    event("spool.corrupt", {"queue_id": queue_id, "text": mend.why})

    def apply(index: Index) -> None:
        db = index.db
        row = db.execute(MESSAGE, (message_id,)).fetchone()
        if row is None:
            return
        try:
            rows.message_of(row, db.execute(PROGRESS, (message_id,)).fetchall(), layout.tag)
        except rows.Unreadable:
            (sender,) = db.execute(SENDER, (message_id,)).fetchone()
            found = db.execute(RECIPIENTS, (message_id,)).fetchall()
            index.replace(message_id, *mended(message_id, sender, row[-1], found))
            row = db.execute(MESSAGE, (message_id,)).fetchone()
            rows.message_of(row, db.execute(PROGRESS, (message_id,)).fetchall(), layout.tag)

    return Job(apply, lambda _result, _failure: mend.done())
