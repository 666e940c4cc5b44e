"""The table of log events and their fields. docs/logging.md shows the same (a test compares)."""

from typing import NamedTuple


class Event(NamedTuple):
    """``fields`` beside ``ts``, ``event`` and ``pod``; each may be missing where it makes no sense."""

    name: str
    meaning: str
    fields: tuple[str, ...]


_OUTCOME = ("queue_id", "recipients", "count", "route", "reply", "delay_s", "remote")

EVENTS: tuple[Event, ...] = (
    # Mail
    Event(
        "message.accepted",
        "A message is on disk and was answered 250.",
        (
            "queue_id",
            "listener",
            "client",
            "helo",
            "protocol",
            "sender",
            "recipients",
            "count",
            "size_bytes",
        ),
    ),
    Event(
        "message.refused",
        "A sender, a recipient or a message was refused.",
        ("listener", "client", "sender", "recipient", "reason", "reply", "queue_id"),
    ),
    Event("message.delivered", "The next server took these recipients.", _OUTCOME),
    Event("message.deferred", "These recipients are tried again later.", (*_OUTCOME, "reason")),
    Event("message.failed", "These recipients are given up.", (*_OUTCOME, "reason")),
    Event("message.held", "Recipients wait until a person releases them.", ("queue_id", "reason")),
    Event("message.released", "A person released recipients; they are tried at once.", ("queue_id",)),
    Event("message.deleted", "A person deleted recipients; nobody is told.", ("queue_id", "reason")),
    Event(
        "message.handed_off",
        "Another relay of the pool has it on its disk; it left the queue here.",
        ("queue_id", "peer"),
    ),
    Event(
        "message.adopted",
        "A draining relay handed it over; it is on disk here.",
        ("queue_id", "client", "count", "size_bytes"),
    ),
    Event(
        "bounce.created",
        "A report to a sender or the postmaster was written.",
        ("queue_id", "kind", "to", "recipients", "count"),
    ),
    # Connections
    Event("listener.opened", "A listener takes connections.", ("listener", "address", "port")),
    Event("listener.closed", "A listener takes no more connections.", ("listener", "port")),
    Event(
        "listener.failed", "A listener cannot be opened; it is tried again.", ("listener", "port", "error")
    ),
    Event("session.refused", "A connection was turned away.", ("listener", "client", "reason")),
    Event("session.failed", "TLS with a client did not come about.", ("listener", "client", "error")),
    Event("connection.failed", "No connection to a destination could be had.", ("target", "reply")),
    # The queue on disk
    Event("spool.failing", "The disk refuses writes; no mail is taken until it does not.", ("kind", "text")),
    Event("spool.broken", "The spool can promise nothing more; the process restarts.", ("text",)),
    Event("spool.corrupt", "A damaged message was set aside and held.", ("queue_id", "text")),
    Event("spool.set_aside_failed", "A damaged message could not be copied aside.", ("id", "text")),
    Event("spool.index_missing", "Bodies were found without an index.", ("directory",)),
    Event("spool.index_damaged", "The index is damaged and is salvaged.", ("text",)),
    Event(
        "spool.index_salvaged", "What could be read of it is in a new index.", ("damaged", "messages", "lost")
    ),
    Event("spool.segment_kept", "Bodies that no message refers to were kept aside.", ("file",)),
    Event("spool.unheard", "The process ended before it heard of these commits.", ("callbacks",)),
    Event("clock.set", "The machine's clock was set; no mail ages or grows younger by it.", ("step_s",)),
    # People
    Event(
        "queue.changed",
        "A person held, released, retried, deleted or bounced messages.",
        ("action", "filter", "reason", "count", "client"),
    ),
    Event("drain.started", "The relay takes no new sessions.", ("epoch", "client")),
    Event("drain.cancelled", "The relay takes sessions again.", ("epoch", "client")),
    Event(
        "handoff.failed",
        "Another relay did not take what it was to be handed; all of it stays here.",
        ("peer", "reason", "error", "count"),
    ),
    # The process
    Event("relay.started", "The relay takes mail.", ("version", "hash")),
    Event("relay.stopping", "A signal, or a broken spool, ends the relay.", ("why",)),
    Event("relay.stopped", "Everything is closed.", ("code",)),
    Event("config.changed", "A new configuration is in force.", ("hash", "routes")),
    Event(
        "config.refused",
        "A new configuration cannot be used; the one named stays in force.",
        ("hash", "error"),
    ),
    Event(
        "route.unavailable",
        "A route is not ready: its mail takes another of its backends, or waits.",
        ("route", "reason"),
    ),
    Event("log.dropped", "Nobody read the log, and lines were lost.", ("lines",)),
    Event("log.unwritable", "A line could not be written as JSON.", ("of", "error")),
    Event(
        "internal.error",
        "A mistake in Waystation: please report it.",
        ("where", "error", "trace", "queue_id"),
    ),
)

FIELDS: dict[str, str] = {
    "ts": "when, ISO 8601 in UTC with milliseconds",
    "event": "the event's name",
    "pod": "the relay's name, where it was given one",
    "action": "hold, release, retry, delete or bounce",
    "address": "the address listened on",
    "callbacks": "how many commits",
    "client": "IP address of the client, or of the caller",
    "code": "the exit code",
    "count": "how many recipients, or messages",
    "damaged": "where the damaged index was put",
    "delay_s": "seconds since the message was accepted",
    "directory": "the spool's folder",
    "epoch": "which draining since the start",
    "error": "what went wrong",
    "file": "name of a file in the spool's corrupt folder",
    "filter": "which messages were meant",
    "hash": "the configuration's hash, as /config shows it",
    "helo": "what the client called itself",
    "id": "the message's number in the index",
    "kind": "of a failure: full, read-only, io, corrupt; of a report: failure, delay, success, double",
    "lines": "how many lines",
    "listener": "the listener's name",
    "lost": "messages that could not be read any more",
    "messages": "messages that could",
    "of": "the event's name",
    "peer": "the relay that mail is handed to: its URL",
    "port": "the port",
    "protocol": "as in the Received field: ESMTP, ESMTPS…",
    "queue_id": "the message",
    "reason": "why, in one word, as in metrics; of what is held or not ready: the text given",
    "recipient": "the recipient at which it was refused",
    "recipients": "addresses, the first 20",
    "remote": "the server: name[address]:port",
    "reply": "the reply that decided it, ours or the server's",
    "route": "namespace/name of the MailRoute; empty when none was involved",
    "routes": "how many routes",
    "sender": "the envelope sender; empty for the null sender",
    "size_bytes": "the message's size",
    "step_s": "by how many seconds; negative: back",
    "target": "the destination: protocol:host:port",
    "text": "what was found",
    "to": "whom the report goes to",
    "trace": "where in the program",
    "version": "Waystation's version",
    "where": "the part of the program",
    "why": "the signal, or what broke",
}
