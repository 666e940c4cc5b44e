"""Secrets, read by name and only when a plan needs them; nothing is listed or watched.

A Secret is read again when it was last read longer ago than ``FRESH_S``, or
after ``expire``: so a rotated one counts within a pass of the resync, without
anybody's permission to look at Secrets that no route or pool names.

Errors
    Where the operator may not read, the answer is FORBIDDEN, not an exception.
"""

import base64
import binascii
import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from waystation_operator.api.objects import Secret
from waystation_operator.api.problem import Identity
from waystation_operator.cluster.client import Client, Refused
from waystation_operator.cluster.kinds import SECRET

FRESH_S = 15.0


class Missing(enum.Enum):
    ABSENT = "absent"
    FORBIDDEN = "forbidden"


class Secrets:
    """``monotonic`` tells the time."""

    def __init__(self, client: Client, monotonic: Callable[[], float]) -> None:
        self._client, self._monotonic = client, monotonic
        self._read: dict[tuple[str, str], tuple[float, Secret | Missing]] = {}

    async def get(self, namespace: str, name: str) -> Secret | Missing:
        kept = self._read.get((namespace, name))
        now = self._monotonic()
        if kept is not None and now - kept[0] < FRESH_S:
            return kept[1]
        try:
            body = await self._client.get(SECRET, namespace, name)
        except Refused as refused:
            if not refused.is_forbidden:
                raise
            answer: Secret | Missing = Missing.FORBIDDEN
        else:
            answer = Missing.ABSENT if body is None else read(body)
        self._read[namespace, name] = now, answer
        return answer

    async def gather(self, keys: Iterable[str]) -> tuple[dict[str, Secret], frozenset[str]]:
        """Those of ``keys`` (``namespace/name``) that there are, and those that may not be read."""
        found: dict[str, Secret] = {}
        forbidden: set[str] = set()
        for key in sorted(keys):
            namespace, _, name = key.partition("/")
            answer = await self.get(namespace, name)
            if isinstance(answer, Secret):
                found[key] = answer
            elif answer is Missing.FORBIDDEN:
                forbidden.add(key)
        return found, frozenset(forbidden)

    def expire(self, namespace: str) -> None:
        """Somebody changed something in this namespace: perhaps its Secrets too."""
        for key in [key for key in self._read if key[0] == namespace]:
            del self._read[key]

    def prune(self) -> None:
        """Forgets what nobody has asked for lately."""
        now = self._monotonic()
        for key in [key for key, (at, _) in self._read.items() if now - at >= FRESH_S]:
            del self._read[key]


def read(body: Mapping[str, Any]) -> Secret:
    metadata = body["metadata"]
    data = body.get("data") or {}
    return Secret(
        Identity("Secret", metadata.get("namespace", ""), metadata["name"]),
        {key: decoded(value) for key, value in data.items()},
    )


def decoded(value: object) -> bytes:
    """Of what the API server keeps in ``data``; it takes nothing but base64."""
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
