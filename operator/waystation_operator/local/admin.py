"""What a running relay says of itself at its admin port.

Nobody answering is an answer here, never an exception: processes come and go
while we ask.
"""

import aiohttp
import msgspec

_TIMEOUT = aiohttp.ClientTimeout(total=1)


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


async def _get(url: str) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as answer:
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, b""
