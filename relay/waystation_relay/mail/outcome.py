"""What became of one recipient at one attempt: a value, never an exception.

``Delivered``, ``Deferred`` and ``Failed`` each carry the reply that decided
it. A reply of the other side's is kept as it said it (cut and cleaned by
``wire``); where we decided ourselves (expired, no route, DNS) the reply is
ours and ``remote`` is ``None``.
"""

import enum

import msgspec

from waystation_relay.mail.reply import Reply


class Reason(enum.StrEnum):
    """Why, in one word: the ``reason`` of log lines, metrics, ``queue list`` and bounce texts."""

    ADDRESS = "bad-address"  # the mailbox or domain does not exist or takes no mail
    MAILBOX_FULL = "mailbox-full"
    TOO_LARGE = "too-large"
    POLICY = "policy"  # refused for what it is or who sent it
    CONTENT = "content"  # needs an extension the other side lacks
    GREYLISTED = "greylisted"
    THROTTLED = "throttled"  # the other side asks us to slow down
    CONNECT = "connect"  # refused, timed out, lost
    DNS = "dns"
    TLS = "tls"
    AUTH = "auth"
    LOOP = "loop"
    EXPIRED = "expired"
    NO_ROUTE = "no-route"
    UNAVAILABLE = "unavailable"  # the route is not ready: its configuration lacks something
    PROTOCOL = "protocol"  # the other side answered what makes no sense
    STORAGE = "storage"  # our own spool could not read it
    OPERATOR = "operator"  # a person said so
    OTHER = "other"


class Remote(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The server that answered: name as looked up, IP address and port as connected."""

    host: str
    address: str
    port: int


class Delivered(msgspec.Struct, frozen=True, gc=False, tag="delivered"):
    """Accepted. ``final``: by a mailbox server (LMTP); ``dsn_passed``: the next hop offered DSN and was
    told NOTIFY, so success notices are its duty (RFC 3461 §5.2.2)."""

    reply: Reply
    remote: Remote | None = None
    final: bool = False
    dsn_passed: bool = False


class Deferred(msgspec.Struct, frozen=True, gc=False, tag="deferred"):
    """Try again later. ``retry_after_s``: not sooner than this, when the cause knows better than backoff."""

    reply: Reply
    reason: Reason
    remote: Remote | None = None
    retry_after_s: float | None = None


class Failed(msgspec.Struct, frozen=True, gc=False, tag="failed"):
    """Never again: the sender is told."""

    reply: Reply
    reason: Reason
    remote: Remote | None = None


Outcome = Delivered | Deferred | Failed
