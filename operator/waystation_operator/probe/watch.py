"""The canary: probes what the pools want probed, again and again, and keeps the latest finding of each.

Who reconciles a pool says what it wants (:meth:`Watch.want`) and takes what is
known (:meth:`Watch.findings_for`); ``changed`` is called with the keys of the
pools of which something new is known. When what is due is for
``plan.probing`` to say; here it is done.

Invariants
    At most ``MOST_AT_ONCE`` probes run, one for an account; at most ``MOST_A_MINUTE`` start in a minute.
    A probe that fails for a reason of ours is logged and made again; the last finding stands.
"""

import asyncio
import contextlib
import dataclasses
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.plan import diagnosis, port25, probing
from waystation_operator.plan.attach import Labels
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.probing import Credential, Probe
from waystation_operator.plan.report import RelayReport
from waystation_operator.probe.connection import Settings
from waystation_operator.probe.examine import Examined, examine
from waystation_operator.probe.logins import Logins
from waystation_operator.probe.resolve import Resolver

_log = logging.getLogger(__name__)

_HELD_BACK_S = 5.0  # until probes that are due but beyond a bound are looked at again
_AGAIN_S = 60.0  # after a failure of ours


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""


class SystemClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@dataclass(frozen=True, slots=True)
class Gauge:
    """For a metric: ``host`` is host and port; of several probes of one server the worst."""

    kind: str
    host: str
    reason: str
    ok: bool


Look = Callable[[Probe, Credential | None, Clock], Awaitable[Examined]]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


async def look(probe: Probe, credential: Credential | None, clock: Clock) -> Examined:
    """The credential is None when this time no login is to be tried."""
    resolver = Resolver(probe.dns_servers, probe.namespace)
    return await examine(probe.target, credential, resolver, clock.now, Settings(probe.hostname))


class Watch:
    def __init__(
        self,
        changed: Callable[[str], None] = lambda _: None,
        *,
        clock: Clock | None = None,
        look: Look = look,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._changed, self._look, self._roll = changed, look, roll
        self._clock = clock or SystemClock()
        self._wanted: dict[str, dict[Probe, tuple[Target, ...]]] = {}
        self._due: dict[Probe, float] = {}
        self._findings: dict[Probe, Finding] = {}
        self._silences: dict[str, port25.Noted] = {}
        self._told: dict[str, Finding | None] = {}
        self._running: dict[Probe, asyncio.Task[None]] = {}
        self._started: list[float] = []
        self._logins = Logins()
        self._woken = asyncio.Event()

    def want(
        self,
        pool: RelayPool,
        routes: Sequence[MailRoute],
        namespaces: Mapping[str, Labels],
        secrets: Mapping[str, Secret],
        reports: Sequence[RelayReport] = (),
    ) -> None:
        """From now on this, and nothing else, is probed for the pool. What is new is probed at once.

        ``reports`` are its relays': what they met counts as well.
        """
        key, now = pool.identity.key, self._clock.now()
        self._silences[key] = port25.noted(self._silences.get(key, {}), routes, reports, now)
        self._told[key] = port25.verdict(pool, self._silences[key], now)
        targets = probing.targets(pool, routes, namespaces)
        wanted = probing.probes(pool, targets, secrets)
        before = self._wanted.get(key, {})
        known = {probe.target: self._findings[probe] for probe in before if probe in self._findings}
        for probe in wanted:
            if probe not in self._due:
                self._due[probe] = self._clock.monotonic()
                if (
                    probe.target in known
                ):  # with another password, say: what was known stands until it is tried
                    self._findings[probe] = known[probe.target]
        self._wanted[key] = wanted
        self._drop_unwanted()
        self._woken.set()

    def forget(self, pool_key: str) -> None:
        """The pool is gone."""
        for about in (self._wanted, self._silences, self._told):
            about.pop(pool_key, None)
        self._drop_unwanted()

    def findings_for(self, pool_key: str) -> tuple[Finding, ...]:
        """What is known, each finding once for every route it concerns."""
        probed = [
            dataclasses.replace(self._findings[probe], target=target)
            for probe, targets in self._wanted.get(pool_key, {}).items()
            if probe in self._findings
            for target in targets
        ]
        told = self._told.get(pool_key)
        return (*probed, told) if told else tuple(probed)

    def snapshot(self) -> tuple[Gauge, ...]:
        worst: dict[tuple[str, str], Gauge] = {}
        told = [finding for finding in self._told.values() if finding]
        for finding in (*self._findings.values(), *told):
            host = f"{finding.target.host}:{finding.target.port}"
            gauge = Gauge(finding.target.kind, host, finding.reason, finding.ok)
            key = gauge.kind, gauge.host
            if key not in worst or worst[key].ok:
                worst[key] = gauge
        return tuple(worst.values())

    async def run(self) -> None:
        """Until cancelled, which ends the probes under way."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                nap_s = self.turn(group.create_task)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(nap_s):
                        await self._woken.wait()

    def turn(self, spawn: Spawn) -> float | None:
        """Starts what is due; in how many seconds to look again (None: when something is wanted)."""
        now = self._clock.monotonic()
        self._started = [at for at in self._started if at > now - 60]
        for probe in probing.startable(self._due, self._running, self._started, now):
            credential, wait_s = self._logins.allowed(probe, now)
            if wait_s:
                self._due[probe] = now + wait_s
                continue
            self._started.append(now)
            self._running[probe] = spawn(self._probe(probe, credential))
        waiting = [at for probe, at in self._due.items() if probe not in self._running]
        if not waiting:
            return None
        return min(waiting) - now if min(waiting) > now else _HELD_BACK_S

    async def _probe(self, probe: Probe, credential: Credential | None) -> None:
        begun = self._logins.begin(probe, credential, self._clock.monotonic())
        try:
            examined = await self._look(probe, credential, self._clock)
        except Exception:  # noqa: BLE001 -- of one probe; it must not end the others
            _log.exception("the probe of %s failed", probe)
            self._plan(probe, _AGAIN_S)
            return
        finally:
            self._running.pop(probe, None)
            self._woken.set()
        finding = self._logins.end(begun, examined, self._clock.monotonic())
        self._plan(probe, probing.every_s(finding, self._roll()))
        self._keep(probe, finding)

    def _plan(self, probe: Probe, after_s: float) -> None:
        if probe in self._due:
            self._due[probe] = self._clock.monotonic() + after_s

    def _keep(self, probe: Probe, finding: Finding) -> None:
        if probe not in self._due:
            return
        last = self._findings.get(probe)
        finding = diagnosis.settled(last, finding)
        self._findings[probe] = finding
        if last is None or (last.ok, last.reason) != (finding.ok, finding.reason):
            _log.log(
                logging.INFO if finding.ok else logging.WARNING, "%s: %s", finding.reason, finding.message
            )
        if last is None or dataclasses.replace(last, at=finding.at) != finding:
            for pool_key in self._pools_of(probe):
                self._changed(pool_key)

    def _pools_of(self, probe: Probe) -> Iterator[str]:
        return (pool_key for pool_key, wanted in list(self._wanted.items()) if probe in wanted)

    def _drop_unwanted(self) -> None:
        wanted = {probe for probes in self._wanted.values() for probe in probes}
        for probe in self._due.keys() - wanted:
            del self._due[probe]
            self._findings.pop(probe, None)
            if probe in self._running:
                self._running[probe].cancel()
