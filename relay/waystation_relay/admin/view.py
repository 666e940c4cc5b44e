"""A queued message as people and programs read it. Pure."""

import datetime
from collections.abc import Iterable

from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.outcome import Remote

RECIPIENTS_LISTED = 50
LATEST = 253_402_300_799.0  # the end of the year 9999: no calendar goes further, a damaged row may
Fields = dict[str, object]


def brief(message: Message, *, active: bool) -> Fields:
    """A message in a list: the first recipients only. ``active``: it is being delivered right now."""
    return _message(message, message.pending[:RECIPIENTS_LISTED], active=active)


def full(message: Message, *, active: bool) -> Fields:
    """Everything that is known of a message but its content."""
    envelope, origin = message.envelope, message.origin
    pending = {progress.number for progress in message.pending}
    return {
        **_message(message, message.pending, active=active),
        "finished": [r.address for n, r in enumerate(envelope.recipients) if n not in pending],
        "envelope": {
            "body": envelope.body.value,
            "smtputf8": envelope.smtputf8,
            "ret": envelope.ret.value if envelope.ret else None,
            "envid": envelope.envid,
        },
        "origin": {
            "listener": origin.listener,
            "protocol": origin.protocol,
            "client": origin.client,
            "helo": origin.helo,
            "user": origin.user,
        },
    }


def _message(message: Message, shown: Iterable[Progress], *, active: bool) -> Fields:
    return {
        "queue_id": message.queue_id,
        "arrival": time_of(message.arrival),
        "sender": message.envelope.reverse_path,
        "size_bytes": message.size_bytes,
        "active": active,
        "pending": len(message.pending),
        "recipients": [_recipient(message, progress) for progress in shown],
    }


def _recipient(message: Message, progress: Progress) -> Fields:
    held = progress.status is Status.HELD
    return {
        "address": message.envelope.recipients[progress.number].address,
        "status": progress.status.name.lower(),
        "hold_reason": progress.hold_reason if held else "",
        "due": None if held else time_of(progress.due),
        "attempts": progress.attempts,
        "reason": progress.last_reason.value if progress.last_reason else "",
        "reply": str(progress.last_reply) if progress.last_reply else "",
        "remote": _remote(progress.last_remote),
        "last_attempt": time_of(progress.last_attempt) if progress.last_attempt else None,
        "warned": progress.warned,
    }


def _remote(remote: Remote | None) -> str:
    return f"{remote.host}[{remote.address}]:{remote.port}" if remote else ""


def time_of(seconds: float) -> str:
    """ISO 8601, in UTC, to the second."""
    shown = seconds if 0.0 <= seconds <= LATEST else LATEST if seconds > LATEST else 0.0
    return datetime.datetime.fromtimestamp(shown, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
