"""Writes the plan's Events: what happened to a pool or route, for ``kubectl describe``.

The same event once more within ``SERIES_S`` counts up the first one instead
of making another. An Event that cannot be written is logged and forgotten:
the conditions tell the same, and last.
"""

import datetime
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from waystation_operator.api.objects import API_VERSION
from waystation_operator.cluster.client import Client, Object, Refused, Unreachable
from waystation_operator.cluster.kinds import EVENT
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.plan.desired import Event
from waystation_operator.plan.manifests.names import CONTROLLER

SERIES_S = 1800.0
_LONGEST = 1000  # characters of a note; the API server takes 1024 bytes


class Clock(Protocol):
    def now(self) -> float: ...


@dataclass(slots=True)
class _Series:
    name: str
    at: float
    count: int = 1


class Announcer:
    """``instance`` names this process in the Events."""

    def __init__(
        self,
        client: Client,
        instance: str,
        clock: Clock,
        metrics: Metrics,
        log: Log,
        token: Callable[[], str] = lambda: secrets.token_hex(6),
    ) -> None:
        self._client, self._instance, self._clock = client, instance, clock
        self._metrics, self._log, self._token = metrics, log, token
        self._series: dict[Event, _Series] = {}

    async def announce(self, event: Event) -> None:
        now = self._clock.now()
        for known in [known for known, series in self._series.items() if now - series.at > SERIES_S]:
            del self._series[known]
        try:
            if (series := self._series.get(event)) is not None:
                series.count, series.at = series.count + 1, now
                change: Object = {"series": {"count": series.count, "lastObservedTime": _micro(now)}}
                await self._client.merge(EVENT, event.regarding.namespace, series.name, change)
            else:
                name = f"{event.regarding.name}.{self._token()}"
                await self._client.create(self._body(event, name, now))
                self._series[event] = _Series(name, now)
            self._metrics.event(event.reason)
        except (Refused, Unreachable) as error:
            self._series.pop(event, None)
            regarding = str(event.regarding)
            self._log.emit("event.refused", regarding=regarding, reason=event.reason, error=str(error))

    def _body(self, event: Event, name: str, now: float) -> Object:
        regarding = {
            "apiVersion": API_VERSION,
            "kind": event.regarding.kind,
            "namespace": event.regarding.namespace,
            "name": event.regarding.name,
        }
        if event.uid:
            regarding["uid"] = event.uid
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": name[-253:], "namespace": event.regarding.namespace},
            "eventTime": _micro(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "type": event.type,
            "reason": event.reason,
            "note": shortened(event.message),
            "regarding": regarding,
        }


def shortened(text: str) -> str:
    """At most 1024 bytes, whole characters."""
    if len(text.encode()) <= _LONGEST:
        return text
    return text.encode()[:_LONGEST].decode("utf-8", "ignore") + "…"


def _micro(at: float) -> str:
    stamp = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return stamp.isoformat(timespec="microseconds").replace("+00:00", "Z")
