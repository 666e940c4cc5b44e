"""Calls of the relays' admin ports, by pod address.

Whatever goes wrong is the answer's text, never an exception: pods come and
go, and one that does not answer must not hold up the others.
"""

import asyncio
from collections.abc import Mapping

import aiohttp

from waystation_operator.cluster.metrics import Metrics
from waystation_operator.plan import report
from waystation_operator.plan.manifests.names import ADMIN_PORT
from waystation_operator.plan.report import RelayReport

TIMEOUT_S = 3.0
AT_ONCE = 32
_LONGEST_BYTES = 4 * 2**20


class Relays:
    """``port`` is the admin port of every pod. ``close`` ends the connections."""

    def __init__(self, metrics: Metrics, port: int = ADMIN_PORT) -> None:
        self._metrics, self._port = metrics, port
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def statuses(self, addresses: Mapping[str, str], token: str) -> dict[str, RelayReport | str]:
        """By pod name: its report, or why there is none."""
        names = list(addresses)
        answers = await asyncio.gather(*(self.status(addresses[name], token) for name in names))
        return dict(zip(names, answers, strict=True))

    async def status(self, address: str, token: str) -> RelayReport | str:
        answer = await self._call("status", "GET", address, "/status", token)
        found = report.read(answer) if isinstance(answer, bytes) else answer
        self._metrics.relay_called("status", "failed" if isinstance(found, str) else "ok")
        return found

    async def reload(self, address: str, token: str) -> str:
        """Empty when the relay has looked at its files; otherwise why not."""
        return await self._act("reload", "POST", address, "/config/reload", token)

    async def drain(self, address: str, token: str) -> str:
        return await self._act("drain", "POST", address, "/drain", token)

    async def undrain(self, address: str, token: str) -> str:
        return await self._act("undrain", "DELETE", address, "/drain", token)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _act(self, call: str, method: str, address: str, path: str, token: str) -> str:
        answer = await self._call(call, method, address, path, token)
        self._metrics.relay_called(call, "failed" if isinstance(answer, str) else "ok")
        return answer if isinstance(answer, str) else ""

    async def _call(self, call: str, method: str, address: str, path: str, token: str) -> bytes | str:
        if not address:
            return "the pod has no address yet"
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        host = f"[{address}]" if ":" in address else address
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with (
                self._slots,
                self._session.request(
                    method, f"http://{host}:{self._port}{path}", headers=headers, allow_redirects=False
                ) as answer,
            ):
                body = await answer.content.read(_LONGEST_BYTES)
                while not answer.content.at_eof() and len(body) < _LONGEST_BYTES:
                    body += await answer.content.read(_LONGEST_BYTES - len(body))
                if answer.status == 200:
                    return body
                return f"{method} {path} was answered {answer.status}: {_first_line(body)}"
        except TimeoutError:
            return f"{method} {path} was not answered within {TIMEOUT_S:.0f} s ({call})"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{method} {path} failed: {error or type(error).__name__}"


def _first_line(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip().split("\n")[0][:300]
