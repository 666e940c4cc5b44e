"""A connection to a server, ready for mail: one transaction after the other, all in callbacks.

Made by ``connect``. ``send`` writes at once and ``done`` is called once, when
every recipient's outcome is known; inside ``done`` the next ``send`` may be
called. No task and no timer is made for a transaction: one timer a connection
looks at the deadline now and then.

Invariants
    One transaction at a time; every ``send`` is answered by one ``done``.
    What arrives unasked ends the connection: it is out of step.
    ``on_closed`` is called once, when the connection has become unusable, and
    not before ``done`` has heard what became of the transaction.
"""

import asyncio
from collections.abc import Callable

from waystation_relay.delivery import verdicts
from waystation_relay.delivery.offer import Offer, prepare, reads_body
from waystation_relay.delivery.pump import Pump
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.transaction import Result, Transaction
from waystation_relay.delivery.verdicts import Hop
from waystation_relay.mail.outcome import Deferred, Failed, Outcome, Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.wire import envelope_commands as commands
from waystation_relay.wire.capabilities import Capabilities
from waystation_relay.wire.client import EAGER_BYTES, SERVICE_CLOSING, Exchange, Order, Stage
from waystation_relay.wire.response import Responses
from waystation_relay.wire.stuffing import END, Stuffer, stuff

Done = Callable[[Result], None]


class Connection(asyncio.Protocol):
    def __init__(
        self,
        transport: asyncio.Transport,
        hop: Hop,
        capabilities: Capabilities,
        timeouts: Timeouts,
        tls_version: str = "",
    ) -> None:
        self.capabilities = capabilities
        self.tls_version = tls_version  # "TLSv1.3"; "" when plain
        self.used_count = 0
        self.on_closed: Callable[[Connection], None] | None = None
        self._transport, self._hop, self._timeouts = transport, hop, timeouts
        self._loop = asyncio.get_running_loop()
        self._responses = Responses()
        self._exchange: Exchange | None = None
        self._offer: Offer | None = None
        self._total = 0
        self._done: Done | None = None
        self._pump: Pump | None = None
        self._needs_reset = False
        self._closing = False
        self._lost = False
        self._full = False  # the transport's buffer
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def remote(self) -> Remote:
        return self._hop.remote

    @property
    def idle(self) -> bool:
        """``send`` may be called."""
        return self._done is None and not self._closing

    @property
    def closing(self) -> bool:
        """No further transaction is possible."""
        return self._closing

    def send(self, transaction: Transaction, done: Done) -> None:
        """Starts at once. What cannot even start is told to ``done`` on the next turn of the loop."""
        assert self._done is None, "one transaction at a time"
        self._done = done
        self._total = len(transaction.recipients)
        if self._closing:
            self._loop.call_soon(self._too_late)
        elif reads_body(transaction, self.capabilities):
            preparing = self._loop.run_in_executor(None, prepare, transaction, self.capabilities)
            preparing.add_done_callback(self._prepared)
        else:
            offer = prepare(transaction, self.capabilities)
            if isinstance(offer, Offer):
                self._begin(offer)
            else:
                self._loop.call_soon(self._conclude, offer)

    def _prepared(self, preparing: "asyncio.Future[Offer | tuple[Failed, ...]]") -> None:
        if preparing.cancelled() or self._closing:
            self._too_late()
        elif (error := preparing.exception()) is not None:
            self._conclude(self._all(_unreadable(str(error))))
        elif isinstance(offer := preparing.result(), Offer):
            self._begin(offer)
        else:
            self._conclude(offer)

    def _begin(self, offer: Offer) -> None:
        self.used_count += 1
        self._offer = offer
        exchange = self._exchange = Exchange(
            offer.mail, offer.rcpts, offer.size_bytes, self.capabilities, lmtp=self._hop.lmtp
        )
        self._obey(exchange.begin(reset=self._needs_reset), exchange)
        self._set_deadline(exchange)
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._timeouts.sweep_s, self._look)

    def quit(self) -> None:
        """Says goodbye and closes; a transaction under way is cut off and deferred."""
        if self._closing:
            return
        if self._done is not None:
            self.abort()
            return
        self._unusable()
        self._transport.write(commands.QUIT)
        self._loop.call_later(self._timeouts.quit_s, self._transport.abort)

    def abort(self) -> None:
        """Closes without a word."""
        self._unusable()
        self._transport.abort()

    # What the event loop calls

    def data_received(self, data: bytes) -> None:
        replies = self._responses.receive(data)
        last = len(replies) - 1
        trailing = self._responses.is_pending or bool(self._responses.malformed)
        for n, said in enumerate(replies):
            exchange = self._exchange
            if exchange is None:
                self._unasked()
                return
            if exchange.stage is Stage.END and self._transport.get_write_buffer_size():
                exchange.content_sent = False  # it cannot know what is still here
            order = exchange.receive(said)
            more = n < last or trailing
            if order is Order.DONE:
                self._finish(exchange, None, in_step=not more)
                if more:
                    return
                continue
            if order is not Order.WAIT and more:
                if n < last and replies[n + 1].code == SERVICE_CLOSING:
                    continue  # it may say so at any moment
                self._cut(verdicts.nonsense(f"more replies than commands, after {said}"))
                return
            self._obey(order, exchange)
            self._set_deadline(exchange)
        if self._responses.malformed:
            self._cut(verdicts.nonsense(self._responses.malformed))
        elif self._exchange is None and self._responses.is_pending:
            self._unasked()

    def eof_received(self) -> None:
        """The server will say no more: the transport closes."""

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._exchange is not None:
            name = self._hop.name
            how = f"lost the connection to {name}: {error}" if error else f"{name} closed the connection"
            self._cut(verdicts.lost(f"{how} {verdicts.moment(self._exchange)}"), gone=True)
        self._unusable()

    def pause_writing(self) -> None:
        self._full = True
        if self._pump is not None:
            self._pump.pause()

    def resume_writing(self) -> None:
        self._full = False
        if self._pump is not None:
            self._pump.resume()

    # The transaction

    def _obey(self, order: Order, exchange: Exchange) -> None:
        if order is Order.WRITE:
            self._transport.write(exchange.outgoing)
        elif order is Order.CONTENT:
            self._write_content(exchange)

    def _write_content(self, exchange: Exchange) -> None:
        assert self._offer is not None
        body, size_bytes = self._offer.body, self._offer.size_bytes
        if isinstance(body, bytes):
            content = body if exchange.chunked else stuff(body)
            end = b"" if exchange.chunked else END
            if size_bytes <= EAGER_BYTES:
                self._transport.write(b"".join((exchange.outgoing, content, end)))
            else:
                self._transport.writelines((exchange.outgoing, content, end))
            exchange.content_sent = True
            return
        self._transport.write(exchange.outgoing)
        self._pump = Pump(
            body,
            self._transport,
            None if exchange.chunked else Stuffer(),
            progress=lambda: self._set_deadline(exchange),
            sent=lambda: self._content_sent(exchange),
            failed=lambda why: self._cut(_unreadable(why)),
        )
        if self._full:
            self._pump.pause()
        self._pump.start()

    def _content_sent(self, exchange: Exchange) -> None:
        self._pump = None
        exchange.content_sent = True
        self._set_deadline(exchange)

    def _cut(self, cause: Deferred, *, gone: bool = False) -> None:
        """Ends the connection, and the transaction with it; ``gone``: the server did."""
        exchange = self._exchange
        if exchange is not None:
            self._finish(exchange, cause, in_step=False, gone=gone)
        else:
            self.abort()

    def _unasked(self) -> None:
        """A reply to nothing: a goodbye (421 after a timeout of theirs), or nonsense. Either way, over."""
        self.abort()

    def _finish(
        self, exchange: Exchange, cause: Deferred | None, *, in_step: bool, gone: bool = False
    ) -> None:
        offer = self._offer
        assert offer is not None
        found, again = verdicts.outcomes(exchange, offer, self._total, cause, self._hop)
        self._exchange = self._offer = None
        if self._pump is not None:
            self._pump.stop()
            self._pump = None
        if exchange.end_replies and not exchange.content_sent:
            in_step = False  # half a body is on its way
        self._needs_reset = exchange.needs_reset
        broken = exchange.broken
        asked_to_stop = broken is not None and broken.code == SERVICE_CLOSING
        if (gone or asked_to_stop) and self._was_stale(exchange):
            again = tuple(range(self._total))
        whole = in_step and broken is None
        if not whole:
            self.abort()
        spent = self.capabilities.mail_max is not None and self.used_count >= self.capabilities.mail_max
        lost = not whole and not (asked_to_stop and _is_throttled(found))
        self._done_with(Result(found, not spent and not self._closing, lost, again))
        if spent:
            self.quit()

    def _was_stale(self, exchange: Exchange) -> bool:
        """The server had ended a connection it had idled on, just before we used it again."""
        return self.used_count > 1 and exchange.mail_reply is None

    def _all(self, outcome: Outcome) -> tuple[Outcome, ...]:
        return (outcome,) * self._total

    def _too_late(self) -> None:
        """The connection was gone before anything was sent on it: another may serve at once."""
        outcome = self._hop.deferred(verdicts.lost(f"the connection to {self._hop.name} was closed"))
        self._done_with(Result(self._all(outcome), False, True, tuple(range(self._total))))

    def _conclude(self, found: tuple[Outcome, ...]) -> None:
        self._done_with(Result(found, not self._closing, self._lost))

    def _done_with(self, result: Result) -> None:
        done, self._done = self._done, None
        assert done is not None
        done(result)
        if self._closing:
            self._unusable()

    # Time

    def _set_deadline(self, exchange: Exchange) -> None:
        self._deadline = self._loop.time() + self._timeouts.of(exchange.stage, sending=self._pump is not None)

    def _look(self) -> None:
        """Is the deadline over? Looks again while a transaction is under way."""
        self._alarm = None
        exchange = self._exchange
        if exchange is None or self._lost:
            return
        if self._loop.time() >= self._deadline:
            waited_s = self._timeouts.of(exchange.stage, sending=self._pump is not None)
            text = f"{self._hop.name} did nothing for {waited_s:g} s {verdicts.moment(exchange)}"
            self._cut(verdicts.lost(text))
            return
        self._alarm = self._loop.call_later(self._timeouts.sweep_s, self._look)

    def _unusable(self) -> None:
        """Tells ``on_closed``, but not before ``done`` has heard."""
        self._closing = True
        if self._done is None and self.on_closed is not None:
            heard, self.on_closed = self.on_closed, None
            heard(self)


def _unreadable(why: str) -> Deferred:
    """What is begun of it cannot be taken back but by hanging up."""
    return Deferred(
        reply(451, "4.3.0", f"the message cannot be read from our own disk: {why}"), Reason.STORAGE
    )


def _is_throttled(found: tuple[Outcome, ...]) -> bool:
    return any(isinstance(outcome, Deferred) and outcome.reason is Reason.THROTTLED for outcome in found)
