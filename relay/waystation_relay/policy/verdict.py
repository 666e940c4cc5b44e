"""What a check may say: nothing, or a refusal with its reply."""

import enum

import msgspec

from waystation_relay.mail.reply import Reply


class Why(enum.StrEnum):
    """The ``reason`` of ``messages_refused_total`` and of ``message.refused`` lines."""

    TLS_REQUIRED = "tls-required"
    QUEUE_FULL = "queue-full"
    STORAGE = "storage"
    TOO_LARGE = "too-large"
    RELAY_DENIED = "relay-denied"
    NO_ROUTE = "no-route"
    REJECTED = "rejected"  # a route's reject backend
    RECIPIENTS = "too-many-recipients"
    LINE_ENDINGS = "line-endings"
    NUL = "nul"
    LOOP = "loop"


class Refusal(msgspec.Struct, frozen=True):
    reply: Reply
    why: Why
