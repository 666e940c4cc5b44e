"""Who may change the queue, or look into it: whoever names the pool's token.

The token is the content of a file, white space around it removed. The file is
read at each call that needs it (off the loop), so a rotated Secret counts at
once. No token file, no such calls.
"""

import asyncio
import hmac
from pathlib import Path

from aiohttp import web

from waystation_relay.admin.problem import Problem

LONGEST_TOKEN_BYTES = 4096
SCHEME = "bearer"


class Access:
    """``token_file`` None: nobody may."""

    def __init__(self, token_file: Path | None) -> None:
        self._file = token_file

    async def token(self) -> bytes:
        """What this relay shows to others of its pool. Raises ``OSError``."""
        if self._file is None:
            raise FileNotFoundError("this relay has no admin token")
        return await asyncio.to_thread(read_token, self._file)

    async def demand(self, request: web.Request) -> None:
        """Raises ``Problem`` unless the request carries the token."""
        if self._file is None:
            raise Problem(
                403,
                "this relay has no admin token, so calls that change or show the queue are refused",
                "start it with --admin-token-file FILE",
            )
        try:
            token = await asyncio.to_thread(read_token, self._file)
        except OSError as error:
            raise Problem(
                503,
                f"the admin token file {self._file} cannot be read: {error.strerror}",
                "make it a file this process may read",
            ) from None
        if not token:
            raise Problem(503, f"the admin token file {self._file} is empty", "write a token to it")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != SCHEME or not hmac.compare_digest(given.strip().encode(), token):
            raise Problem(
                401,
                "the call does not carry this relay's admin token",
                "send Authorization: Bearer TOKEN; `waystation queue` takes it from --token-file",
            )


def read_token(file: Path) -> bytes:
    """Raises ``OSError``."""
    with file.open("rb") as stream:
        return stream.read(LONGEST_TOKEN_BYTES).strip()
