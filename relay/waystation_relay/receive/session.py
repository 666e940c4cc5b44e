"""One connection: bytes between a socket and the server machine, and when it ends.

An ``asyncio.Protocol`` without tasks or timers (STARTTLS takes a task): what
arrives is answered in the same call, the 250 of a message when its commit is
over. Deadlines are the door's sweep to enforce.

Invariants
    Reading stops while the client's message waits for the disk, while replies pile
    up, and while more than ``PENDING_BYTES`` wait behind a message that is being committed.
    Plain text behind STARTTLS is never taken for what came by TLS.
"""

import asyncio
import fcntl
import ssl
import termios
from typing import TYPE_CHECKING

from waystation_relay.receive.conversation import Conversation
from waystation_relay.receive.deadlines import Activity, Overdue, overdue
from waystation_relay.receive.terms import client_address
from waystation_relay.wire import replies
from waystation_relay.wire.order import State
from waystation_relay.wire.server import Server

if TYPE_CHECKING:
    from waystation_relay.receive.door import Door  # the door makes sessions; they only know it by name

PENDING_BYTES = 64 * 1024

BEYOND_HANDSHAKE_S = 5.0  # when the loop's own deadline for a handshake should have ended it

_COMMITTING, _DISK, _REPLIES = 1, 2, 4  # why reading is paused

_FAREWELL = {
    Overdue.IDLE: replies.IDLE,
    Overdue.SLOW: replies.TOO_SLOW,
}


class Session(asyncio.Protocol):
    __slots__ = (
        "_byte_at", "_closing_at", "_command_at", "_conversation", "_deaf_since", "_door", "_farewell",
        "_gone", "_paused", "_server", "_started_at", "_transport", "_upgrading", "client", "has_begun",
    )  # fmt: skip

    _transport: asyncio.Transport
    _conversation: Conversation
    _server: Server

    def __init__(self, door: "Door", client: str = "") -> None:
        """``client``: IP address of one that has its place already."""
        self._door = door
        self.client = client
        self.has_begun = False
        self._upgrading = False
        self._paused = 0
        self._farewell: bytes | None = None  # to be said when the message under way is over
        self._gone = False
        self._closing_at: float | None = None
        self._started_at = self._command_at = self._byte_at = door.time()
        self._deaf_since: float | None = None

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # uvloop's is no subclass of asyncio's
        door, refused = self._door, None
        if not self.client:
            peer = transport.get_extra_info("peername")
            self.client = str(client_address(peer[0])) if peer else ""
            refused = door.enter(self.client)
        door.sessions.add(self)
        self.has_begun = True
        self._conversation = Conversation(
            door,
            self.client,
            answer=self._answer,
            full=lambda: self._pause(_DISK),
            drained=lambda: self._resume(_DISK),
        )
        self._server = Server(self._conversation)
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self._conversation.cipher = _cipher_of(secured)
        elif refused is None and _has_spoken(transport):
            door.turned_away(self.client, "early-talker")
            refused = replies.TOO_EARLY
        if refused is not None:
            self._hang_up(refused)
        else:
            door.welcomed()
            self._transport.write(self._conversation.terms.greeting)

    def data_received(self, data: bytes) -> None:
        server = self._server
        if self._closing_at is not None:
            return
        if server.tls_begins and not self._upgrading:  # plain text behind STARTTLS: somebody put it there
            self._abort()
            return
        self._byte_at = now = self._door.time()
        waited, before = server.is_waiting, server.state
        said = server.receive(data)
        if said or server.state is not before:
            self._command_at = now
        self._say(said)
        if not waited and server.tls_begins:
            self._begin_tls()
        elif server.is_waiting and server.pending_bytes > PENDING_BYTES:
            self._pause(_COMMITTING)

    def eof_received(self) -> bool:
        """The client will say no more; a message that is complete still gets its reply."""
        if not self._server.is_waiting or self._conversation.cipher:
            return False
        self._farewell = b""
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._leave()

    def pause_writing(self) -> None:
        self._deaf_since = self._door.time()
        self._pause(_REPLIES)

    def resume_writing(self) -> None:
        self._deaf_since = None
        if self._server.tls_begins and not self._upgrading:
            self._begin_tls()
        else:
            self._resume(_REPLIES)

    # What the conversation asks

    def _answer(self, said: bytes) -> None:
        """The reply to a message, once it is durable or could not be made so."""
        if self._gone or not self._server.is_waiting:
            return
        self._command_at = self._door.time()
        if self._farewell:
            self._hang_up(said + self._farewell)
            return
        self._say(self._server.answer(said))
        self._resume(_COMMITTING)
        if self._server.tls_begins and not self._upgrading:
            self._begin_tls()

    # What the door asks

    def dismiss(self, said: bytes) -> None:
        """Goodbye: at once, or when the message under way has its reply."""
        if self._closing_at is not None:
            return
        if self._server.in_content:
            self._farewell = said
        else:
            self._hang_up(said)

    def sweep(self, now: float) -> None:
        """Is a deadline over?"""
        deadlines = self._door.deadlines
        if self._closing_at is not None:
            if now - self._closing_at >= deadlines.closing_s:
                self._abort()
            return
        over = overdue(self._activity(), deadlines, now)
        if over is Overdue.DEAF:
            self._abort()
        elif over is Overdue.SESSION:
            self.dismiss(replies.SESSION_OVER)
        elif over is None or self._server.is_waiting or self._paused & _DISK:
            return  # it is our turn, not the client's
        else:
            self._hang_up(_FAREWELL[over])

    def abort(self) -> None:
        self._abort()

    # Inside

    def _activity(self) -> Activity:
        return Activity(
            self._started_at,
            self._command_at,
            self._byte_at,
            self._conversation.content_at,
            self._conversation.content_bytes,
            self._server.state not in (State.START, State.READY) and not self._server.in_content,
            self._deaf_since,
        )

    def _say(self, said: bytes) -> None:
        if self._conversation.is_hopeless:
            self._hang_up(said + self._conversation.give_up())
        elif self._server.is_closing:
            self._hang_up(said)
        elif said:
            self._transport.write(said)
            if self._farewell is not None and not self._server.in_content:
                self._hang_up(self._farewell)

    def _hang_up(self, said: bytes) -> None:
        """The last words; what the client still sends is not read."""
        self._closing_at = self._door.time()
        self._server.close()
        self._conversation.reset()
        if said:
            self._transport.write(said)
        self._transport.close()

    def _abort(self) -> None:
        self._closing_at = self._door.time()
        self._transport.abort()

    def _leave(self) -> None:
        """However it ended; harmless when repeated."""
        if self._gone:
            return
        self._gone = True
        self._closing_at = self._door.time()
        self._conversation.end()
        self._door.sessions.discard(self)
        self._door.left(self.client)

    def _pause(self, why: int) -> None:
        if not self._paused and self._closing_at is None:
            self._transport.pause_reading()
        self._paused |= why

    def _resume(self, why: int) -> None:
        if not self._paused & why:
            return
        self._paused &= ~why
        if not self._paused and not self._gone and self._closing_at is None:
            self._byte_at = self._door.time()
            self._transport.resume_reading()

    def _begin_tls(self) -> None:
        self._transport.pause_reading()  # at once: what the client sends next is for TLS to read
        if self._deaf_since is not None:  # it has not even read our go-ahead
            return
        self._door.tasks.start(self._upgrade(), "starttls")

    async def _upgrade(self) -> None:
        if self._gone:
            return
        plain, certificate = self._transport, self._conversation.terms.certificate
        assert certificate is not None, "STARTTLS was offered"
        handshake_s = self._door.deadlines.handshake_s
        self._upgrading = True
        try:
            async with asyncio.timeout(handshake_s + BEYOND_HANDSHAKE_S):
                upgraded = await asyncio.get_running_loop().start_tls(
                    plain, self, certificate, server_side=True, ssl_handshake_timeout=handshake_s
                )
        except OSError as error:  # ssl.SSLError, lost connections and TimeoutError are OSErrors
            self._door.failed(self.client, error)
            plain.abort()
            self._leave()
            return
        secured = upgraded.get_extra_info("ssl_object") if upgraded is not None else None
        if upgraded is None or secured is None:  # the connection went away meanwhile
            plain.abort()
            self._leave()
            return
        self._transport = upgraded
        self._paused = 0  # that was the other transport
        self._conversation.cipher = _cipher_of(secured)
        self._command_at = self._door.time()
        self._say(self._server.tls_started())


def _cipher_of(secured: ssl.SSLObject) -> str:
    cipher = secured.cipher()
    return f"using {secured.version()} with cipher {cipher[0]}" if cipher else f"using {secured.version()}"


def _has_spoken(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes have come already: none may before the greeting (RFC 5321 §4.3.1). A close is none."""
    waiting = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, b"\0" * 4)
    return waiting != b"\0" * 4
