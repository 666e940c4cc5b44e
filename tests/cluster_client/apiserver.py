"""An HTTP server that answers as a test scripts it: what a real API server does in trouble only."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration
from tests.support.ports import free_port

Answer = tuple[int, Any]


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class Server:
    """``answer`` gets each request; ``seen`` keeps them."""

    url: str = ""
    answer: Callable[[Request], Answer] = lambda _: (200, {})
    seen: list[Request] = field(default_factory=list)
    token: str = "first"

    async def configuration(self) -> Configuration:
        made = Configuration(host=self.url)
        made.api_key["BearerToken"] = f"Bearer {self.token}"
        return made

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        seen = Request(
            request.method,
            request.path,
            dict(request.query),
            dict(request.headers),
            json.loads(text) if text else None,
        )
        self.seen.append(seen)
        status, body = self.answer(seen)
        data = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=data, content_type="application/json")


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def status(code: int, reason: str, message: str) -> Answer:
    """As the API server refuses."""
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
