"""``/handoff``: another relay of the pool, told to leave, gives what it has left.

``GET`` says who is here and whether it takes mail; ``POST`` takes a batch
(``handoff.parcel``), streamed, and answers when all of it is on disk.
"""

from collections.abc import AsyncIterator, Iterable

import msgspec
from aiohttp import web

from waystation_relay.admin.access import Access
from waystation_relay.admin.problem import Problem
from waystation_relay.handoff.courier import PATH
from waystation_relay.handoff.intake import Intake, Refused
from waystation_relay.handoff.parcel import Malformed

REMEDY = "relays of one pool speak to each other here; see docs/handoff.md"


class HandoffHandlers:
    def __init__(self, access: Access, intake: Intake) -> None:
        self._access, self._intake = access, intake

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        yield web.get(PATH, self.hello)
        yield web.post(PATH, self.take)

    async def hello(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        return _json(self._intake.hello())

    async def take(self, request: web.Request) -> web.Response:
        await self._access.demand(request)
        try:
            answer = await self._intake.take(_pieces(request), request.remote or "")
        except Refused as refused:
            return _json(
                {
                    "error": f"no mail is taken now: {refused.reason}",
                    "remedy": REMEDY,
                    "reason": refused.reason,
                },
                503,
            )
        except Malformed as error:
            raise Problem(400, f"this is no batch of messages: {error}", REMEDY) from None
        return _json(answer)


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.content.iter_any():
            yield piece
    except (OSError, web.HTTPException, web.PayloadAccessError) as error:
        raise Malformed(f"it was cut off: {error}") from None


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
