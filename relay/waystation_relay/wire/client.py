"""One mail transaction from the client's side, without I/O (RFC 5321 §3.3, RFC 2033 for LMTP).

The caller writes what an ``Order`` says and hands in each reply; at ``DONE``
the replies stand beside the commands they answer. What they mean for a
recipient is for ``delivery`` to say.

How the commands are grouped
    no PIPELINING     one command, one reply.
    PIPELINING        MAIL, every RCPT and DATA in one write (RFC 2920 §3.1).
    and CHUNKING      MAIL and every RCPT; BDAT LAST in the same write when the
                      content is small, else after the RCPT replies, so that
                      refused mail is not sent. Over LMTP always after them: a
                      BDAT LAST that nobody accepted gets no reply (RFC 2033 §4.3).

Invariants
    Content is never begun before it may be: after 354, or by BDAT.
    After an order to write, nothing is outstanding: what follows a reply that
    led to it, but 421, is no answer.
    A positive reply to content that was not sent to its end is not believed.
    After a reply that makes no sense, or 421, nothing more is expected.
"""

import enum
from collections.abc import Callable, Sequence

from waystation_relay.mail.reply import Reply
from waystation_relay.wire import envelope_commands as commands
from waystation_relay.wire.capabilities import Capabilities
from waystation_relay.wire.stuffing import END

EAGER_BYTES = 64 * 1024  # content up to this size shares the write of its envelope
SERVICE_CLOSING = 421


class Stage(enum.IntEnum):
    """Which command the next reply answers."""

    RESET = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END = 4
    DONE = 5


class Order(enum.Enum):
    """What the caller does now."""

    WAIT = enum.auto()
    WRITE = enum.auto()  # ``outgoing``
    CONTENT = enum.auto()  # ``outgoing``, the content; unless ``chunked`` it is stuffed and ``END`` follows
    DONE = enum.auto()


# The first digits that make sense, by stage.
EXPECTED: dict[Stage, frozenset[int]] = {
    Stage.RESET: frozenset({2, 4, 5}),
    Stage.MAIL: frozenset({2, 4, 5}),
    Stage.RCPT: frozenset({2, 4, 5}),
    Stage.DATA: frozenset({3, 4, 5}),
    Stage.END: frozenset({2, 4, 5}),
    Stage.DONE: frozenset(),
}


class Exchange:
    """``rcpt_replies`` has an entry for each RCPT answered; ``end_replies`` for each reply to the content:
    one over SMTP, one for each accepted recipient over LMTP."""

    __slots__ = (
        "_capabilities",
        "_expected",
        "_lmtp",
        "_mail",
        "_rcpts",
        "_size_bytes",
        "accepted",
        "broken",
        "chunked",
        "content_sent",
        "data_reply",
        "end_replies",
        "mail_reply",
        "needs_reset",
        "outgoing",
        "rcpt_replies",
        "stage",
    )

    def __init__(
        self, mail: bytes, rcpts: Sequence[bytes], size_bytes: int, capabilities: Capabilities, *, lmtp: bool
    ) -> None:
        assert rcpts, "a transaction has a recipient"
        self._mail, self._rcpts, self._size_bytes = mail, rcpts, size_bytes
        self._capabilities, self._lmtp = capabilities, lmtp
        self.chunked = capabilities.chunking
        self.stage = Stage.MAIL
        self.outgoing = b""
        self.accepted = 0  # recipients
        self.content_sent = False  # set by the caller: all of the content is on its way
        self.needs_reset = True  # afterwards, before the next MAIL
        self.mail_reply: Reply | None = None
        self.rcpt_replies: list[Reply] = []
        self.data_reply: Reply | None = None
        self.end_replies: list[Reply] = []
        self.broken: Reply | None = None  # 421, or a reply that makes no sense

    @property
    def is_nonsense(self) -> bool:
        """The reply that ended it fits no command we sent."""
        return self.broken is not None and self.broken.code != SERVICE_CLOSING

    @property
    def is_wanted(self) -> bool:
        """The server takes the content: MAIL and at least one recipient were accepted."""
        return self.accepted > 0 and self.mail_reply is not None and self.mail_reply.is_positive

    def begin(self, *, reset: bool) -> Order:
        """The first write. ``reset``: the transaction before this one left something to forget."""
        self.stage = Stage.RESET if reset else Stage.MAIL
        if not self._capabilities.pipelining:
            self.outgoing = commands.RSET if reset else self._mail
            return Order.WRITE
        group = [self._mail, *self._rcpts]
        if reset:
            group.insert(0, commands.RSET)
        if not self.chunked:
            group.append(commands.DATA)
        elif self._is_eager:
            group.append(commands.bdat_last(self._size_bytes))
        self.outgoing = b"".join(group)
        return Order.CONTENT if self._is_eager else Order.WRITE

    def receive(self, reply: Reply) -> Order:
        """The next reply, in the order the server sent them."""
        if reply.code // 100 not in EXPECTED[self.stage] or reply.code == SERVICE_CLOSING:
            return self._break(reply)
        return _NEXT[self.stage](self, reply)

    @property
    def _is_eager(self) -> bool:
        return (
            self.chunked
            and self._capabilities.pipelining
            and self._size_bytes <= EAGER_BYTES
            and not self._lmtp
        )

    def _on_reset(self, _: Reply) -> Order:
        """Whatever it says, the reply to MAIL will tell."""
        self.stage = Stage.MAIL
        return self._write(self._mail)

    def _on_mail(self, reply: Reply) -> Order:
        self.mail_reply = reply
        if not reply.is_positive and not self._capabilities.pipelining:
            return self._done()
        self.stage = Stage.RCPT
        return self._write(self._rcpts[0])

    def _on_rcpt(self, reply: Reply) -> Order:
        self.rcpt_replies.append(reply)
        if reply.is_positive:
            self.accepted += 1
        answered = len(self.rcpt_replies)
        if answered < len(self._rcpts):
            return self._write(self._rcpts[answered])
        if self._is_eager:
            self.stage = Stage.END
            return Order.WAIT
        if not self.chunked and self._capabilities.pipelining:
            self.stage = Stage.DATA
            return Order.WAIT
        if not self.is_wanted:
            return self._done()
        if self.chunked:
            self.stage = Stage.END
            self.outgoing = commands.bdat_last(self._size_bytes)
            return Order.CONTENT
        self.stage = Stage.DATA
        return self._write(commands.DATA)

    def _on_data(self, reply: Reply) -> Order:
        if not reply.is_positive:
            self.data_reply = reply
            return self._done()
        self.stage = Stage.END
        if self.is_wanted:
            self.outgoing = b""
            return Order.CONTENT
        if self._lmtp:  # RFC 2033 §4.2 asks for 503 here; how many replies a dot would get, nobody knows
            return self._break(reply)
        self.content_sent = True
        self.outgoing = END  # RFC 2920 §3.1: nobody to send it to, so nothing is sent
        return Order.WRITE

    def _on_end(self, reply: Reply) -> Order:
        if reply.is_positive and not self.content_sent:
            return self._break(reply)
        self.end_replies.append(reply)
        if self._lmtp and len(self.end_replies) < self.accepted and self.content_sent:
            return Order.WAIT
        # After a failed BDAT only RSET leads back to a known state (RFC 3030 §2).
        self.needs_reset = self.chunked and not all(r.is_positive for r in self.end_replies)
        return self._done()

    def _write(self, command: bytes) -> Order:
        """The next command, unless it is under way already."""
        if self._capabilities.pipelining:
            return Order.WAIT
        self.outgoing = command
        return Order.WRITE

    def _break(self, reply: Reply) -> Order:
        self.broken = reply
        return self._done()

    def _done(self) -> Order:
        self.stage = Stage.DONE
        return Order.DONE


_NEXT: dict[Stage, Callable[[Exchange, Reply], Order]] = {
    Stage.RESET: Exchange._on_reset,
    Stage.MAIL: Exchange._on_mail,
    Stage.RCPT: Exchange._on_rcpt,
    Stage.DATA: Exchange._on_data,
    Stage.END: Exchange._on_end,
}
