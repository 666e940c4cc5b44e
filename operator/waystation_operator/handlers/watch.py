"""kopf as the watcher: what it hears is handed on, and nothing else is asked of it.

Only ``on.event`` handlers are used: no annotation, no finalizer and no patch
is ever written by kopf. kopf cancels every task of its loop when it ends, so
it has a thread and a loop of its own, and may fail and begin anew there
without the rest of the operator noticing more than a gap in what it hears.

kopf's indices are not used: what is deleted while a watch is interrupted
stays in them for ever. ``cluster.store`` and the resync see to that.
"""

import asyncio
import datetime
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from waystation_operator.cluster import access
from waystation_operator.cluster.access import AccessError
from waystation_operator.cluster.kinds import Kind, Scope

REQUEST_S = 30.0
INACTIVE_S = 70.0  # the API server sends a bookmark every 60 s
LOGIN_S = 600.0  # a ServiceAccount's token lasts at least an hour and is renewed after 48 minutes
STOP_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

# Given, since kopf would ask for the name of the process's user, and the user of a pod has none.
_IDENTITY: Any = "waystation-operator"

# What kopf says of every attempt while the API server is away; our client says it once.
HUSH = ("Request attempt", "OS signals are ignored", "Initial authentication", "Re-authentication")

Hear = Callable[[Kind, str | None, dict[str, Any]], None]


class _Backoffs:
    """For ever: a watch waits for the API server however long it is away. No length, so kopf counts none."""

    def __iter__(self) -> Iterator[float]:
        pause = FIRST_PAUSE_S
        while True:
            yield pause
            pause = min(LONGEST_PAUSE_S, pause * 2)


class Watcher:
    """``hear`` is called in the loop in which ``start`` was; ``failed`` too, each time watching broke."""

    def __init__(self, scope: Scope, hear: Hear, failed: Callable[[str], None]) -> None:
        self._scope, self._hear, self._failed = scope, hear, failed
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop = stop = threading.Event()

        def hand_on(call: Callable[..., None], *arguments: Any) -> None:
            if not stop.is_set():
                loop.call_soon_threadsafe(call, *arguments)

        def run() -> None:
            pause = FIRST_PAUSE_S
            while not stop.is_set():
                try:
                    asyncio.run(self._watch(stop, hand_on))
                except BaseException as error:  # noqa: BLE001 -- also what kopf raises for tasks of its own
                    if not stop.is_set():
                        hand_on(self._failed, f"{type(error).__name__}: {error}")
                else:
                    if not stop.is_set():
                        hand_on(self._failed, "it ended")
                stop.wait(pause)
                pause = min(LONGEST_PAUSE_S, pause * 2)

        self._thread = threading.Thread(target=run, name="watcher", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """What is heard after this is not handed on, even if kopf takes its time."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_S)

    async def restart(self) -> None:
        await self.stop()
        self.start()

    async def _watch(self, stop: threading.Event, hand_on: Callable[..., None]) -> None:
        await kopf.operator(
            registry=registry(self._scope, lambda *heard: hand_on(self._hear, *heard)),
            settings=settings(self._scope),
            standalone=True,
            identity=_IDENTITY,
            clusterwide=not self._scope.namespaces,
            namespaces=list(self._scope.namespaces),
            stop_flag=stop,
        )


def registry(scope: Scope, hear: Hear) -> kopf.OperatorRegistry:
    """A handler a kind, and the login."""
    made = kopf.OperatorRegistry()
    for kind in scope.watched():
        handler = _handler(kind, hear)
        kopf.on.event(kind.group, kind.version, kind.plural, id=f"hear-{kind.plural}", registry=made)(handler)

    async def login(**_: Any) -> kopf.ConnectionInfo:
        try:
            return connection(await access.load())
        except AccessError as error:
            raise kopf.TemporaryError(str(error), delay=5) from error

    kopf.on.login(registry=made)(login)
    return made


def _handler(kind: Kind, hear: Hear) -> Callable[..., Any]:
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        hear(kind, event["type"], dict(event["object"]))

    return handle


def settings(scope: Scope) -> kopf.OperatorSettings:
    """kopf's own, where its defaults would write, ask for permissions, or wait too long."""
    made = kopf.OperatorSettings()
    made.persistence.finalizer = "waystation.dev/never-set"
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="waystation.dev")
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="waystation.dev")
    made.scanning.disabled = True  # the kinds are there before watching begins, and asking needs permissions
    made.posting.enabled = False
    made.networking.request_timeout = REQUEST_S
    made.networking.error_backoffs = _Backoffs()
    made.watching.inactivity_timeout = INACTIVE_S
    made.watching.reconnect_backoff = 1.0
    made.process.ultimate_exiting_timeout = None
    for kind in scope.watched():
        if kind.selector:
            made.watching.label_selectors[kind.group, kind.version, kind.plural] = kind.selector
    return made


def connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same way to the API server as our own client's, to be asked for anew before a token runs out."""
    token = access.token(configuration)
    now = datetime.datetime.now(datetime.UTC)
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=token or None,
        proxy_url=configuration.proxy,
        expiration=now + datetime.timedelta(seconds=LOGIN_S) if token else None,
    )


def quiet() -> None:
    """kopf's and aiohttp's loggers speak only of trouble."""
    for name in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(name).setLevel(logging.WARNING)
