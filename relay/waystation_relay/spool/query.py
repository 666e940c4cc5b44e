"""From a Query to SQL, and from an Action to the statement that carries it out.

Conditions on the message and conditions on one recipient are kept apart: a
message matches when it meets the first and has a recipient that meets all of
the second; an action changes exactly those recipients.
"""

from dataclasses import dataclass

from waystation_relay.mail.address import normal_domain
from waystation_relay.spool import adopt
from waystation_relay.spool.identity import id_of
from waystation_relay.spool.values import Action, Delete, Hold, Query, Release, RetryNow


@dataclass(frozen=True, slots=True)
class Conditions:
    """SQL over ``messages AS m`` and ``recipients AS r``; never empty text, parameters in order."""

    message: str
    message_values: tuple[object, ...]
    recipient: str
    recipient_values: tuple[object, ...]


def conditions(query: Query, now: float, tag: str) -> Conditions:
    about_message: list[tuple[str, object]] = []
    if query.sender is not None:
        about_message.append(("m.sender = ?", query.sender.lower()))
    if query.sender_domain is not None:
        about_message.append(("m.sender_domain = ?", normal_domain(query.sender_domain)))
    if query.older_than_s is not None:
        about_message.append(("m.arrival <= ?", now - query.older_than_s))
    if query.younger_than_s is not None:
        about_message.append(("m.arrival >= ?", now - query.younger_than_s))
    about_recipient: list[tuple[str, object]] = []
    if query.recipient is not None:
        about_recipient.append(("r.address = ?", query.recipient.lower()))
    if query.domain is not None:
        about_recipient.append(("r.domain = ?", normal_domain(query.domain)))
    if query.status is not None:
        about_recipient.append(("r.status = ?", int(query.status)))
    message = [text for text, _ in about_message]
    message_values = [value for _, value in about_message]
    recipient = [text for text, _ in about_recipient]
    recipient_values = [value for _, value in about_recipient]
    if query.reason is not None:
        recipient.append("(r.reason = ? OR r.hold = ?)")
        recipient_values += [query.reason, query.reason]
    if query.queue_ids is not None:
        own = [number for queue_id in query.queue_ids if (number := id_of(queue_id, tag)) is not None]
        adopted = adopt.IDS.format(", ".join("?" * len(query.queue_ids)))
        more = f" UNION ALL VALUES {', '.join(['(?)'] * len(own))}" if own else ""
        message.append(f"m.id IN ({adopted}{more})")
        message_values += [*map(adopt.key_of, query.queue_ids), *own]
    return Conditions(
        " AND ".join(message) or "1",
        tuple(message_values),
        " AND ".join(recipient) or "1",
        tuple(recipient_values),
    )


# A statement that looks at many messages is cut into windows of this many, each its own read transaction:
# a long one would keep the WAL from being checkpointed.
WINDOW = 5000
WINDOW_END = "SELECT max(id) FROM (SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?)"


def matching_ids(wanted: Conditions) -> str:
    """Ids above one and up to another, in order; parameters: both ids, the conditions' values, a limit."""
    having = (
        "1"
        if wanted.recipient == "1"
        else f"EXISTS (SELECT 1 FROM recipients AS r WHERE r.message_id = m.id AND {wanted.recipient})"  # noqa: S608 values are parameters
    )
    return (
        "SELECT m.id FROM messages AS m "  # noqa: S608 values are parameters
        f"WHERE m.id > ? AND m.id <= ? AND {wanted.message} AND {having} ORDER BY m.id LIMIT ?"
    )


@dataclass(frozen=True, slots=True)
class Statement:
    """An action on the recipients of one message. ``waiting``/``held``: what one changed row adds to each."""

    sql: str
    values: tuple[object, ...]
    from_status: int
    waiting: int
    held: int


def statements(action: Action, now: float) -> tuple[Statement, ...]:
    """What to execute, each with ``message_id`` and a query's recipient conditions appended.

    ``WHERE`` comes last in each so that the caller can append.
    """
    match action:
        case Hold(reason):
            return (
                Statement(
                    "UPDATE recipients AS r SET status = 1, hold = ? WHERE r.status = 0", (reason,), 0, -1, 1
                ),
            )
        case Release():
            return (
                Statement(
                    "UPDATE recipients AS r SET status = 0, hold = '', due = ? WHERE r.status = 1",
                    (now,),
                    1,
                    1,
                    -1,
                ),
            )
        case RetryNow():
            return (Statement("UPDATE recipients AS r SET due = ? WHERE r.status = 0", (now,), 0, 0, 0),)
        case Delete():
            return (
                Statement("DELETE FROM recipients AS r WHERE r.status = 0", (), 0, -1, 0),
                Statement("DELETE FROM recipients AS r WHERE r.status = 1", (), 1, 0, -1),
            )
