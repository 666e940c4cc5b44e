"""The operator as a process: builds every object, and knows the order of starting and stopping.

    serve probes → wait for the lease → list everything → watch, work, resync
    stop: finish the passes under way → give the lease back → stop watching, close

Invariants
    Nothing is written before this replica leads, or after it may have lost the
    lease: then the process ends, at once if the lease is lost for good.
    Any part that ends by itself ends the process, with a line that says which.
"""

import asyncio
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from waystation_operator.api.problem import Identity
from waystation_operator.cluster import access
from waystation_operator.cluster.act import Actor
from waystation_operator.cluster.announce import Announcer
from waystation_operator.cluster.client import Client
from waystation_operator.cluster.gather import Gatherer
from waystation_operator.cluster.kinds import MAIL_ROUTE, RELAY_POOL, Kind, Scope
from waystation_operator.cluster.lease import Always, Elector
from waystation_operator.cluster.log import Bridge, Log
from waystation_operator.cluster.metrics import Metrics, Probed
from waystation_operator.cluster.relays import Relays
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.secrets import Secrets
from waystation_operator.cluster.store import Store
from waystation_operator.handlers import latency, watch
from waystation_operator.handlers.health import Health, State
from waystation_operator.handlers.inbox import Inbox, pool_named
from waystation_operator.handlers.latency import Latency
from waystation_operator.handlers.reached import Reached
from waystation_operator.handlers.reconciler import Reconciler
from waystation_operator.handlers.resync import Resync
from waystation_operator.handlers.watch import Watcher
from waystation_operator.handlers.workers import Workers
from waystation_operator.handlers.workqueue import Cause, WorkQueue
from waystation_operator.plan.observed import Settings
from waystation_operator.probe.watch import Watch

FINISH_S = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """As the command line has them; ``lease_namespace`` is where the operator itself runs."""

    settings: Settings
    scope: Scope
    lease_namespace: str
    lease_name: str
    elect: bool
    host: str
    port: int
    log_level: str
    version: str


class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Operator:
    def __init__(self, options: Options, log: Log) -> None:
        self._options, self._log = options, log
        clock, self.metrics = Clock(), Metrics()
        self._health = Health(self.metrics, clock.monotonic)
        self.me = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._reached = Reached(log, clock.monotonic)
        self._lease_client = Client(access.load, self.metrics)
        self._elector: Elector | Always = Always()
        if options.elect:
            self._elector = Elector(
                self._lease_client, options.lease_namespace, options.lease_name, self.me, clock
            )
        client = Client(access.load, self.metrics, self._elector.leads, self._reached.told)
        self._client, self._relays = client, Relays(self.metrics)
        store, self._queue = Store(), WorkQueue[Identity](random.random)
        self._store, routes = store, Routes(store)
        self._probes = Watch(self._probed, clock=clock)
        watched = Secrets(client, clock.monotonic)
        took = Latency(self.metrics.programmed)
        announcer = Announcer(client, self.me, clock, self.metrics, log)
        gatherer = Gatherer(
            store, routes, client, watched, self._relays, options.settings, clock, self._probes
        )
        actor = Actor(
            store,
            client,
            self._relays,
            announcer,
            self.metrics,
            log,
            lambda kind, body: took.written(kind, body, clock.monotonic()),
        )
        reconciler = Reconciler(gatherer, actor, routes, clock.now, log)
        self._workers = Workers(
            self._queue, reconciler.reconcile, self.metrics, clock.monotonic, clock.now, self._health.beat
        )
        inbox = Inbox(
            store, routes, self._queue, watched, took, self.metrics, clock.monotonic, self._workers.wake
        )
        self._watcher = Watcher(options.scope, inbox.hear, self._watch_failed)
        self._resync = Resync(
            options.scope,
            client,
            store,
            inbox,
            gatherer,
            watched,
            self.metrics,
            log,
            clock.now,
            self._restart_watch,
            self._health.beat,
        )
        self.metrics.read(
            lambda: self._queue.depth(clock.monotonic()),
            lambda: self._queue.oldest_s(clock.monotonic()),
            self._conditions,
            self._probe_results,
        )

    async def run(self) -> int:
        """The exit code. Raises ``OSError`` when the HTTP address cannot be had."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self._health.serve(self._options.host, self._options.port)
        self._log.emit(
            "operator.started",
            version=self._options.version,
            identity=self.me,
            namespaces=list(self._options.scope.namespaces) or "all",
            http=f"{self._options.host}:{self._options.port}",
        )
        stopping = asyncio.create_task(stop.wait(), name="signal")
        code = await self._until(stopping)
        self._log.emit("operator.stopping", why="a signal" if stop.is_set() else "a failure")
        await self._end()
        stopping.cancel()
        self._log.emit("operator.stopped", code=code)
        return code

    async def _until(self, stopping: asyncio.Task[Any]) -> int:
        if isinstance(self._elector, Elector):
            self._health.state = State.WAITING
            if not await self._first(stopping, self._elector.acquire(_Waiting(self).tell), "election"):
                return 0
            self._log.emit("election.won", identity=self.me)
        self.metrics.leads(True)
        self._health.state = State.SYNCING
        parts = [asyncio.create_task(self._work(), name="work")]
        if isinstance(self._elector, Elector):
            parts.append(asyncio.create_task(self._hold(self._elector), name="election"))
        await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
        failed = [part for part in parts if part.done()]
        for part in failed:
            error = None if part.cancelled() else part.exception()
            self._log.emit("operator.failed", part=part.get_name(), error=_root(error))
        self._health.state = State.STOPPING
        self._workers.stop()
        if not failed:  # the lease is kept while passes are finished
            await asyncio.wait(parts[:1], timeout=FINISH_S)
        for part in parts:
            part.cancel()
        await asyncio.wait(parts, timeout=FINISH_S)
        return 1 if failed else 0

    async def _first(
        self, stopping: asyncio.Task[Any], coroutine: Coroutine[Any, Any, None], name: str
    ) -> bool:
        """Whether it came to its end before the signal."""
        task = asyncio.create_task(coroutine, name=name)
        await asyncio.wait([stopping, task], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return False
        task.result()
        return True

    async def _work(self) -> None:
        """Everything a leader does; returns when the workers are stopped."""
        await self._resync.begin()
        self._log.emit(
            "start.synced",
            pools=sum(1 for _ in self._store.all(RELAY_POOL)),
            routes=sum(1 for _ in self._store.all(MAIL_ROUTE)),
        )
        self._watcher.start()
        self._log.emit("watch.began", kinds=[kind.kind for kind in self._options.scope.watched()])
        self._health.state = State.LEADING
        background = [
            asyncio.create_task(self._resync.run(), name="resync"),
            asyncio.create_task(self._probes.run(), name="probes"),
        ]
        workers = asyncio.create_task(self._workers.run(), name="workers")
        try:
            done, _ = await asyncio.wait([workers, *background], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (workers, *background):
                task.cancel()
            await asyncio.wait([workers, *background], timeout=FINISH_S)

    async def _hold(self, elector: Elector) -> None:
        await elector.hold()
        self.metrics.leads(False)
        self._log.emit("election.lost", identity=self.me, trouble=elector.trouble, holder=elector.holder())
        sys.stdout.flush()
        os._exit(1)  # at once: what is under way must not be finished by two

    async def _end(self) -> None:
        self._health.state = State.STOPPING
        if isinstance(self._elector, Elector):
            await self._elector.release()
        await self._watcher.stop()
        await self._relays.close()
        await self._client.close()
        await self._lease_client.close()
        await self._health.close()

    def tell_waiting(self, said: str) -> str:
        """Called after each attempt to get the lease; returns what was said last."""
        assert isinstance(self._elector, Elector)
        self._health.beat()
        text = self._elector.trouble or f"{self._elector.holder()} leads"
        if text != said:
            self._log.emit("election.waiting", problem=text)
        return text

    def _watch_failed(self, problem: str) -> None:
        self.metrics.watch_restarted()
        self._log.emit("watch.failed", error=problem)

    async def _restart_watch(self) -> None:
        self.metrics.watch_restarted()
        await self._watcher.restart()

    def _probed(self, pool: str) -> None:
        self._queue.add(pool_named(pool), time.monotonic(), Cause.ECHO)
        self._workers.wake()

    def _conditions(self) -> Iterator[tuple[str, str, str]]:
        kinds: tuple[Kind, ...] = (RELAY_POOL, MAIL_ROUTE)
        for kind in kinds:
            for body in self._store.all(kind):
                yield from latency.reported(kind, body)

    def _probe_results(self) -> Iterator[Probed]:
        for gauge in self._probes.snapshot():
            yield (gauge.kind, gauge.host, gauge.reason), gauge.ok


class _Waiting:
    """Says once what the election waits for."""

    def __init__(self, operator: Operator) -> None:
        self._operator, self._said = operator, ""

    def tell(self) -> None:
        self._said = self._operator.tell_waiting(self._said)


def _root(error: BaseException | None) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error) if error is not None else "it ended"


def attach_logging(log: Log) -> None:
    """Libraries' warnings go into our log."""
    logging.basicConfig(handlers=[Bridge(log, watch.HUSH)], level=logging.INFO, force=True)
    watch.quiet()
