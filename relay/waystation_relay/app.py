"""One relay process: builds every object, starts them in order, stops them in order.

Start: configuration, spool (recovered), admin HTTP, listeners, dispatch, the
configuration's watcher. Anything that cannot be had ends the start with a
``StartFailure`` that names it; what had been started is stopped again.

Stop (SIGTERM, SIGINT): not ready; for ``stop_grace_s`` everything goes on, as
the Service's other nodes have yet to hear of it; then new sessions 421; open
DATA and transactions under way are finished, within ``STOP_WITHIN_S``
together; the spool commits what waits; exit 0. A second signal ends all
waiting: what is on the wire is broken off, what is promised is on disk.

A spool that broke ends the process at once with exit code 1: the next start
recovers, and until then nothing may be promised. A mistake of ours in a
callback is logged as ``internal.error`` and stops nothing.
"""

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import os
import resource
import sqlite3
import sys
import traceback
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import uvloop

from waystation_contract.check import ConfigError
from waystation_relay.admin.access import Access, read_token
from waystation_relay.admin.configured import Configured
from waystation_relay.admin.drain import Drain
from waystation_relay.admin.gauges import Gauges
from waystation_relay.admin.handoff import HandoffHandlers
from waystation_relay.admin.health import Health, Stage
from waystation_relay.admin.queue import QueueHandlers
from waystation_relay.admin.server import AdminServer
from waystation_relay.admin.status import StatusReport
from waystation_relay.admin.waiting import Waiting
from waystation_relay.aio import signals
from waystation_relay.aio.clock import SystemClock
from waystation_relay.aio.signals import Stopping
from waystation_relay.aio.tasks import Tasks
from waystation_relay.config.load import ConfigUnreadableError, load
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.config.watch import Watcher, fingerprint
from waystation_relay.dispatch.connector import Connector
from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.dispatch.loader import Loader
from waystation_relay.dispatch.notify import Notifier
from waystation_relay.dispatch.people import People
from waystation_relay.dispatch.timeline import Timeline
from waystation_relay.dispatch.unready import Unready, retry
from waystation_relay.handoff.claims import Claims
from waystation_relay.handoff.courier import Courier
from waystation_relay.handoff.handover import Handover
from waystation_relay.handoff.intake import Intake
from waystation_relay.handoff.peers import Peers
from waystation_relay.mail.message import Message
from waystation_relay.observe.log import EventLog
from waystation_relay.observe.metrics import Metrics
from waystation_relay.receive.receiver import ListenFailure, Receiver
from waystation_relay.routing.resolvers import Resolvers
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import SpoolError, SpoolFailure, SpoolLimits

STOP_WITHIN_S = 45.0  # with the grace before it well below a pod's terminationGracePeriodSeconds, 75
AT_ONCE_S = 5.0
RESTART_TASK_S = 1.0
STANDARD_OUTPUT = 1
LONGEST_TRACE = 4000
OK, BROKEN = 0, 1
# Between two callbacks the loop lets go of the interpreter's lock and takes it back before the spool's writer
# has woken up. After this time the writer gets its turn, several times a commit; Python's own 5 ms cost a
# third of the rate.
SWITCH_S = 0.0002
DESCRIPTORS = 65_536  # sessions, connections, bodies being read: far above what the limits let come about


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What the command line says. ``bind``: address of the SMTP listeners; ``admin``: address and port;
    ``stop_grace_s``: from the signal to stop until new sessions are turned away."""

    config: Path
    data: Path
    bind: str
    admin: tuple[str, int]
    token_file: Path | None
    pod: str
    reuse_port: bool
    stop_grace_s: float = 0.0


class StartFailure(Exception):  # noqa: N818 -- the word for what happened
    """The relay did not start; the text names what is in the way and the remedy."""

    def __init__(self, text: str, *, is_configuration: bool = False) -> None:
        super().__init__(text)
        self.is_configuration = is_configuration


def run(options: Options) -> int:
    """Runs until told to stop; the exit code. Raises ``StartFailure``."""
    signals.prepare()
    sys.setswitchinterval(SWITCH_S)
    seen = fingerprint(options.config)
    try:
        first = load(options.config)
    except ConfigError as error:
        raise StartFailure(f"{options.config}:\n{error}", is_configuration=True) from None
    except ConfigUnreadableError as error:
        raise StartFailure(str(error)) from None
    if options.token_file is not None:
        try:
            read_token(options.token_file)
        except OSError as error:
            raise StartFailure(
                f"{options.token_file}: the admin token cannot be read: {error.strerror}; "
                "make it a file this process may read, or leave --admin-token-file out"
            ) from None
    _raise_descriptor_limit()
    log = EventLog(STANDARD_OUTPUT, SystemClock(), pod=options.pod)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Relay(options, first, seen, log).run())
    finally:
        log.close()


def _raise_descriptor_limit() -> None:
    """As far as we may: many systems begin with 1,024, which 2,000 sessions would use up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Relay:
    """The process between start and stop."""

    def __init__(self, options: Options, first: Snapshot, seen: bytes, log: EventLog) -> None:
        self._options, self._log = options, log
        self._clock = Timeline(SystemClock())
        self._metrics = Metrics()
        self._version = importlib.metadata.version("waystation")
        self._watcher = Watcher(
            options.config, first, seen=seen, changed=self._swapped, refused=self._config_refused
        )
        self._resolvers = Resolvers(first.document, self._clock)
        self._configured = Configured(self._watcher, self._clock, self._version)
        self._tasks = Tasks(lambda error: self._mistake("task", error))
        self._stopping = Stopping(lambda why: self._log.emit("relay.stopping", why=why))
        self._unready = Unready(log)
        self._code = OK

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        self._log.attach(loop)
        loop.set_exception_handler(self._unhandled)
        started = contextlib.AsyncExitStack()
        try:
            await self._start(started)
            self._health.stage = Stage.RUNNING
            self._log.emit("relay.started", version=self._version, hash=self._configured.hash)
            await self._stopping.wanted.wait()
            self._health.stage = Stage.STOPPING
            await self._at_once_or(self._options.stop_grace_s)
        except BaseException:
            await started.aclose()
            raise
        await self._stop(started)
        self._stopping.deaf()
        self._log.emit("relay.stopped", code=self._code)
        return self._code

    # Start

    async def _start(self, started: contextlib.AsyncExitStack) -> None:
        """In order; what is to be stopped goes on the stack, so that it is stopped in reverse order."""
        options, clock, log = self._options, self._clock, self._log
        self._spool = spool = self._open_spool()
        started.push_async_callback(spool.close)
        self._stopping.listen(self._watcher.poke)
        self._receiver = receiver = Receiver(
            snapshot=self._snapshot, spool=spool, clock=clock, metrics=self._metrics, log=log
        )
        self._dispatcher = dispatcher = Dispatcher(
            spool=spool,
            snapshot=self._snapshot,
            connector=Connector(self._snapshot, lambda: self._resolvers.current),
            notifier=Notifier(spool, clock, self._metrics, log),
            clock=clock,
            metrics=self._metrics,
            log=log,
        )
        self._loader = Loader(spool, dispatcher, clock)
        self._people = People(spool, dispatcher, self._loader)
        spool.on_accepted = self._accepted
        spool.on_broken = self._broken
        spool.on_commit = self._metrics.commit
        spool.start()
        started.push_async_callback(self._resolvers.close)
        admin = self._admin()
        await self._listen_admin(admin)
        started.push_async_callback(admin.stop)
        started.push_async_callback(self._stop_mail)
        try:
            await receiver.start(options.bind, reuse_port=options.reuse_port)
        except ListenFailure as failure:
            raise StartFailure(str(failure)) from None
        dispatcher.start()
        started.push_async_callback(self._tasks.close)
        self._loader.rewind()  # what the last process left is looked at first of all
        self._unready.apply(self._snapshot().document)
        self._keep("loader", self._loader.run)
        self._keep("watcher", self._watcher.run)
        self._keep("handover", self._handover.run)

    def _open_spool(self) -> Spool:
        try:
            return Spool.open(
                self._options.data,
                clock=self._clock,
                limits=self._limits(),
                loop=asyncio.get_running_loop(),
                report=lambda event, fields: self._log.emit(event, **fields),
            )
        except SpoolError as error:
            raise StartFailure(str(error)) from None
        except (OSError, sqlite3.Error) as error:
            raise StartFailure(f"spool {self._options.data} cannot be opened: {error}") from error

    def _admin(self) -> AdminServer:
        spool, dispatcher = self._spool, self._dispatcher
        access = Access(self._options.token_file)
        intake = Intake(spool, self._why_not_taken, self._metrics, self._log)
        self._handover = Handover(
            spool=spool,
            claims=Claims(spool, dispatcher),
            courier=Courier(access.token),
            peers=Peers(spool.tag),
            clock=self._clock,
            metrics=self._metrics,
            log=self._log,
        )
        self._drain = Drain(
            self._receiver,
            lambda: spool.stats().messages,
            self._clock,
            leaving=self._handover,
            arriving=lambda: intake.open,
        )
        self._health = Health(
            self._drain, spool.refusal, lambda: spool.broken.text if spool.broken is not None else ""
        )
        gauges = Gauges(
            metrics=self._metrics,
            clock=self._clock,
            spool=spool,
            dispatcher=dispatcher,
            sessions=self._receiver,
            health=self._health,
            drain=self._drain,
            configured=self._configured,
            dns=lambda: self._resolvers.counts,
            log_dropped=lambda: self._log.dropped,
        )
        status = StatusReport(
            pod=self._options.pod,
            watcher=self._watcher,
            health=self._health,
            drain=self._drain,
            gauges=gauges,
            spool=spool,
            lanes=dispatcher.lanes,
            sessions=self._receiver,
            latest=self._metrics,
            waiting=Waiting(spool, self._snapshot, self._clock, self._tasks),
        )
        return AdminServer(
            access=access,
            health=self._health,
            drain=self._drain,
            queue=QueueHandlers(access, spool, self._people, self._log, dispatcher.flights.__contains__),
            handoff=HandoffHandlers(access, intake),
            metrics=gauges.render,
            config=self._configured.describe,
            status=status,
            log=self._log,
        )

    async def _listen_admin(self, admin: AdminServer) -> None:
        host, port = self._options.admin
        try:
            await admin.start(host, port)
        except OSError as error:
            raise StartFailure(
                f"admin HTTP cannot listen on {host} port {port}: {os.strerror(error.errno or 0).lower()}; "
                "stop the program that has it, or choose another with --admin HOST:PORT"
            ) from None

    def _keep(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a loop of ours until the end: mail must not stop because one turn of it failed."""

        async def keep() -> None:
            while True:
                try:
                    await work()
                except Exception as error:  # noqa: BLE001 -- reported, and tried again
                    self._mistake(name, error)
                await asyncio.sleep(RESTART_TASK_S)

        self._tasks.start(keep(), name)

    # While it runs

    def _snapshot(self) -> Snapshot:
        return self._watcher.current

    def _limits(self) -> SpoolLimits:
        queue = self._watcher.current.document.queue
        return SpoolLimits(queue.max_bytes, queue.full_at_percent)

    def _why_not_taken(self) -> str:
        """The word for why no mail of another relay's is taken now."""
        return next((unready.reason for unready in self._health.unready()), "")

    def _accepted(self, messages: Sequence[Message]) -> None:
        self._metrics.batch(len(messages))
        self._dispatcher.accepted(messages)

    def _swapped(self, snapshot: Snapshot) -> None:
        self._configured.swapped()
        self._spool.set_limits(self._limits())
        self._resolvers.apply(snapshot.document)
        self._dispatcher.apply()
        self._receiver.apply()
        self._log.emit("config.changed", hash=snapshot.hash, routes=len(snapshot.document.routes))
        if self._unready.apply(snapshot.document):
            self._tasks.start(retry(self._people), "mail of a route that is ready")

    def _config_refused(self, error: str) -> None:
        self._log.emit("config.refused", hash=self._configured.hash, error=error)

    def _broken(self, failure: SpoolFailure) -> None:
        self._code = BROKEN
        self._stopping.give_up(f"the spool can promise nothing until a restart: {failure.text}")

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._mistake(str(context.get("message", "event loop")), context.get("exception"))

    def _mistake(self, where: str, error: BaseException | None) -> None:
        trace = "".join(traceback.format_exception(error))[-LONGEST_TRACE:] if error is not None else ""
        self._log.emit("internal.error", where=where, error=repr(error), trace=trace)

    # Stop

    async def _stop(self, started: contextlib.AsyncExitStack) -> None:
        closing = asyncio.ensure_future(started.aclose())
        at_once = asyncio.ensure_future(self._stopping.at_once.wait())
        await asyncio.wait((closing, at_once), return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        _, late = await asyncio.wait((closing,), timeout=AT_ONCE_S)
        if late:  # a thread that waits for a dead disk cannot be waited for
            self._log.emit("relay.stopped", code=BROKEN)
            self._log.close()
            os._exit(BROKEN)
        closing.result()

    async def _stop_mail(self) -> None:
        """Both sides at once: a slow client must not use up the time that deliveries under way need."""
        self._loader.paused = True
        within_s = 0.0 if self._stopping.at_once.is_set() else STOP_WITHIN_S
        softly = asyncio.ensure_future(self._stop_both(within_s))
        at_once = asyncio.ensure_future(self._stopping.at_once.wait())
        await asyncio.wait((softly, at_once), return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if softly.done():
            softly.result()
            return
        softly.cancel()
        await asyncio.wait((softly,))
        await self._stop_both(0.0)

    async def _stop_both(self, within_s: float) -> None:
        await asyncio.gather(self._receiver.stop(within_s), self._dispatcher.stop(within_s))

    async def _at_once_or(self, after_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await self._stopping.at_once.wait()
