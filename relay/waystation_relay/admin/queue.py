"""``/queue``: what waits here, and what people do about it.

Lists come in pages: at most ``limit`` messages, and ``next`` to ask for what
follows them. A change names its messages by a filter; one that means all of
them has to say so, because an empty filter is more often a mistake.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from waystation_relay.admin import view
from waystation_relay.admin.access import Access
from waystation_relay.admin.filters import LONGEST_TEXT, query_of
from waystation_relay.admin.problem import Problem
from waystation_relay.dispatch.people import People
from waystation_relay.dispatch.ports import DispatchLog
from waystation_relay.mail.message import Message
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Action, Delete, Hold, Query, Release, RetryNow

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
DEFAULT_REASON = "by a person"
ACTIONS: dict[str, Callable[[str], Action]] = {
    "hold": Hold,
    "release": lambda _: Release(),
    "retry": lambda _: RetryNow(),
    "delete": Delete,
}
BOUNCE = "bounce"


class QueueHandlers:
    """``active`` says whether a message, by its number, is being delivered right now."""

    def __init__(
        self, access: Access, spool: Spool, people: People, log: DispatchLog, active: Callable[[int], bool]
    ) -> None:
        self._access, self._spool, self._people, self._log = access, spool, people, log
        self._active = active

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        yield web.get("/queue", self.browse)
        yield web.get("/queue/{queue_id}", self.show)
        yield web.post("/queue/{action}", self.change)

    async def browse(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        given = _parameters(request)
        limit = _number(given.pop("limit", DEFAULT_PAGE), "limit", 1, LARGEST_PAGE)
        after = _number(given.pop("after", 0), "after", 0, 2**63 - 1)
        found = await self._spool.find(query_of(given), limit, after)
        active = {message.id for message in found if self._active(message.id)}
        # A page may hold many recipients; the loop has other things to do than to write them down.
        body = await asyncio.to_thread(_page, found, active, limit)
        return web.Response(body=body, content_type="application/json")

    async def show(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        queue_id = request.match_info["queue_id"]
        message = await self._spool.get(queue_id)
        if message is None:
            raise Problem(
                404,
                f"no message {queue_id:.80} is in this relay's queue",
                "look for it with `waystation queue list`; it may be delivered, or wait in another pod",
            )
        return web.json_response(view.full(message, active=self._active(message.id)))

    async def change(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        name = request.match_info["action"]
        if name not in ACTIONS and name != BOUNCE:
            raise Problem(404, f"{name!r:.80} is no action", f"use one of {', '.join([*ACTIONS, BOUNCE])}")
        order = _order(await request.read())
        query = query_of(order.filter)
        if query == Query() and not order.all:
            raise Problem(
                400, f"{name} without a filter", 'give a filter, or "all": true to mean every message'
            )
        reason = order.reason or DEFAULT_REASON
        unknown = await self._unknown(query.queue_ids or ())
        if name == BOUNCE:
            count = await self._people.bounce(query, reason)
        else:
            action = ACTIONS[name](reason)
            count = await self._people.change(
                query, action, lambda changed: self._tell(action, changed.values())
            )
        self._log.emit(
            "queue.changed",
            action=name,
            filter=order.filter,
            reason=order.reason,
            count=count,
            client=request.remote,
        )
        return web.json_response({"changed": count, "unknown": unknown})

    def _tell(self, action: Action, queue_ids: Iterable[str]) -> None:
        """A message's way in the log ends, stops and goes on with lines of its own."""
        for queue_id in queue_ids:
            match action:
                case Hold(reason):
                    self._log.emit("message.held", queue_id=queue_id, reason=reason)
                case Release():
                    self._log.emit("message.released", queue_id=queue_id)
                case Delete(reason):
                    self._log.emit("message.deleted", queue_id=queue_id, reason=reason)

    async def _unknown(self, queue_ids: Iterable[str]) -> list[str]:
        return [queue_id for queue_id in queue_ids if await self._spool.get(queue_id) is None]


def _parameters(request: web.Request) -> dict[str, object]:
    """The URL's parameters; only ``id`` may be there several times."""
    given: dict[str, object] = {}
    for name in request.query:
        values = request.query.getall(name)
        if len(values) > 1 and name != "id":
            raise Problem(400, f"{name!r:.80} is given {len(values)} times", "give it once")
        given[name] = values if name == "id" else values[0]
    return given


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a change. ``reason`` is kept with what is held, and told in what is bounced."""

    filter: dict[str, Any] = {}
    all: bool = False
    reason: str = ""


def _order(body: bytes) -> Order:
    try:
        order = msgspec.json.decode(body or b"{}", type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(
            400,
            f"the body is not what this call takes: {error}",
            'send {"filter": {…}, "all": …, "reason": …}',
        ) from None
    if len(order.reason) > LONGEST_TEXT or not order.reason.isprintable():
        raise Problem(
            400, "the reason is too long or no line of text", f"write up to {LONGEST_TEXT} characters"
        )
    return order


def _number(value: object, name: str, least: int, most: int) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or not least <= int(text[:20]) <= most:
        raise Problem(
            400, f"{name}: {text!r:.80} is not from {least} to {most}", "write a number in that range"
        )
    return int(text)


def _page(found: list[Message], active: set[int], limit: int) -> bytes:
    return msgspec.json.encode(
        {
            "messages": [view.brief(message, active=message.id in active) for message in found],
            "next": str(found[-1].id) if len(found) == limit else None,
        }
    )
