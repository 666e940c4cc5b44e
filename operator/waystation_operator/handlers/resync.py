"""Lists everything anew from time to time, so that nothing missed by a watch is missed for long.

The first time, it waits until every list is there: work begins on a whole
picture. Later, what a list shows and a watch has still not told when the next
list comes is a watch that has stalled.
"""

import asyncio
from collections.abc import Awaitable, Callable

from waystation_operator.cluster.client import Client, Refused, Unreachable
from waystation_operator.cluster.gather import Gatherer
from waystation_operator.cluster.kinds import MAIL_ROUTE, NAMESPACE, RELAY_POOL, Kind, Scope
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.secrets import Secrets
from waystation_operator.cluster.store import Store
from waystation_operator.handlers.inbox import Inbox

EVERY_S = 60.0
RETRY_S = 2.0
LONGEST_S = 30.0
DOCUMENT = "docs/operator.md, Permissions"


class Resync:
    """``stalled`` is called when a watch has stopped telling; ``beat`` whenever a round has ended."""

    def __init__(
        self,
        scope: Scope,
        client: Client,
        store: Store,
        inbox: Inbox,
        gatherer: Gatherer,
        secrets: Secrets,
        metrics: Metrics,
        log: Log,
        now: Callable[[], float],
        stalled: Callable[[], Awaitable[None]],
        beat: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._scope, self._client, self._store, self._inbox = scope, client, store, inbox
        self._gatherer, self._secrets, self._metrics, self._log = gatherer, secrets, metrics, log
        self._now, self._stalled, self._beat, self._sleep = now, stalled, beat, sleep

    async def begin(self) -> None:
        """Returns once everything is known; until then it says, once a reason, what it waits for."""
        said, pause = "", RETRY_S
        while True:
            try:
                await self._round()
            except (Unreachable, Refused) as error:
                problem = str(error)
            else:
                return
            finally:
                self._beat()
            if problem != said:
                self._log.emit("start.waiting", problem=problem)
                said = problem
            await self._sleep(pause)
            pause = min(LONGEST_S, pause * 2)

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._sleep(EVERY_S)
            stalled = [kind for kind in self._scope.watched() if self._store.unheard(kind)]
            if stalled:
                self._log.emit("watch.stalled", kinds=[kind.kind for kind in stalled])
                for kind in self._scope.watched():
                    self._store.excuse(kind)
                await self._stalled()
            try:
                await self._round()
            except Unreachable:
                pass  # the client has told
            except Refused as refused:
                self._log.emit("resync.refused", problem=str(refused))
            self._beat()

    async def _round(self) -> None:
        for kind in self._scope.watched():
            for place in self._scope.places(kind):
                items, version = await self._list(kind, place)
                if missed := self._inbox.take(kind, place, items, version):
                    self._metrics.missed(kind.kind, missed)
        for namespace in self._scope.namespaces:
            await self._read_namespace(namespace)
        await self._gatherer.look_around()
        self._secrets.prune()
        self._metrics.resynced(self._now())
        self._inbox.everything()

    async def _read_namespace(self, name: str) -> None:
        """Its labels: without the permission to list namespaces, a role may allow one to be read."""
        try:
            body = await self._client.get(NAMESPACE, "", name)
        except Refused as refused:
            if not refused.is_forbidden:
                raise
        else:
            if body is not None:
                self._store.put(NAMESPACE, body)

    async def _list(self, kind: Kind, place: str) -> tuple[list[dict[str, object]], int]:
        where = f" in namespace {place}" if place else ""
        try:
            return await self._client.list(kind, place)
        except Refused as refused:
            if refused.is_absent and kind in (RELAY_POOL, MAIL_ROUTE):
                remedy = "its resource definition is not installed; run: kubectl apply -f crds/"
            elif refused.is_forbidden:
                remedy = f"give the operator's ServiceAccount the roles of {DOCUMENT}"
            else:
                raise
            problem = f"{kind.plural}{where} cannot be listed: {refused}; {remedy}"
            raise Refused(refused.status, refused.reason, problem) from refused
