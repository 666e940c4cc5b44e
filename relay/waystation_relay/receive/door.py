"""One listener: its socket, who is inside, and who is not let in.

Owns the sessions, and the places they take: a connection has one from its
first moment to its last, TLS handshakes and those turned away included. The
terms are replaced when the configuration changes; sessions pick them up themselves.
"""

import asyncio
from collections.abc import Callable

from waystation_relay.aio.addresses import listened_on
from waystation_relay.aio.clock import Clock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.mail.envelope import Envelope
from waystation_relay.observe.log import EventLog
from waystation_relay.observe.metrics import Metrics
from waystation_relay.policy.verdict import Refusal
from waystation_relay.receive.deadlines import Deadlines
from waystation_relay.receive.handshake import Knock
from waystation_relay.receive.session import Session
from waystation_relay.receive.terms import Terms
from waystation_relay.spool.spool import Spool
from waystation_relay.wire import replies

BACKLOG = 1024
LOGGED_RECIPIENTS = 20


class Door:
    def __init__(
        self,
        terms: Terms,
        port: int,
        *,
        spool: Spool,
        clock: Clock,
        metrics: Metrics,
        log: EventLog,
        tasks: Tasks,
        is_closed: Callable[[], bool],
        deadlines: Deadlines,
    ) -> None:
        self.terms = terms
        self.port = port
        self.spool = spool
        self.tasks = tasks
        self.deadlines = deadlines
        self.time = clock.monotonic
        self.sessions: set[Session] = set()
        self.places = 0  # taken
        self._by_client: dict[str, int] = {}
        self._metrics, self._log, self._is_closed = metrics, log, is_closed
        self._listening: asyncio.Server | None = None

    async def open(self, bind: str, *, reuse_port: bool) -> None:
        """Raises ``OSError``."""
        protocol = Knock if self.terms.implicit else Session
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: protocol(self),
            listened_on(bind),
            self.port,
            backlog=BACKLOG,
            reuse_port=reuse_port or None,
        )
        self._log.emit("listener.opened", listener=self.terms.listener, address=bind, port=self.port)

    def close(self) -> None:
        """No new connections; those inside stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._log.emit("listener.closed", listener=self.terms.listener, port=self.port)

    # Who comes and goes

    def enter(self, client: str) -> bytes | None:
        """The reply that turns it away, ``None``: it may stay. Either way it has a place until ``left``."""
        most = self.terms.limits
        self.places += 1
        here = self._by_client[client] = self._by_client.get(client, 0) + 1
        if self._is_closed():
            self.turned_away(client, "draining")
            return replies.SHUTTING_DOWN
        if self.places > most.max_sessions:
            self.turned_away(client, "too-many")
            return replies.TOO_MANY_SESSIONS
        if here > most.max_sessions_per_client:
            self.turned_away(client, "too-many-of-client")
            return replies.TOO_MANY_OF_CLIENT
        return None

    def left(self, client: str) -> None:
        self.places -= 1
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]

    def welcomed(self) -> None:
        self._metrics.session_opened(self.terms.listener)

    def turned_away(self, client: str, reason: str) -> None:
        self._metrics.session_refused(self.terms.listener, reason)
        self._log.emit("session.refused", listener=self.terms.listener, client=client, reason=reason)

    def failed(self, client: str, error: Exception) -> None:
        """TLS did not come about."""
        self._log.emit(
            "session.failed",
            listener=self.terms.listener,
            client=client,
            error=str(error) or type(error).__name__,
        )

    # What becomes of mail

    def accepted(
        self, client: str, queue_id: str, protocol: str, helo: str, envelope: Envelope, size_bytes: int
    ) -> None:
        recipients = envelope.recipients
        self._metrics.accepted(self.terms.listener, size_bytes)
        self._log.emit(
            "message.accepted",
            queue_id=queue_id,
            listener=self.terms.listener,
            client=client,
            helo=helo,
            protocol=protocol,
            sender=envelope.reverse_path,
            recipients=[recipient.address for recipient in recipients[:LOGGED_RECIPIENTS]],
            count=len(recipients),
            size_bytes=size_bytes,
        )

    def refused(
        self, client: str, refusal: Refusal, reverse_path: str, recipient: str, queue_id: str
    ) -> None:
        self._metrics.refused(self.terms.listener, refusal.why.value)
        fields: dict[str, object] = {"queue_id": queue_id} if queue_id else {}
        if recipient:
            fields["recipient"] = recipient
        self._log.emit(
            "message.refused",
            listener=self.terms.listener,
            client=client,
            sender=reverse_path,
            reason=refusal.why.value,
            reply=str(refusal.reply),
            **fields,
        )

    # Time

    def sweep(self) -> None:
        now = self.time()
        for session in tuple(self.sessions):
            session.sweep(now)
