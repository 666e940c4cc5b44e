"""A dispatcher over a real spool, with scripted servers and a clock that stands still.

Time passes only in ``pass_time``; in between, ``quiet`` lets everything happen
that would happen by itself. ``close`` checks what must hold after any story:
slots and windows are given back, bodies closed, memory accounted for.
"""

import asyncio
import dataclasses
import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from waystation_contract.model import Delivery, Document, Listener, Quarantine, Retry, Route
from waystation_relay.aio.clock import ManualClock
from waystation_relay.config.snapshot import Credential, Snapshot
from waystation_relay.delivery.connect import ConnectFailure
from waystation_relay.delivery.target import Target
from waystation_relay.delivery.transaction import Result, Transaction
from waystation_relay.dispatch.dispatcher import Dispatcher, Limits
from waystation_relay.dispatch.loader import Loader
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.people import People
from waystation_relay.dispatch.timeline import Timeline
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.routing.table import Table
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Query, Settlement, SpoolLimits, Tuning

DEADLINE_S = 60.0  # a shared disk may be slow
BODY = b"From: app@shop.test\r\nSubject: hello\r\nMessage-ID: <m1@shop.test>\r\n\r\nworld\r\n"
LOST = "lost"  # the server drops the connection instead of answering
STALE = "stale"  # it had dropped it before anything was said: ``Result.again`` names everybody
REFUSED = Deferred(reply(451, "4.4.1", "cannot connect: connection refused"), Reason.CONNECT)


def taken(host: str = "mx.test") -> Delivered:
    return Delivered(reply(250, "2.0.0", "queued"), Remote(host, "192.0.2.1", 25))


def later(text: str = "busy", reason: Reason = Reason.OTHER, **more: float) -> Deferred:
    return Deferred(reply(451, "4.3.0", text), reason, Remote("mx.test", "192.0.2.1", 25), **more)


def refused(text: str = "no such mailbox", reason: Reason = Reason.ADDRESS) -> Failed:
    return Failed(reply(550, "5.1.1", text), reason, Remote("mx.test", "192.0.2.1", 25))


@dataclasses.dataclass
class Taken:
    """One recipient's copy, as the server took it."""

    sender: str
    recipient: str
    content: bytes

    @property
    def report(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.SMTP)
        assert isinstance(parsed, EmailMessage)
        assert parsed.get_content_type() == "multipart/report"
        return parsed

    @property
    def groups(self) -> list[EmailMessage]:
        """The status part: that of the message, then one a recipient."""
        return list(self.report.get_payload()[1].get_payload())


class Server:
    """Where the connections of one host lead. ``answers``: by recipient, one after the other, the last for
    good; whoever has none hears ``otherwise``. ``down``: no connection can be had, and why. ``patient``:
    nothing is answered until ``answer`` is called; ``slow``: no connection is opened until ``let_in``."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Outcome | str]] = {}
        self.otherwise: Outcome | str = taken()
        self.down: Deferred | Failed | None = None
        self.patient = self.slow = False
        self.taken: list[Taken] = []
        self.transactions: list[Transaction] = []
        self.links: list[Link] = []  # all there ever were
        self.waiting: list[Link] = []
        self.recipients_a_transaction = 1000
        self.slams = False  # every connection is closed as soon as it is open
        self.knocks = 0
        self._doors: list[asyncio.Future[None]] = []

    @property
    def open_links(self) -> list["Link"]:
        return [link for link in self.links if not link.closing]

    def to(self, recipient: str) -> list[Taken]:
        return [mail for mail in self.taken if mail.recipient == recipient]

    async def knock(self) -> "Link | ConnectFailure":
        self.knocks += 1
        if self.slow:
            door: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._doors.append(door)
            await door
        if self.down is not None:
            return ConnectFailure(self.down)
        link = Link(self)
        self.links.append(link)
        if self.slams:
            asyncio.get_running_loop().call_soon(link.hang_up)
        return link

    def let_in(self) -> None:
        doors, self._doors = self._doors, []
        for door in doors:
            door.set_result(None)

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for link in waiting:
            link.answer()

    def decide(self, transaction: Transaction) -> Result:
        places = range(len(transaction.recipients))
        said = {n: self._next(transaction.recipients[n].address) for n in places}
        if LOST in said.values():
            lost = Deferred(reply(451, "4.4.2", "lost the connection"), Reason.CONNECT)
            return Result(tuple([lost for _ in places]), reusable=False, connection_lost=True)
        if STALE in said.values():
            gone = Deferred(reply(451, "4.4.2", "it closed the connection"), Reason.CONNECT)
            everybody = tuple(places)
            return Result(
                tuple([gone for _ in places]), reusable=False, connection_lost=True, again=everybody
            )
        again = tuple(places)[self.recipients_a_transaction :]
        for n in again:
            said[n] = Deferred(reply(452, "4.5.3", "no more recipients"), Reason.THROTTLED)
        body = transaction.body
        content = body if isinstance(body, bytes) else body.read(0, body.size_bytes)
        for n in places:
            if isinstance(said[n], Delivered):
                self.taken.append(Taken(transaction.reverse_path, transaction.recipients[n].address, content))
        return Result(tuple([said[n] for n in places]), reusable=True, again=again)

    def _next(self, address: str) -> Outcome | str:
        answers = self.answers.get(address)
        if not answers:
            return self.otherwise
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Link:
    """A connection as the dispatcher sees it (``delivery.connection.Connection``)."""

    def __init__(self, server: Server) -> None:
        self.used_count = 0
        self.closing = False
        self.on_closed: Callable[[Link], None] | None = None
        self._server = server
        self._now: tuple[Transaction, Callable[[Result], None]] | None = None

    def send(self, transaction: Transaction, done: Callable[[Result], None]) -> None:
        assert self._now is None, "one transaction at a time"
        assert not self.closing
        self.used_count += 1
        self._now = transaction, done
        self._server.transactions.append(transaction)
        if self._server.patient:
            self._server.waiting.append(self)
        else:
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        if self._now is None:  # cut off meanwhile
            return
        transaction, done = self._now
        result = self._server.decide(transaction)
        self._now = None
        self.closing = result.connection_lost
        done(result)
        if self.closing:
            self._tell()

    @property
    def now(self) -> Transaction | None:
        """What it carries at this moment."""
        return self._now[0] if self._now is not None else None

    def take_untold(self) -> None:
        """The server decided, and nobody was left to hear it."""
        if self._now is not None:
            self._server.decide(self._now[0])

    def quit(self) -> None:
        if self.closing:
            return
        self.closing = True
        if self._now is not None:
            transaction, done = self._now
            self._now = None
            cut = Deferred(reply(451, "4.4.2", "cut off"), Reason.CONNECT)
            done(Result((cut,) * len(transaction.recipients), reusable=False, connection_lost=True))
        self._tell()

    def hang_up(self) -> None:
        """The server closes an idle connection."""
        assert self._now is None
        self.closing = True
        self._tell()

    def _tell(self) -> None:
        if self.on_closed is not None:
            heard, self.on_closed = self.on_closed, None
            heard(self)


class Network:
    """The connector: leads to the server of the target's host, and knows who we are."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self.servers: dict[str, Server] = {}
        self._snapshot = snapshot

    def __getitem__(self, host: str) -> Server:
        return self.servers.setdefault(host, Server())

    def identity(self) -> object:
        return self._snapshot().document.hostname, self._snapshot().credentials

    async def open(self, target: Target) -> Link | ConnectFailure:
        return await self[target.host].knock()


class WatchedSpool(Spool):
    """Counts what is on its way to disk and back, so that a test knows when all is quiet."""

    pending = 0
    moves = 0

    def watch(self) -> None:
        self.moved = asyncio.Event()
        self.bodies: list[BodyFile] = []
        self.settlements: list[Settlement] = []

    def _watched(self, done: Callable[..., None] | None) -> Callable[..., None]:
        self.pending += 1

        def heard(*arguments: object) -> None:
            self.pending -= 1
            self.moved.set()
            self.bodies += [a for a in arguments if isinstance(a, BodyFile)]
            if done is not None:
                done(*arguments)

        return heard

    def accept(self, draft, envelope, origin, done, *, hold=""):  # type: ignore[no-untyped-def]
        self.moves += 1
        super().accept(draft, envelope, origin, self._watched(done), hold=hold)

    def settle(self, change, done=None):  # type: ignore[no-untyped-def]
        self.moves += 1
        self.settlements.append(change)
        super().settle(change, self._watched(done))

    def read(self, message, done):  # type: ignore[no-untyped-def]
        self.moves += 1
        super().read(message, self._watched(done))

    def load_due(self, after, now, limit, done):  # type: ignore[no-untyped-def]
        super().load_due(after, now, limit, self._watched(done))


class Counted:
    """The metrics, as a list."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, str, str, int]] = []
        self.notices: list[str] = []
        self.opened = self.failed = 0

    def delivery(
        self, route: str, outcome: str, reason: str, latency_s: float, count: int, now: float
    ) -> None:
        assert latency_s >= 0
        self.deliveries.append((route, outcome, reason, count))

    def connection_opened(self) -> None:
        self.opened += 1

    def connection_failed(self) -> None:
        self.failed += 1

    def notice(self, kind: str) -> None:
        self.notices.append(str(kind))


class World:
    def __init__(
        self,
        directory: Path,
        *routes: Route,
        limits: Limits | None = None,
        tuning: Tuning | None = None,
        roll: Callable[[], float] = lambda: 0.5,
        **document: object,
    ) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.log: list[tuple[str, dict[str, object]]] = []
        self.metrics = Counted()
        self.limits = limits or Limits()
        self.tuning = tuning or Tuning()
        self.roll = roll
        self.configure(*routes, **document)
        self.network = Network(lambda: self.snapshot)

    # The configuration

    def configure(
        self, *routes: Route, credentials: dict[str, Credential] | None = None, **document: object
    ) -> None:
        self.snapshot = snapshot(*routes, credentials=credentials or {}, **document)
        if hasattr(self, "dispatcher"):
            self.dispatcher.apply()

    def emit(self, event: str, /, **fields: object) -> None:
        assert event != "internal.error", fields
        self.log.append((event, fields))

    def logged(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.log if name == event]

    # Its life

    async def start(self) -> "World":
        clock = Timeline(self.clock)
        spool = WatchedSpool.open(
            self.directory,
            clock=clock,
            limits=SpoolLimits(),
            loop=asyncio.get_running_loop(),
            tuning=self.tuning,
        )
        assert isinstance(spool, WatchedSpool)
        self.spool = spool
        spool.watch()
        spool.start()
        self.dispatcher = Dispatcher(
            spool=spool,
            snapshot=lambda: self.snapshot,
            connector=self.network,  # type: ignore[arg-type]
            notifier=Notifier(spool, clock, self.metrics, self),
            clock=clock,
            metrics=self.metrics,
            log=self,
            limits=self.limits,
            roll=self.roll,
        )
        self.lanes = self.dispatcher.lanes
        spool.on_accepted = self.dispatcher.accepted
        self.loader = Loader(spool, self.dispatcher, clock)
        self.people = People(spool, self.dispatcher, self.loader)
        await self.quiet()
        return self

    async def stop(self) -> None:
        await self.dispatcher.stop(0)
        await self.idle()
        await self.spool.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        """The process is gone: no transaction is finished, no retained outcome recorded."""
        await self.spool.close()
        for server in self.network.servers.values():
            for link in server.waiting:
                link.take_untold()
            server.waiting.clear()
            for link in server.links:
                link.closing, link.on_closed = True, None

    async def close(self) -> None:
        self.check()
        await self.stop()

    def check(self) -> None:
        """What holds whenever all is quiet."""
        lanes, dispatcher = self.lanes, self.dispatcher
        held = {lane: len(lane.connections) + lane.opening for lane in lanes.by_target.values()}
        assert lanes.slots_busy == sum(held.values()) <= lanes.slots
        assert lanes._turns.unproven == sum(count for lane, count in held.items() if not lane.proven)
        assert all(lane.slots == count for lane, count in held.items())
        assert all(lane.window.in_flight == count for lane, count in held.items())
        assert sum(len(server.open_links) for server in self.network.servers.values()) <= lanes.slots_busy
        warm = [f.message for f in dispatcher.flights.values() if f.message.content is not None]
        assert dispatcher._warm_bytes == sum(message.size_bytes for message in warm)
        assert [body for body in self.spool.bodies if body._fd >= 0] == [], "bodies left open"
        if not any(lane.jobs or lane.busy or lane.opening for lane in held) and self.spool.can_settle():
            assert dispatcher.flights == {}

    # Mail and time

    async def accept(
        self,
        *recipients: str | Recipient,
        sender: str = "app@shop.test",
        content: bytes = BODY,
        listener: str = "smtp",
        hold: str = "",
        **envelope: object,
    ) -> str:
        """Accepted and on its way: the queue id."""
        queue_id = await self.receive(
            *recipients, sender=sender, content=content, listener=listener, hold=hold, **envelope
        )
        await self.quiet()
        return queue_id

    async def receive(
        self,
        *recipients: str | Recipient,
        sender: str = "app@shop.test",
        content: bytes = BODY,
        listener: str = "smtp",
        hold: str = "",
        **envelope: object,
    ) -> str:
        """On disk; what follows has only begun."""
        draft = self.spool.draft()
        draft.append(content)
        people = tuple(Recipient(r) if isinstance(r, str) else r for r in recipients or ("ann@corp.test",))
        durable: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.spool.accept(
            draft,
            Envelope(sender, people, **envelope),  # type: ignore[arg-type]
            Origin(listener=listener),
            durable.set_result,
            hold=hold,
        )
        assert await asyncio.wait_for(durable, DEADLINE_S) is None
        return draft.queue_id

    async def idle(self) -> None:
        """Until nothing is on its way to or from the disk, and every callback has run."""
        for _ in range(10):
            await asyncio.sleep(0)
            while self.spool.pending:
                self.spool.moved.clear()
                await asyncio.wait_for(self.spool.moved.wait(), DEADLINE_S)

    async def quiet(self) -> None:
        """Until nothing more happens at this moment."""
        while True:
            await self.idle()
            seen = self.spool.moves, self.loader._cursor
            self.loader.look()
            await self.idle()
            if (self.spool.moves, self.loader._cursor) == seen:
                return

    async def turns(self) -> None:
        """A few turns of the loop, whatever else is still on its way."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def until(self, so: Callable[[], object], what: str) -> None:
        """For what other threads do beside the spool's."""
        await self.until_so(so, what)
        await self.quiet()

    async def until_so(self, so: Callable[[], object], what: str) -> None:
        """The same while the spool is in trouble: it answers nothing, so nothing becomes quiet."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while not so():
            assert asyncio.get_running_loop().time() < deadline, f"waited {DEADLINE_S:g} s for {what}"
            await asyncio.sleep(0.001)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.lanes.sweep()
        await self.quiet()

    async def next_due(self) -> float | None:
        """The earliest time anything in the queue is due; it may be past."""
        due: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self.spool.next_due(-1.0, due.set_result)
        return await asyncio.wait_for(due, DEADLINE_S)

    async def to_next_due(self) -> float:
        """Lets time pass until something is due; how much time that was."""
        due = await self.next_due()
        assert due is not None, "nothing waits"
        waited_s = max(0.0, due - self.clock.now())
        await self.pass_time(waited_s)
        return waited_s

    async def queue(self, **query: object) -> list[Message]:
        return await self.spool.find(Query(**query), 10_000)  # type: ignore[arg-type]

    async def only(self) -> Message:
        (message,) = await self.queue()
        return message


def snapshot(
    *routes: Route,
    credentials: dict[str, Credential] | None = None,
    hostname: str = "relay.test",
    retry: Retry | None = None,
    delivery: Delivery | None = None,
    postmaster: str = "",
) -> Snapshot:
    document = Document(
        version=1,
        pool="mail/relay",
        hostname=hostname,
        postmaster=postmaster,
        listeners=(Listener(name="smtp", port=2525, service_port=25),),
        retry=retry or Retry(jitter_percent=0),
        delivery=delivery or Delivery(),
        routes=routes,
    )
    through = [r for r in routes if not any(isinstance(b, Quarantine) for b in r.backends)]
    return Snapshot(
        document=document,
        hash="",
        table=Table(routes),
        credentials=credentials or {},
        certificates={},
        released=Table(through),
    )
