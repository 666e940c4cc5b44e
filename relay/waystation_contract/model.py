"""The relay's configuration document, version 1: frozen structs, one a group.

Written by the operator's plan, read by every relay of a pool. All names are
resolved, all defaults filled in and all references checked before it is
written; the relay checks again (``check``) and keeps its last good one on any
error. Durations are seconds, sizes are bytes, addresses and networks are text.

A *credential* or *certificate* is a name; the material lies beside the
document in files ``<name>.username``, ``<name>.password`` and
``<name>.crt``, ``<name>.key`` (flat, as in a mounted Secret).
"""

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

VERSION = 1

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Seconds = Annotated[float, Meta(gt=0)]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every struct of the document: frozen, strict, by field name (``kw_only`` must be said again)."""


class ListenerTLS(enum.StrEnum):
    NONE = "None"
    OPPORTUNISTIC = "Opportunistic"  # STARTTLS offered
    REQUIRED = "Required"  # MAIL refused before STARTTLS
    IMPLICIT = "Implicit"  # TLS from the first byte (RFC 8314)


class UpstreamTLS(enum.StrEnum):
    NONE = "None"
    OPPORTUNISTIC = "Opportunistic"  # use it when offered, any certificate
    REQUIRED = "Required"  # STARTTLS with a valid certificate for the host, or the mail waits
    IMPLICIT = "Implicit"  # TLS from the first byte, valid certificate


class MXPolicy(enum.StrEnum):
    """How mail to the MX hosts of a domain is secured."""

    OPPORTUNISTIC = "Opportunistic"
    REQUIRED = "Required"


class Limits(Group, frozen=True, kw_only=True):
    max_message_bytes: Positive = 26_214_400
    max_recipients: Positive = 1000
    max_sessions: Positive = 2000
    max_sessions_per_client: Positive = 100


class Listener(Group, frozen=True, kw_only=True):
    name: str
    port: Port  # where the process listens
    service_port: Port  # what people connect to, for messages and logs
    tls: ListenerTLS = ListenerTLS.NONE
    certificate: str | None = None
    clients: tuple[str, ...] = ()  # networks that may relay
    limits: Limits = Limits()


class Queue(Group, frozen=True, kw_only=True):
    max_bytes: Positive = 10 * 2**30
    full_at_percent: Annotated[int, Meta(ge=1, le=100)] = 90


class Retry(Group, frozen=True, kw_only=True):
    first_s: Seconds = 60.0
    factor: Annotated[float, Meta(ge=1)] = 2.0
    max_s: Seconds = 3600.0
    jitter_percent: Percent = 10
    expire_after_s: Seconds = 432_000.0
    warn_after_s: float = 14_400.0  # 0: no delay warning


class Delivery(Group, frozen=True, kw_only=True):
    connections_per_destination: Positive = 20
    messages_per_connection: Positive = 1000
    bind_address: str = ""
    dns_servers: tuple[str, ...] = ()  # "192.0.2.53" or "127.0.0.1:5353"; empty: the system's


class Shared(Group, frozen=True, kw_only=True):
    """What every backend has: ``priority`` is failover order (lowest first), ``weight`` the share."""

    priority: Annotated[int, Meta(ge=0)] = 0
    weight: Annotated[int, Meta(ge=0)] = 1


class MX(Shared, tag="mx", tag_field="kind", frozen=True, kw_only=True):
    tls: MXPolicy = MXPolicy.OPPORTUNISTIC
    port: Port = 25


class SmartHost(Shared, tag="smartHost", tag_field="kind", frozen=True, kw_only=True):
    host: str
    port: Port = 25
    tls: UpstreamTLS = UpstreamTLS.OPPORTUNISTIC
    credential: str | None = None


class LMTP(Shared, tag="lmtp", tag_field="kind", frozen=True, kw_only=True):
    host: str
    port: Port = 24


class Reject(Shared, tag="reject", tag_field="kind", frozen=True, kw_only=True):
    code: Annotated[int, Meta(ge=400, le=599)] = 550
    enhanced: str = "5.7.1"
    message: str = "Rejected by policy"


class Discard(Shared, tag="discard", tag_field="kind", frozen=True, kw_only=True):
    """Accepted, logged and forgotten."""


class Quarantine(Shared, tag="quarantine", tag_field="kind", frozen=True, kw_only=True):
    """Accepted and held until somebody releases it."""


class Unavailable(Shared, tag="unavailable", tag_field="kind", frozen=True, kw_only=True):
    """Cannot be had as it was meant: as if no connection to it came about, so mail takes the next backend
    or waits. It keeps the route's mail from taking another route. ``reason`` is for the log."""

    reason: str


Backend = MX | SmartHost | LMTP | Reject | Discard | Quarantine | Unavailable


class Route(Group, frozen=True, kw_only=True):
    """One MailRoute, attached to ``listeners`` of this pool; ``created`` (Unix s) breaks ties."""

    name: str  # namespace/name
    created: float
    listeners: tuple[str, ...]
    senders: tuple[str, ...] = ("*",)
    recipients: tuple[str, ...] = ("*",)
    backends: tuple[Backend, ...] = ()
    retry: Retry = Retry()  # the pool's, with the route's overrides applied


class Document(Group, frozen=True, kw_only=True):
    version: int
    pool: str  # namespace/name
    hostname: str
    postmaster: str = ""  # where double bounces go; empty: they are held
    listeners: tuple[Listener, ...]
    queue: Queue = Queue()
    retry: Retry = Retry()
    delivery: Delivery = Delivery()
    routes: tuple[Route, ...] = ()
