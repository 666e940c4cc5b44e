"""What a running relay says of itself at its admin port.

Nobody answering is an answer here, never an exception: processes come and go
while we ask.
"""

import aiohttp
import msgspec

_TIMEOUT = aiohttp.ClientTimeout(total=1)
_MESSAGES = b"waystation_queue_messages{"


class Configuration(msgspec.Struct, frozen=True):
    """Of ``/config``: the digest of the document in force, and what is wrong with the newest one."""

    hash: str = ""
    last_error: str = ""


async def is_ready(url: str) -> bool:
    status, _ = await _get(url)
    return status == 200


async def configuration(admin: str) -> Configuration | None:
    """What ``/config`` of the relay at ``admin`` says; ``None`` when it says nothing we understand."""
    status, body = await _get(f"{admin}/config")
    if status != 200:
        return None
    try:
        return msgspec.json.decode(body, type=Configuration)
    except msgspec.MsgspecError:
        return None


async def queued(admin: str) -> int | None:
    """How many messages the relay has, waiting, under way or held; ``None`` when it does not say."""
    status, body = await _get(f"{admin}/metrics")
    figures = [line.rpartition(b" ")[2] for line in body.splitlines() if line.startswith(_MESSAGES)]
    return int(sum(map(float, figures))) if status == 200 and figures else None


async def _get(url: str) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, b""
