"""The server's side of a conversation, without I/O (RFC 5321 §3, §4.1; RFC 2920, 3030, 3207).

``receive`` takes what arrived and returns what to write; commands that come
together are answered together. What a command means is the ``Host``'s to say:
its answers are complete replies. Where the host needs time (the message is
being made durable, TLS is starting) the machine waits: what else arrives is
kept, and goes on with ``answer`` or ``tls_started``.

Which command is allowed when is ``ORDER``: a verb in a state that is not there
gets the reply that ``WRONG_ORDER`` has for it.

Invariants
    Every complete command gets exactly one reply, in order.
    Nothing is interpreted behind STARTTLS, or behind the first EHLO or HELO,
    before its reply: that would be a client talking to somebody else.
    ``is_closing`` is set with the last reply; nothing is read after it.
    What is kept unparsed is bounded by the caller, who stops reading while ``is_waiting``.
    Work is proportional to what arrives, however it is cut.
"""

from collections.abc import Callable

from waystation_relay.wire import envelope, replies
from waystation_relay.wire.content import ChunkDecoder, DataDecoder, chunk_of
from waystation_relay.wire.host import Host
from waystation_relay.wire.order import CONTENT_MODES, ORDER, WRONG_ORDER, Mode, State

LINE_BYTES = 2048  # RFC 5321 §4.5.3.1.4 asks for 512, the extensions' parameters add 800
MOST_ERRORS = 20  # of grammar and order
MOST_IDLE = 100  # commands that bring no mail nearer, between two messages
_HTTP = frozenset({b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE"})


class Server:
    __slots__ = (
        "_at", "_chunk_bytes", "_chunks", "_data", "_errors", "_host", "_idle", "_instead", "_last", "_mode",
        "_pending", "_refused", "_smtputf8", "_state", "_tls_begins",
    )  # fmt: skip

    def __init__(self, host: Host) -> None:
        self._host = host
        self._state = State.START
        self._mode = Mode.COMMANDS
        self._pending = b""
        self._at = 0  # how far ``_pending`` has been read, while ``_run`` reads it
        self._errors = self._idle = 0
        self._refused = False  # the sender or a recipient: what was pipelined behind it cannot be in order
        self._smtputf8 = False
        self._data: DataDecoder | None = None
        self._chunks: ChunkDecoder | None = None
        self._chunk_bytes = 0
        self._last = False  # the chunk being read is the last
        self._instead: bytes | None = None  # the reply to a chunk that is read only to be thrown away
        self._tls_begins = False

    @property
    def state(self) -> State:
        return self._state

    @property
    def is_waiting(self) -> bool:
        return self._mode is Mode.WAITING

    @property
    def is_closing(self) -> bool:
        return self._mode is Mode.CLOSED

    @property
    def in_content(self) -> bool:
        """A message is on its way, or its reply is awaited."""
        return self._mode in CONTENT_MODES or self._state is State.CHUNKS

    @property
    def tls_begins(self) -> bool:
        """The reply just returned was the go-ahead for TLS."""
        return self._tls_begins

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def receive(self, data: bytes) -> bytes:
        self._pending = self._pending + data if self._pending else data
        return self._run()

    def answer(self, said: bytes) -> bytes:
        """The reply that ``end_content`` put off, and whatever follows it."""
        assert self._mode is Mode.WAITING
        self._mode = Mode.COMMANDS
        self._over()
        return said + self._run()

    def tls_started(self) -> bytes:
        """RFC 3207 §4.2: all is forgotten, the client says EHLO again; what has arrived since came by TLS."""
        assert self._tls_begins
        self._tls_begins = False
        self._state = State.START
        self._mode = Mode.COMMANDS
        return self._run()

    def close(self) -> None:
        """Nothing more is read."""
        self._mode = Mode.CLOSED
        self._pending = b""
        self._at = 0

    # Reading

    def _run(self) -> bytes:
        out: list[bytes] = []
        while self._at < len(self._pending) or self._mode is Mode.CHUNK:
            match self._mode:
                case Mode.COMMANDS:
                    said = self._line()
                case Mode.DATA:
                    said = self._content()
                case Mode.CHUNK:
                    said = self._chunk()
                case Mode.SKIPPING:
                    said = self._skip()
                case Mode.WAITING | Mode.CLOSED:
                    break
            if said is None:
                break
            out.append(said)
            if said[:1] == b"5" and self._mode is Mode.COMMANDS and self._is_protocol_error(said):
                out.append(self._count_error())
        self._pending = b"" if self._mode is Mode.CLOSED else self._pending[self._at :]
        self._at = 0
        return b"".join(out)

    def _line(self) -> bytes | None:
        """One command; ``None`` while it is not complete."""
        pending, at = self._pending, self._at
        end = pending.find(b"\n", at, at + LINE_BYTES)
        if end < 0:
            if len(pending) - at < LINE_BYTES:
                return None
            self._mode = Mode.SKIPPING
            return b""
        line = pending[at:end]
        self._at = end + 1
        if not line.endswith(b"\r"):
            return self._end(replies.BARE_LF)
        line = line[:-1]
        verb, _, rest = line.partition(b" ")
        action = VERBS.get(verb) or VERBS.get(verb.upper())
        if action is None:
            return self._end(replies.NOT_SMTP) if verb.upper() in _HTTP else _unknown(verb)
        if b"\r" in rest or b"\0" in rest:
            return replies.NOT_TEXT
        try:
            arguments = rest.decode()
        except UnicodeDecodeError:
            return replies.NOT_TEXT
        if self._state not in action.states:
            return self._out_of_order(action.name, arguments)
        return action.run(self, arguments)

    def _skip(self) -> bytes | None:
        pending = self._pending
        end = pending.find(b"\n", self._at)
        if end < 0:
            self._at = len(pending) - pending.endswith(b"\r")  # perhaps half of the line's end
            return None
        self._at = end + 1
        if not pending.endswith(b"\r", 0, end):
            return self._end(replies.BARE_LF)
        self._mode = Mode.COMMANDS
        return replies.LINE_TOO_LONG

    def _content(self) -> bytes | None:
        assert self._data is not None
        rest = self._data.feed(self._pending[self._at :])
        self._pending, self._at = rest or b"", 0
        if rest is None:
            return None
        self._data = None
        return self._finish()

    def _chunk(self) -> bytes | None:
        assert self._chunks is not None
        piece = self._pending[self._at : self._at + self._chunks.left]
        self._at += len(piece)
        if not self._chunks.feed(piece):
            return None
        self._mode = Mode.COMMANDS
        if self._instead is not None:
            said, self._instead = self._instead, None
            return said
        if self._last:
            self._chunks.finish()
            return self._finish()
        refused = self._host.chunk_refused()
        if refused is not None:
            self._over()
            return refused
        return replies.chunk_taken(self._chunk_bytes)

    def _finish(self) -> bytes:
        """The content is complete."""
        self._idle = 0
        said = self._host.end_content()
        if said is None:
            self._mode = Mode.WAITING
            return b""
        self._mode = Mode.COMMANDS
        self._over()
        return said

    def _over(self) -> None:
        """The transaction is."""
        self._host.reset()
        self._refused = False
        self._chunks = None
        if self._state is not State.START:
            self._state = State.READY

    # Commands

    def _ehlo(self, arguments: str) -> bytes:
        return self._hello(arguments, extended=True)

    def _helo(self, arguments: str) -> bytes:
        return self._hello(arguments, extended=False)

    def _hello(self, arguments: str, *, extended: bool) -> bytes:
        name = arguments.strip()
        if not name or len(name) > 255 or not name.isascii() or not name.isprintable() or " " in name:
            return replies.HELO_SYNTAX
        if self._state is State.START and self._at < len(self._pending):
            return self._end(replies.TOO_EARLY)
        self._over()
        self._state = State.READY
        return self._idly(self._host.hello(name, extended=extended))

    def _mail(self, arguments: str) -> bytes:
        command = envelope.mail(arguments)
        if isinstance(command, bytes):
            self._refused = True
            return command
        said = self._host.mail(command)
        self._refused = said[:1] != b"2"
        if not self._refused:
            self._smtputf8 = command.smtputf8
            self._state = State.MAIL
        return said

    def _rcpt(self, arguments: str) -> bytes:
        recipient = envelope.rcpt(arguments, smtputf8=self._smtputf8)
        if isinstance(recipient, bytes):
            self._refused = True
            return recipient
        said = self._host.rcpt(recipient)
        if said[:1] == b"2":
            self._state = State.RCPT
            return said
        self._refused = True
        return self._end(said) if said[:3] == b"421" else said

    def _data_(self, arguments: str) -> bytes:
        if arguments.strip():
            return replies.NO_ARGUMENT
        refused = self._host.begin_content()
        if refused is not None:
            self._over()
            return refused
        self._data = DataDecoder(self._host.take)
        self._mode = Mode.DATA
        return replies.START_DATA

    def _bdat(self, arguments: str) -> bytes:
        parsed = chunk_of(arguments)
        if parsed is None:  # how many octets follow, nobody knows
            return self._end(replies.BDAT_SYNTAX)
        size_bytes, last = parsed
        if self._state is not State.CHUNKS:
            refused = self._host.begin_content()
            if refused is not None:
                self._over()
                return self._read_chunk(size_bytes, instead=refused)
            self._chunks = ChunkDecoder(self._host.take)
            self._state = State.CHUNKS
        self._last = last
        return self._read_chunk(size_bytes, instead=None)

    def _read_chunk(self, size_bytes: int, *, instead: bytes | None) -> bytes:
        if instead is not None:
            self._chunks = ChunkDecoder(_forget)
        assert self._chunks is not None
        self._chunks.begin(size_bytes)
        self._chunk_bytes = size_bytes
        self._instead = instead
        self._mode = Mode.CHUNK
        return b""

    def _rset(self, arguments: str) -> bytes:
        if arguments.strip():
            return replies.NO_ARGUMENT
        self._over()
        return self._idly(replies.OK)

    def _noop(self, _arguments: str) -> bytes:
        return self._idly(replies.OK)

    def _vrfy(self, _arguments: str) -> bytes:
        return self._idly(replies.VRFY)

    def _help(self, _arguments: str) -> bytes:
        return self._idly(replies.HELP)

    def _known_only(self, _arguments: str) -> bytes:
        return replies.NOT_IMPLEMENTED

    def _quit(self, _arguments: str) -> bytes:
        return self._end(replies.BYE)

    def _starttls(self, arguments: str) -> bytes:
        if arguments.strip():
            return replies.NO_ARGUMENT
        if self._at < len(self._pending):
            return self._end(replies.TOO_EARLY)
        if not self._host.start_tls():
            return replies.NO_TLS
        self._over()
        self._tls_begins = True
        self._mode = Mode.WAITING
        return replies.START_TLS

    # What goes wrong

    def _out_of_order(self, verb: str, arguments: str) -> bytes:
        said = WRONG_ORDER.get((verb, self._state)) or WRONG_ORDER[verb, None]
        if verb != "BDAT":
            return said
        parsed = chunk_of(arguments)
        if parsed is None:
            return self._end(replies.BDAT_SYNTAX)
        return self._read_chunk(parsed[0], instead=said)

    def _is_protocol_error(self, said: bytes) -> bool:
        """Grammar and order; that policy says no is no fault of the client's, nor what it pipelined then."""
        return said[4:8] == b"5.5." and not (self._refused and said in _FOLLOWS)

    def _count_error(self) -> bytes:
        self._errors += 1
        return self._end(replies.TOO_MANY_ERRORS) if self._errors >= MOST_ERRORS else b""

    def _idly(self, said: bytes) -> bytes:
        self._idle += 1
        return said if self._idle <= MOST_IDLE else self._end(replies.TOO_IDLE)

    def _end(self, said: bytes) -> bytes:
        self._host.reset()
        self.close()
        return said


_ACTIONS: dict[str, Callable[[Server, str], bytes]] = {
    "EHLO": Server._ehlo,
    "HELO": Server._helo,
    "MAIL": Server._mail,
    "RCPT": Server._rcpt,
    "DATA": Server._data_,
    "BDAT": Server._bdat,
    "RSET": Server._rset,
    "NOOP": Server._noop,
    "VRFY": Server._vrfy,
    "HELP": Server._help,
    "QUIT": Server._quit,
    "STARTTLS": Server._starttls,
    "EXPN": Server._known_only,
    "TURN": Server._known_only,
    "ETRN": Server._known_only,
    "AUTH": Server._known_only,
}


class _Verb:
    __slots__ = ("name", "run", "states")

    def __init__(self, name: str, run: Callable[[Server, str], bytes]) -> None:
        self.name = name
        self.run = run
        self.states = ORDER[name]


_FOLLOWS = frozenset({replies.MAIL_FIRST, replies.NO_RECIPIENTS})
VERBS = {name.encode(): _Verb(name, run) for name, run in _ACTIONS.items()}


def _unknown(verb: bytes) -> bytes:
    return replies.UNKNOWN if verb.isascii() and b"\0" not in verb else replies.NOT_TEXT


def _forget(_piece: bytes) -> None:
    pass
