"""A relay's admin interface at a loopback port, over a real spool and dispatcher; no listeners.

Where mail would be delivered, connections are never had and never refused: what
is handed to dispatch stays in flight until the test ends.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
from tests.support.ports import free_port
from tests.support.relay import document, route, to

from waystation_relay.admin.access import Access
from waystation_relay.admin.configured import Configured
from waystation_relay.admin.drain import Drain
from waystation_relay.admin.gauges import Gauges
from waystation_relay.admin.handoff import HandoffHandlers
from waystation_relay.admin.health import Health, Stage
from waystation_relay.admin.queue import QueueHandlers
from waystation_relay.admin.server import AdminServer
from waystation_relay.admin.status import StatusReport
from waystation_relay.admin.waiting import Waiting
from waystation_relay.aio.clock import ManualClock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.config.load import load
from waystation_relay.config.watch import Watcher
from waystation_relay.delivery.target import Target
from waystation_relay.dispatch.connector import Connector
from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.dispatch.loader import Loader
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.people import People
from waystation_relay.dispatch.timeline import Timeline
from waystation_relay.handoff.claims import Claims
from waystation_relay.handoff.courier import Courier
from waystation_relay.handoff.handover import Handover
from waystation_relay.handoff.intake import Intake
from waystation_relay.handoff.peers import Peers
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Message
from waystation_relay.observe.metrics import Metrics
from waystation_relay.routing.lookup import Counts
from waystation_relay.routing.resolver import Resolver
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import SpoolFailure, SpoolLimits

TOKEN = "the-token"
BODY = b"Subject: hello\r\n\r\nworld\r\n"


class Gate:
    """The receiver, as draining and the gauges see it."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, ...], float] = {("smtp",): 0.0}
        self.session_limits: dict[tuple[str, ...], float] = {("smtp",): 2000.0}
        self.cordoned = False

    def cordon(self) -> None:
        self.cordoned = True

    def uncordon(self) -> None:
        self.cordoned = False


class Nowhere(Connector):
    """Opens connections that never come."""

    async def open(self, target: Target) -> Any:
        await asyncio.Event().wait()


def never() -> Resolver:
    raise AssertionError("nothing is looked up here")


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def emit(self, event: str, /, **fields: object) -> None:
        self.lines.append((event, fields))

    def of(self, event: str) -> list[dict[str, object]]:
        return [fields for name, fields in self.lines if name == event]


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Mapping[str, str]


class Office:
    """What a test works with. ``put`` queues a message without handing it to dispatch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token_file = folder / "token"
        self.config = folder / "config" / "relay.json"
        self.clock = ManualClock()
        self.log = Log()
        self.gate = Gate()
        self.metrics = Metrics()
        self.dns = Counts()
        self.port = free_port()
        self.broken = ""
        self.refusal = ""
        self.crashes: list[BaseException] = []

    def configure(self, **fields: Any) -> None:
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_bytes(msgspec.json.encode(document(2525, route(to(25)), **fields)))

    async def open(self) -> None:
        self.token_file.write_text(f"{TOKEN}\n", encoding="utf-8")
        self.configure()
        self.watcher = Watcher(self.config, load(self.config), changed=lambda _: None, refused=lambda _: None)
        self.spool = Spool.open(
            self.folder / "spool",
            clock=self.clock,
            limits=SpoolLimits(max_bytes=2**30, full_at_percent=99),
            loop=asyncio.get_running_loop(),
        )
        self.dispatcher = Dispatcher(
            spool=self.spool,
            snapshot=lambda: self.watcher.current,
            connector=Nowhere(lambda: self.watcher.current, never),
            notifier=Notifier(self.spool, self.clock, self.metrics, self.log),
            clock=Timeline(self.clock),
            metrics=self.metrics,
            log=self.log,
        )
        self.loader = Loader(self.spool, self.dispatcher, self.clock)
        self.people = People(self.spool, self.dispatcher, self.loader)
        access = Access(self.token_file)
        self.intake = Intake(self.spool, lambda: self.refusal, self.metrics, self.log)
        self.handover = Handover(
            spool=self.spool,
            claims=Claims(self.spool, self.dispatcher),
            courier=Courier(access.token),
            peers=Peers(self.spool.tag),
            clock=self.dispatcher._clock,
            metrics=self.metrics,
            log=self.log,
        )
        self.drain = Drain(
            self.gate,
            lambda: self.spool.stats().messages,
            self.clock,
            leaving=self.handover,
            arriving=lambda: self.intake.open,
        )
        self.health = Health(self.drain, self.spool.refusal, lambda: self.broken)
        self.health.stage = Stage.RUNNING
        self.configured = Configured(self.watcher, self.clock, "1.2.3")
        self.gauges = Gauges(
            metrics=self.metrics,
            clock=self.clock,
            spool=self.spool,
            dispatcher=self.dispatcher,
            sessions=self.gate,
            health=self.health,
            drain=self.drain,
            configured=self.configured,
            dns=lambda: self.dns,
            log_dropped=lambda: 7,
        )
        self.tasks = Tasks(self.crashes.append)
        self.status = StatusReport(
            pod="relay-0",
            watcher=self.watcher,
            health=self.health,
            drain=self.drain,
            gauges=self.gauges,
            spool=self.spool,
            lanes=self.dispatcher.lanes,
            sessions=self.gate,
            latest=self.metrics,
            waiting=Waiting(self.spool, lambda: self.watcher.current, self.clock, self.tasks),
        )
        self.server = self.serve(access)
        self.spool.start()
        await self.server.start("127.0.0.1", self.port)
        self.session = aiohttp.ClientSession(f"http://127.0.0.1:{self.port}")

    def serve(self, access: Access) -> AdminServer:
        return AdminServer(
            access=access,
            health=self.health,
            drain=self.drain,
            queue=QueueHandlers(
                access, self.spool, self.people, self.log, self.dispatcher.flights.__contains__
            ),
            handoff=HandoffHandlers(access, self.intake),
            metrics=self.gauges.render,
            config=self.configured.describe,
            status=self.status,
            log=self.log,
        )

    async def close(self) -> None:
        await self.session.close()
        await self.server.stop()
        await self.tasks.close()
        assert self.crashes == []
        await self.dispatcher.stop(0)
        await self.spool.close()

    async def put(
        self, *recipients: str, sender: str = "app@shop.test", hold: str = "", deliver: bool = False
    ) -> str:
        """The queue id. ``deliver``: hand it to dispatch, where it stays in flight."""
        done: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()
        taken: list[Message] = []
        self.spool.on_accepted = taken.extend
        draft = self.spool.draft()
        draft.append(BODY)
        envelope = Envelope(sender, tuple(map(Recipient, recipients)))
        self.spool.accept(
            draft, envelope, Origin("smtp", "ESMTP", "192.0.2.7", "app.shop.test"), done.set_result, hold=hold
        )
        assert await asyncio.wait_for(done, 10) is None
        if deliver:
            self.dispatcher.accepted(taken)
        return draft.queue_id

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        data: bytes | None = None,
    ) -> Answer:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = data if data is not None else None if body is None else json.dumps(body).encode()
        async with self.session.request(method, path, data=content, headers=headers) as answer:
            text = await answer.text()
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, json.loads(text) if is_json else text, answer.headers)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status == 200, answer
        return answer.body

    async def change(self, action: str, **filters: object) -> Any:
        answer = await self.call("POST", f"/queue/{action}", {"filter": filters})
        assert answer.status == 200, answer
        return answer.body

    async def queued(self, query: str = "") -> list[str]:
        """The recipients of all messages in the queue, as ``/queue`` lists them."""
        return [r["address"] for m in (await self.get(f"/queue{query}"))["messages"] for r in m["recipients"]]
