"""``GET /status``: all that the operator wants to know of this relay, in one answer.

What other calls tell too (readiness, draining, the configuration, the queue
and the signals that autoscalers use) is read from where these have it; what a
MailRoute's status needs is told by route. Routes that are no longer in the
configuration are not told of.
"""

from collections.abc import Mapping
from typing import Protocol

from waystation_relay.admin.drain import Drain
from waystation_relay.admin.gauges import Gauges, Sessions
from waystation_relay.admin.health import Health
from waystation_relay.admin.waiting import NOBODY, Waiting
from waystation_relay.config.watch import Watcher
from waystation_relay.dispatch.lanes import Lanes
from waystation_relay.mail.address import domain_of
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.survey import Cause, Tally

LONGEST_TEXT = 300
Fields = dict[str, object]


class Latest(Protocol):
    """When there last was an outcome, by route and outcome (``Metrics``)."""

    @property
    def latest(self) -> Mapping[tuple[str, ...], float]: ...


class StatusReport:
    def __init__(
        self,
        *,
        pod: str,
        watcher: Watcher,
        health: Health,
        drain: Drain,
        gauges: Gauges,
        spool: Spool,
        lanes: Lanes,
        sessions: Sessions,
        latest: Latest,
        waiting: Waiting,
    ) -> None:
        self._pod, self._watcher, self._health, self._drain = pod, watcher, health, drain
        self._gauges, self._spool, self._lanes, self._sessions = gauges, spool, lanes, sessions
        self._latest, self._waiting = latest, waiting

    async def describe(self) -> Fields:
        tallies = await self._waiting.tallies()
        lateness_s = await self._gauges.lateness_s()
        stats = self._spool.stats()
        unready = self._health.unready()
        active, limits = self._sessions.sessions, self._sessions.session_limits
        return {
            "pod": self._pod,
            "config": self.configuration(),
            "ready": not unready,
            "reasons": [one.reason for one in unready],
            "queue": {
                "messages": stats.messages,
                "waiting": stats.waiting,
                "held": stats.held,
                "bytes": stats.size_bytes,
                "oldest_due_seconds": round(lateness_s, 3),
                "oldest_arrival": stats.oldest_arrival,
            },
            "sessions": {"active": int(sum(active.values())), "limit": int(sum(limits.values()))},
            "listeners": {
                labels[0]: {"active": int(active.get(labels, 0)), "limit": int(limit)}
                for labels, limit in limits.items()
            },
            "delivery": {"busy": self._lanes.slots_busy, "slots": self._lanes.slots},
            "drain": {
                "state": self._drain.state.value,
                "epoch": self._drain.epoch,
                "remaining": stats.messages,
                **self._drain.progress(),
            },
            "routes": {
                route.name: self._route(route.name, tallies.get(route.name, Tally()))
                for route in self._watcher.current.document.routes
            },
            "unrouted": _waiting(tallies.get(NOBODY, Tally())),
            "counted_at": self._waiting.as_of,
        }

    def configuration(self) -> Fields:
        """Which is in force, and why a newer one is not."""
        return {"hash": self._watcher.current.hash, "error": self._watcher.last_error}

    def reload(self) -> Fields:
        """Looks at the files now."""
        self._watcher.look()
        return self.configuration()

    def _route(self, name: str, tally: Tally) -> Fields:
        latest = self._latest.latest
        failures = [latest[key] for key in ((name, "deferred"), (name, "failed")) if key in latest]
        return {
            "last_success": latest.get((name, "delivered")),
            "last_failure": max(failures, default=None),
            **_waiting(tally),
        }


def _waiting(tally: Tally) -> Fields:
    top = max(tally.causes.items(), key=lambda item: item[1].count, default=None)
    return {
        "waiting": tally.waiting,
        "oldest_arrival": tally.oldest_arrival,
        "top_deferral": _deferral(*top) if top is not None else None,
    }


def _deferral(reason: str, cause: Cause) -> Fields:
    remote = cause.remote
    return {
        "reason": reason,
        "text": str(cause.reply)[:LONGEST_TEXT] if cause.reply is not None else "",
        "count": cause.count,
        "destination": f"{remote.host}[{remote.address}]:{remote.port}"
        if remote is not None
        else domain_of(cause.recipient),
    }
