"""Carries a batch to another relay's admin port, and brings back what certainly became of it.

Errors
    None are raised for what the other side does. ``Unsent``: it has taken
    nothing. ``Lost``: all of it was sent and no sense came back, so it may
    have been taken.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import aiohttp
import msgspec

from waystation_relay.handoff import parcel
from waystation_relay.handoff.words import Answer, Hello, RefusedBatch
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.failpoints import reach

PATH = "/handoff"
CONNECT_S = 5.0
STALL_S = 30.0  # without a piece being taken
ANSWER_S = 60.0
PIECE_BYTES = 256 * 1024
LARGEST_ANSWER_BYTES = 2**20
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A message to be sent; ``frame`` is that of its parcel."""

    name: str
    frame: bytes
    body: bytes | BodyFile


@dataclasses.dataclass(frozen=True, slots=True)
class Unsent:
    """``reason`` is one word, ``text`` what was seen."""

    reason: str
    text: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How long a relay may take, in seconds: to connect, to take a piece, to answer."""

    connect_s: float = CONNECT_S
    stall_s: float = STALL_S
    answer_s: float = ANSWER_S


class Courier:
    """``token`` reads the pool's token; OSError when it cannot be read."""

    def __init__(self, token: Callable[[], Awaitable[bytes]], limits: Limits = Limits()) -> None:
        self._token, self._limits = token, limits
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, url: str) -> Hello | Unsent:
        """Who is there, and whether it takes mail."""
        try:
            async with (
                asyncio.timeout(self._limits.connect_s * 2),
                self._open().get(
                    url + PATH, headers=await self._headers(), allow_redirects=False
                ) as response,
            ):
                status, body = response.status, await _body(response)
        except TROUBLE as error:
            return Unsent("unreachable", _said(error))
        if status != 200:
            return _refusal(status, body)
        try:
            hello = msgspec.json.decode(body, type=Hello)
        except (msgspec.MsgspecError, ValueError) as error:
            return Unsent("protocol", str(error))
        if hello.format < parcel.FORMAT:
            return Unsent("format", f"it takes format {hello.format}")
        return hello

    async def send(self, url: str, tag: str, items: Sequence[Item]) -> Answer | Unsent | Lost:
        """``tag``: of the spool that is expected there."""
        sent = False
        limits = self._limits

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            async for piece in _pieces(items):
                deadline.reschedule(loop.time() + limits.stall_s)
                yield piece
                reach("handoff.sending")
            deadline.reschedule(loop.time() + limits.answer_s)
            sent = True
            yield parcel.END
            reach("handoff.sent")

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limits.connect_s + limits.stall_s) as deadline:
                headers = {**await self._headers(), "Content-Type": "application/octet-stream"}
                async with self._open().post(
                    url + PATH, data=pieces(), headers=headers, allow_redirects=False
                ) as response:
                    status, body = response.status, await _body(response)
        except TROUBLE as error:
            return Lost(_said(error)) if sent else Unsent("unreachable", _said(error))
        if status != 200 or not sent:
            refusal = _refusal(status, body)
            is_certain = not sent or refusal.reason != "protocol"
            return refusal if is_certain else Lost(refusal.text)
        return _answer(body, tag, {item.name for item in items})

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session

    async def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(await self._token()).decode('ascii', 'replace')}"}


async def _pieces(items: Sequence[Item]) -> AsyncIterator[bytes]:
    gathered: list[bytes] = [parcel.MAGIC]
    size_bytes = 0
    for item in items:
        body = item.body
        gathered.append(item.frame)
        if isinstance(body, bytes):
            gathered.append(body)
            size_bytes += len(item.frame) + len(body)
            if size_bytes >= PIECE_BYTES:
                yield b"".join(gathered)
                gathered, size_bytes = [], 0
            continue
        yield b"".join(gathered)
        gathered, size_bytes = [], 0
        for offset in range(0, body.size_bytes, PIECE_BYTES):
            yield await asyncio.to_thread(body.read, offset, PIECE_BYTES)
    if gathered:
        yield b"".join(gathered)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            raise ValueError("an answer longer than any relay gives")
    return bytes(body)


def _refusal(status: int, body: bytes) -> Unsent:
    if status in (401, 403):
        return Unsent("unauthorized", f"HTTP {status}: {_text(body)}")
    if status == 400:
        return Unsent("format", _text(body))
    if status == 503:
        try:
            return Unsent(msgspec.json.decode(body, type=RefusedBatch).reason, _text(body))
        except (msgspec.MsgspecError, ValueError):
            pass
    return Unsent("protocol", f"HTTP {status}: {_text(body)}")


def _answer(body: bytes, tag: str, names: set[str]) -> Answer | Lost:
    try:
        answer = msgspec.json.decode(body, type=Answer)
    except (msgspec.MsgspecError, ValueError) as error:
        return Lost(f"no answer of a relay: {error}")
    found = [result.name for result in answer.results]
    if answer.spool != tag or len(found) != len(names) or set(found) != names:
        return Lost("an answer to something else")
    return answer


def _text(body: bytes) -> str:
    return body[:300].decode("utf-8", "replace")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
