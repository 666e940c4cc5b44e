"""The admin HTTP server: its paths, and how every answer looks.

Anybody who reaches the port may read health, metrics, the configuration's hash
and how far draining is. Whatever changes something or shows messages needs the
token (``access``). Bodies are bounded; answers are JSON, except metrics.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from aiohttp import web

from waystation_relay.admin.access import Access
from waystation_relay.admin.drain import Drain, peers_of
from waystation_relay.admin.handoff import HandoffHandlers
from waystation_relay.admin.health import Health
from waystation_relay.admin.problem import Problem, answer, of_http
from waystation_relay.admin.queue import QueueHandlers
from waystation_relay.admin.status import StatusReport
from waystation_relay.aio.addresses import listened_on
from waystation_relay.dispatch.ports import DispatchLog
from waystation_relay.observe.metrics import CONTENT_TYPE
from waystation_relay.spool.values import SpoolUnavailable

LARGEST_BODY_BYTES = 64 * 1024
STOP_WITHIN_S = 1.0
# aiohttp reports each request that is no HTTP with a traceback; its client is told, and nobody else need be.
_UNHEARD = logging.getLogger("waystation.admin")
_UNHEARD.disabled = True
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """``metrics`` renders them, ``config`` describes the configuration in force (and never a credential)."""

    def __init__(
        self,
        *,
        access: Access,
        health: Health,
        drain: Drain,
        queue: QueueHandlers,
        handoff: HandoffHandlers,
        metrics: Callable[[], Awaitable[bytes]],
        config: Callable[[], dict[str, object]],
        status: StatusReport,
        log: DispatchLog,
    ) -> None:
        self._access, self._health, self._drain = access, health, drain
        self._metrics, self._config, self._status, self._log = metrics, config, status, log
        self.application = application = web.Application(
            middlewares=[self._errors], client_max_size=LARGEST_BODY_BYTES
        )
        application.add_routes([*self._routes(), *queue.routes(), *handoff.routes()])
        self._runner = web.AppRunner(
            application, access_log=None, logger=_UNHEARD, shutdown_timeout=STOP_WITHIN_S
        )

    async def start(self, host: str, port: int) -> None:
        """Raises ``OSError`` when the address cannot be had."""
        await self._runner.setup()
        try:
            for address in listened_on(host):
                await web.TCPSite(self._runner, address, port, reuse_address=True).start()
        except BaseException:
            await self._runner.cleanup()
            raise

    async def stop(self) -> None:
        await self._runner.cleanup()

    def _routes(self) -> Iterable[web.AbstractRouteDef]:
        yield web.get("/metrics", self.metrics)
        yield web.get("/livez", self.livez)
        yield web.get("/readyz", self.readyz)
        yield web.get("/config", self.config)
        yield web.post("/config/reload", self.reload)
        yield web.get("/status", self.status)
        yield web.get("/drain", self.drain)
        yield web.post("/drain", self.begin_drain)
        yield web.delete("/drain", self.cancel_drain)

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def livez(self, _: web.Request) -> web.Response:
        sick = self._health.sick()
        return web.json_response({"alive": not sick, "why": sick}, status=503 if sick else 200)

    async def readyz(self, _: web.Request) -> web.Response:
        unready = self._health.unready()
        body = {"ready": not unready, "reasons": msgspec.to_builtins(unready)}
        return web.json_response(body, status=503 if unready else 200)

    async def config(self, _: web.Request) -> web.Response:
        return web.json_response(self._config())

    async def reload(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        return web.json_response(self._status.reload())

    async def status(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        return web.json_response(await self._status.describe())

    async def drain(self, _: web.Request) -> web.Response:
        return web.json_response(self._drain.describe())

    async def begin_drain(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        peers = peers_of(await request.read())
        if not self._drain.active:
            self._drain.begin()
            self._log.emit("drain.started", epoch=self._drain.epoch, client=request.remote)
        if peers is not None:
            self._drain.give_to(peers)
        return await self.drain(request)

    async def cancel_drain(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        if self._drain.active:
            self._drain.cancel()
            self._log.emit("drain.cancelled", epoch=self._drain.epoch, client=request.remote)
        return await self.drain(request)

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
            return answer(problem, headers)
        except web.HTTPException as error:
            return of_http(error)
        except (SpoolUnavailable, sqlite3.Error) as error:
            return answer(
                Problem(
                    503, f"the queue cannot be read or changed now: {error}", "see /readyz, and try again"
                )
            )
        except Exception as error:  # noqa: BLE001 -- an admin call that fails is no reason to disturb the mail
            with contextlib.suppress(Exception):
                self._log.emit(
                    "internal.error", where=f"admin {request.method} {request.path}", error=repr(error)
                )
            return answer(Problem(500, "internal error", "the relay's log has it as internal.error"))
