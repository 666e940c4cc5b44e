"""What waits, and for whom: counted by who is responsible for each recipient. A reader thread's work.

The index does not know routes, so the caller names who is responsible: a pure
function, called here, in the reader's thread. One call looks at a window of
messages in the order of their arrival; a survey is as many calls as the queue
is long, with time for others between them.

Known limits
    Rows that do not check out are passed over: whoever delivers them mends them.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.spool import rows

WINDOW = 500
MESSAGES = "SELECT id, arrival, sealed FROM messages WHERE id > ? ORDER BY id LIMIT ?"
WAITING = (
    f"SELECT message_id, {rows.PROGRESS_COLUMNS} FROM recipients "  # noqa: S608 a constant
    f"WHERE message_id > ? AND message_id <= ? AND status = {int(Status.WAITING)}"
)

# Listener, envelope sender, recipient, whether a person let it out of quarantine → who is responsible.
Responsible = Callable[[str, str, str, bool], str]


@dataclass(slots=True)
class Cause:
    """``count`` recipients wait for this reason; ``recipient`` is the one that came last, ``reply`` and
    ``remote`` what happened to it."""

    count: int
    recipient: str
    reply: Reply | None
    remote: Remote | None


@dataclass(slots=True)
class Tally:
    """Of one who is responsible. ``causes``: by the word of the last deferral; none before the first."""

    waiting: int = 0
    oldest_arrival: float | None = None
    causes: dict[str, Cause] = field(default_factory=dict)

    def merge(self, later: "Tally") -> None:
        """Takes in what was counted of messages that arrived later."""
        self.waiting += later.waiting
        self.oldest_arrival = _earlier(self.oldest_arrival, later.oldest_arrival)
        for reason, cause in later.causes.items():
            before = self.causes.get(reason)
            cause.count += before.count if before is not None else 0
            self.causes[reason] = cause


def survey(
    db: sqlite3.Connection, after: int, responsible: Responsible
) -> tuple[dict[str, Tally], int | None]:
    """Of the next messages behind the id ``after``; and the id to go on from, ``None`` at the end."""
    db.execute("BEGIN")  # one view of the queue for messages and recipients
    try:
        messages = db.execute(MESSAGES, (after, WINDOW)).fetchall()
        if not messages:
            return {}, None
        last = messages[-1][0]
        waiting = db.execute(WAITING, (after, last)).fetchall()
    finally:
        db.execute("COMMIT")
    found: dict[str, Tally] = {}
    known = {message_id: (arrival, sealed) for message_id, arrival, sealed in messages}
    message_id, envelope, listener, arrival = 0, None, "", 0.0
    for number, *row in waiting:
        try:
            if number != message_id:
                message_id, envelope = number, None
                arrival, blob = known[number]
                sealed = rows.unseal(number, blob)
                envelope, listener = sealed.envelope, sealed.origin.listener
            if envelope is None:
                continue
            progress = rows.progress_of(number, row, envelope)
        except rows.Unreadable:
            continue
        recipient = envelope.recipients[progress.number].address
        name = responsible(listener, envelope.reverse_path, recipient, progress.quarantined)
        tally = found.get(name)
        if tally is None:
            tally = found[name] = Tally()
        tally.waiting += 1
        tally.oldest_arrival = _earlier(tally.oldest_arrival, arrival)
        reason = progress.last_reason
        if reason is not None:
            cause = tally.causes.get(reason.value)
            count = 1 if cause is None else cause.count + 1
            tally.causes[reason.value] = Cause(count, recipient, progress.last_reply, progress.last_remote)
    return found, last if len(messages) == WINDOW else None


def _earlier(one: float | None, other: float | None) -> float | None:
    """An adopted message may be older than those before it."""
    return min([when for when in (one, other) if when is not None], default=None)
