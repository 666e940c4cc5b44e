"""One listener: its socket, who is inside, and who is not let in.

Owns the sessions and counts them, in all and by client address. The terms are
replaced when the configuration changes; sessions pick them up themselves.
"""

import asyncio
import ssl
from collections.abc import Callable

from waystation_relay.aio.clock import Clock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.mail.envelope import Envelope
from waystation_relay.observe.log import EventLog
from waystation_relay.observe.metrics import Metrics
from waystation_relay.policy.verdict import Refusal
from waystation_relay.receive.deadlines import Deadlines
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
        self._by_client: dict[str, int] = {}
        self._metrics, self._log, self._is_closed = metrics, log, is_closed
        self._listening: asyncio.Server | None = None

    async def open(self, bind: str, *, reuse_port: bool) -> None:
        """Raises ``OSError``."""
        certificate = self._implicit() if self.terms.implicit else None
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: Session(self),
            bind,
            self.port,
            backlog=BACKLOG,
            reuse_port=reuse_port or None,
            ssl=certificate,
            ssl_handshake_timeout=self.deadlines.handshake_s if certificate is not None else None,
        )
        self._log.emit("listener.opened", listener=self.terms.listener, address=bind, port=self.port)

    def close(self) -> None:
        """No new connections; those inside stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._log.emit("listener.closed", listener=self.terms.listener, port=self.port)

    def _implicit(self) -> ssl.SSLContext:
        """A context that hands each handshake to the certificate in force: a new one needs no new socket."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2

        def present(handshake: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
            assert self.terms.certificate is not None
            handshake.context = self.terms.certificate

        context.sni_callback = present
        return context

    # Who comes and goes

    def admit(self, session: Session) -> bytes | None:
        """The reply that turns it away, ``None``: it may stay. Either way it is counted until it has left."""
        client, most = session.client, self.terms.limits
        self.sessions.add(session)
        here = self._by_client[client] = self._by_client.get(client, 0) + 1
        if self._is_closed():
            self.turned_away(session, "draining")
            return replies.SHUTTING_DOWN
        if len(self.sessions) > most.max_sessions:
            self.turned_away(session, "too-many")
            return replies.TOO_MANY_SESSIONS
        if here > most.max_sessions_per_client:
            self.turned_away(session, "too-many-of-client")
            return replies.TOO_MANY_OF_CLIENT
        self._metrics.session_opened(self.terms.listener)
        return None

    def turned_away(self, session: Session, reason: str) -> None:
        self._metrics.session_refused(self.terms.listener, reason)
        self._log.emit("session.refused", listener=self.terms.listener, client=session.client, reason=reason)

    def left(self, session: Session) -> None:
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        client = session.client
        left = self._by_client[client] - 1
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]

    def failed(self, session: Session, error: Exception) -> None:
        """TLS did not come about."""
        self._log.emit(
            "session.failed",
            listener=self.terms.listener,
            client=session.client,
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
