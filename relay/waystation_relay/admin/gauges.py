"""Who knows the value of each gauge, and what must be looked up before they are read.

Nothing here costs anything between two scrapes. One value is in the index and
not in memory, the earliest due time: ``sample`` asks for it, an index's first
entry, and waits no longer than ``PATIENCE_S``.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Protocol

from waystation_relay.admin.drain import Drain
from waystation_relay.admin.health import Health
from waystation_relay.aio.clock import Clock
from waystation_relay.dispatch.dispatcher import Dispatcher
from waystation_relay.observe.metrics import Labels, Metrics, Reading
from waystation_relay.routing.lookup import Counts
from waystation_relay.spool.spool import Spool

PATIENCE_S = 1.0


class Sessions(Protocol):
    """What the receiver tells of itself, by listener."""

    @property
    def sessions(self) -> Mapping[Labels, float]: ...
    @property
    def session_limits(self) -> Mapping[Labels, float]: ...


class Configured(Protocol):
    """What the gauges need of the configuration."""

    @property
    def hash(self) -> str: ...
    @property
    def loaded_at(self) -> float: ...
    @property
    def last_error(self) -> str: ...
    @property
    def limit_bytes(self) -> int: ...


class Gauges:
    def __init__(
        self,
        *,
        metrics: Metrics,
        clock: Clock,
        spool: Spool,
        dispatcher: Dispatcher,
        sessions: Sessions,
        health: Health,
        drain: Drain,
        configured: Configured,
        dns: Callable[[], Counts],
        log_dropped: Callable[[], int],
    ) -> None:
        self._metrics, self._clock, self._spool, self._dispatcher = metrics, clock, spool, dispatcher
        self._earliest_due: float | None = None
        self._asked: asyncio.Future[None] | None = None
        lanes = dispatcher.lanes
        readers: dict[str, Callable[[], Reading]] = {
            "sessions_active": lambda: sessions.sessions,
            "sessions_limit": lambda: sessions.session_limits,
            "queue_messages": self._messages,
            "queue_recipients": self._recipients,
            "queue_bytes": lambda: spool.stats().size_bytes,
            "queue_limit_bytes": lambda: configured.limit_bytes,
            "queue_oldest_due_seconds": lambda: self._age_s(self._earliest_due),
            "queue_oldest_seconds": lambda: self._age_s(spool.stats().oldest_arrival),
            "spool_accepting": lambda: spool.refusal() is None,
            "spool_disk_bytes": lambda: spool.stats().segment_bytes,
            "delivery_slots": lambda: lanes.slots,
            "delivery_slots_busy": lambda: lanes.slots_busy,
            "dns_queries_total": lambda: _by_result(dns()),
            "ready": lambda: not health.unready(),
            "drain_remaining": lambda: drain.remaining,
            "config_info": lambda: {(configured.hash,): 1},
            "config_last_load_success": lambda: not configured.last_error,
            "config_last_load_timestamp_seconds": lambda: configured.loaded_at,
            "log_dropped_total": log_dropped,
        }
        for name, reader in readers.items():
            metrics.read(name, reader)

    async def render(self) -> bytes:
        """The text exposition, with values of now."""
        await self.sample()
        return self._metrics.render()

    async def lateness_s(self) -> float:
        """How late the longest due message is now; 0 when none is due."""
        await self.sample()
        return self._age_s(self._earliest_due)

    async def sample(self) -> None:
        """Scrapes at the same time share one look-up; a slow disk leaves the last value."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
            self._spool.next_due(-math.inf, self._sampled)
        await asyncio.wait((self._asked,), timeout=PATIENCE_S)

    def _sampled(self, due: float | None) -> None:
        self._earliest_due = due
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.set_result(None)

    def _age_s(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clock.now() - since)

    def _messages(self) -> dict[Labels, float]:
        """A message a person deleted while it was being delivered is no longer in the queue."""
        messages = self._spool.stats().messages
        active = min(len(self._dispatcher.flights), messages)
        return {("active",): active, ("stored",): messages - active}

    def _recipients(self) -> dict[Labels, float]:
        stats = self._spool.stats()
        return {("waiting",): stats.waiting, ("held",): stats.held}


def _by_result(counts: Counts) -> dict[Labels, float]:
    return {("answered",): max(0, counts.misses - counts.failures), ("failed",): counts.failures}
