"""Leading by a Lease: waits for it, keeps it, gives it up. What to do is decided by ``election``.

Invariants
    ``leads`` is False from the moment at which another candidate could take
    over, whether or not this process has noticed: it compares times only.
Errors
    None: what goes wrong with a read or write is tried again until it is too late.
"""

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Protocol

from waystation_operator.cluster import election
from waystation_operator.cluster.client import Object, Refused, Unreachable
from waystation_operator.cluster.election import RENEW_WITHIN_S, RETRY_S, Record, Sight, Step
from waystation_operator.cluster.kinds import LEASE, Kind

_CALL_S = 4.0


class Leases(Protocol):
    """The part of the client that is used, so that tests can be the API server."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None: ...
    async def create(self, body: Object) -> Object: ...
    async def replace(self, body: Object) -> Object: ...


class Clock(Protocol):
    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class Elector:
    """``me`` is of this process alone: a restarted one is another candidate."""

    def __init__(
        self,
        leases: Leases,
        namespace: str,
        name: str,
        me: str,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._leases, self._namespace, self._name, self.me = leases, namespace, name, me
        self._clock, self._sleep = clock, sleep
        self._sight = Sight()
        self._renewed: float | None = None
        self.trouble = ""  # why the lease could not be read or written the last time
        self.asked: float | None = None  # when the lease was last read

    def leads(self) -> bool:
        return self._renewed is not None and self._clock.monotonic() - self._renewed < RENEW_WITHIN_S

    def holder(self) -> str:
        """Who held it when it was last read."""
        return self._sight.record.holder if self._sight.record else ""

    async def acquire(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Returns once this process leads; ``waiting`` is called after each attempt that did not succeed."""
        while not await self._attempt():
            waiting()
            await self._sleep(RETRY_S)

    async def hold(self) -> None:
        """Keeps the lease; returns once it is lost."""
        while self.leads():
            await self._sleep(RETRY_S)
            if not self.leads():
                return  # this process was stopped, or the machine slept
            await self._attempt()
            if self._renewed is None:
                return

    async def release(self) -> None:
        """Lets the next candidate take over at once."""
        record, leading = self._sight.record, self.leads()
        self._renewed = None
        if not leading or record is None or record.holder != self.me:
            return
        try:
            async with asyncio.timeout(_CALL_S):
                await self._leases.replace(
                    self._body(election.given_up(record, self._wall()), record.version)
                )
        except (Refused, Unreachable, TimeoutError) as error:
            self.trouble = str(error)

    async def _attempt(self) -> bool:
        """One reading and, if it is our turn, one writing. True: this process leads."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(_CALL_S):
                body = await self._leases.get(LEASE, self._namespace, self._name)
                self.asked = self._clock.monotonic()
                self._sight = election.see(self._sight, election.read(body) if body else None, self.asked)
                step = election.step(self._sight, self.me, self.asked)
                if step is Step.WAIT:
                    self._renewed, self.trouble = None, ""
                    return False
                written = await self._write(step, self._sight.record)
        except (Refused, Unreachable, TimeoutError) as error:
            self.trouble = str(error) or "the API server does not answer"
            return self.leads()
        self._sight = Sight(election.read(written), self._clock.monotonic())
        self._renewed, self.trouble = began, ""
        return True

    async def _write(self, step: Step, record: Record | None) -> Object:
        spec = election.spec(record, self.me, self._wall())
        if step is Step.CREATE:
            return await self._leases.create(self._body(spec))
        assert record is not None
        return await self._leases.replace(self._body(spec, record.version))

    def _body(self, spec: Object, version: str = "") -> Object:
        metadata = {"name": self._name, "namespace": self._namespace}
        if version:
            metadata["resourceVersion"] = version
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": spec}

    def _wall(self) -> str:
        at = datetime.datetime.fromtimestamp(self._clock.now(), datetime.UTC)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Always:
    """The elector of an operator that has no rival (``--no-leader-election``)."""

    me, trouble = "", ""

    def leads(self) -> bool:
        return True
