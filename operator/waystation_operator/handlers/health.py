"""Whether this replica is alive and ready, and its metrics, over HTTP.

``/livez``   503 when nothing has moved for ``STUCK_S``: the process hangs, and a
             restart helps. An API server that is away does not count: trying
             and failing is moving.
``/readyz``  200 while leading with everything known, or while waiting for the
             lease; 503 while starting and stopping.
``/metrics`` Prometheus.
"""

import enum
from collections.abc import Callable

from aiohttp import web

from waystation_operator.cluster.metrics import Metrics

STUCK_S = 180.0


class State(enum.Enum):
    STARTING = "starting"
    WAITING = "waiting for the lease"
    SYNCING = "leading, reading the cluster"
    LEADING = "leading"
    STOPPING = "stopping"


_READY = (State.WAITING, State.LEADING)


class Health:
    def __init__(self, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._metrics, self._monotonic = metrics, monotonic
        self._beat = monotonic()
        self.state = State.STARTING
        self._runner: web.AppRunner | None = None

    def beat(self) -> None:
        """Something moved."""
        self._beat = self._monotonic()

    def age_s(self) -> float:
        return self._monotonic() - self._beat

    @property
    def is_alive(self) -> bool:
        return self.age_s() < STUCK_S

    async def serve(self, host: str, port: int) -> None:
        """Raises ``OSError`` when the address cannot be had."""
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._render),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        text = f"{self.state.value}; something moved {self.age_s():.0f} s ago\n"
        return web.Response(status=200 if self.is_alive else 503, text=text)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.state in _READY else 503, text=f"{self.state.value}\n")

    async def _render(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )
