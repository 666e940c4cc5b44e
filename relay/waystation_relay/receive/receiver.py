"""All listeners of this relay: which are open, and how they close.

Built by ``app``. A listener is known by its port and whether TLS comes first:
changing anything else leaves its socket and its sessions alone. A listener that
cannot be opened after a configuration change is tried again; the others work on.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable

from waystation_relay.aio.clock import Clock
from waystation_relay.aio.tasks import Tasks
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.observe.log import EventLog
from waystation_relay.observe.metrics import Metrics
from waystation_relay.receive.deadlines import Deadlines
from waystation_relay.receive.door import Door
from waystation_relay.receive.session import Session
from waystation_relay.receive.terms import Terms
from waystation_relay.spool.spool import Spool
from waystation_relay.wire import replies

SWEEP_S = 1.0
RETRY_S = 5.0  # after a listener could not be opened
STANDARD = Deadlines()

Key = tuple[int, bool]


class ListenFailure(Exception):  # noqa: N818 - what happened, to people
    """A listener cannot be opened; the text names it, its port, the reason and the remedy."""


class Receiver:
    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        spool: Spool,
        clock: Clock,
        metrics: Metrics,
        log: EventLog,
        deadlines: Deadlines = STANDARD,
    ) -> None:
        self._snapshot, self._spool, self._clock = snapshot, spool, clock
        self._metrics, self._log, self._deadlines = metrics, log, deadlines
        self._bind, self._reuse_port = "", False
        self._doors: dict[Key, Door] = {}
        self._leaving: list[Door] = []  # closed, with sessions still inside
        self._cordoned = False
        self._stopping = False
        self._stale = asyncio.Event()
        self._tasks = Tasks(lambda error: log.emit("internal.error", where="receive", error=repr(error)))

    async def start(self, bind: str, *, reuse_port: bool) -> None:
        """Opens every listener of the configuration; raises ``ListenFailure``, and none is open then."""
        self._bind, self._reuse_port = bind, reuse_port
        try:
            for key, terms in self._wanted().items():
                await self._open(key, terms)
        except ListenFailure:
            for door in self._doors.values():
                door.close()
            self._doors.clear()
            raise
        self._tasks.start(self._sweep(), "session sweep")
        self._tasks.start(self._follow(), "listeners")

    def apply(self) -> None:
        """The configuration was swapped: terms count at once, sockets follow."""
        for key, terms in self._wanted().items():
            if key in self._doors:
                self._doors[key].terms = terms
        self._stale.set()

    def cordon(self) -> None:
        self._cordoned = True

    def uncordon(self) -> None:
        self._cordoned = False

    async def stop(self, grace_s: float) -> None:
        """New connections and idle sessions get 421; a message under way is finished, within ``grace_s``."""
        self._stopping = True
        deadline = self._clock.monotonic() + grace_s
        while (sessions := self._sessions()) and self._clock.monotonic() < deadline:
            for session in sessions:
                session.dismiss(replies.SHUTTING_DOWN)
            await asyncio.sleep(0.02)
        for door in self._doors.values():
            door.close()
        for session in self._sessions():
            session.abort()
        await asyncio.sleep(0)
        await self._tasks.close()

    @property
    def sessions(self) -> dict[tuple[str, ...], float]:
        """Open sessions by listener."""
        found: dict[tuple[str, ...], float] = {}
        for door in (*self._doors.values(), *self._leaving):
            name = (door.terms.listener,)
            found[name] = found.get(name, 0.0) + door.places
        return found

    @property
    def session_limits(self) -> dict[tuple[str, ...], float]:
        return {
            (door.terms.listener,): float(door.terms.limits.max_sessions) for door in self._doors.values()
        }

    # Inside

    def _wanted(self) -> dict[Key, Terms]:
        snapshot = self._snapshot()
        terms = [(listener.port, Terms(snapshot, listener)) for listener in snapshot.document.listeners]
        return {(port, x.implicit): x for port, x in terms}

    def _sessions(self) -> list[Session]:
        return [session for door in (*self._doors.values(), *self._leaving) for session in door.sessions]

    async def _open(self, key: Key, terms: Terms) -> None:
        door = Door(
            terms,
            key[0],
            spool=self._spool,
            clock=self._clock,
            metrics=self._metrics,
            log=self._log,
            tasks=self._tasks,
            is_closed=lambda: self._cordoned or self._stopping,
            deadlines=self._deadlines,
        )
        try:
            await door.open(self._bind, reuse_port=self._reuse_port)
        except OSError as error:
            raise ListenFailure(_explained(terms.listener, self._bind, key[0], error)) from error
        self._doors[key] = door

    async def _follow(self) -> None:
        """Opens and closes sockets as the configuration says; what fails is tried again."""
        failed = False
        while True:
            with contextlib.suppress(TimeoutError):
                # wait_for of 3.11 may swallow a cancellation
                async with asyncio.timeout(RETRY_S if failed else None):
                    await self._stale.wait()
            self._stale.clear()
            failed = False
            wanted = self._wanted()
            for key in [key for key in self._doors if key not in wanted]:
                door = self._doors.pop(key)
                door.close()
                for session in tuple(door.sessions):
                    session.dismiss(replies.SHUTTING_DOWN)
                self._leaving.append(door)
            for key, terms in wanted.items():
                if key in self._doors:
                    continue
                try:
                    await self._open(key, terms)
                except ListenFailure as failure:
                    failed = True
                    self._log.emit(
                        "listener.failed", listener=terms.listener, port=key[0], error=str(failure)
                    )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for door in (*self._doors.values(), *self._leaving):
                door.sweep()
            self._leaving = [door for door in self._leaving if door.places]


def _explained(listener: str, bind: str, port: int, error: OSError) -> str:
    at = f"listener {listener}: cannot listen on {bind} port {port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{at}: the port is in use; stop what uses it, or give the listener another port"
        case errno.EACCES:
            return f"{at}: not permitted; use a port above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{at}: this machine has no such address; use one that it has"
        case _:
            return f"{at}: {error.strerror or error}"
