"""The API server, as the operator uses it: JSON objects in, JSON objects out.

Every call has a deadline and is counted. What can go wrong is one of three:
``Refused`` (the server answered, and not as hoped), ``Unreachable`` (it did
not answer) and ``NotLeading`` (we may no longer write; nothing was sent).

Invariants
    No write is sent after ``may_write`` said no.
    A refused login is followed by one more try with freshly read credentials.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration

from waystation_operator.cluster.difference import MANAGER
from waystation_operator.cluster.kinds import Kind, of_object
from waystation_operator.cluster.metrics import Metrics

Object = dict[str, Any]

TIMEOUT_S = 20.0
PAGE = 500
_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"


class Refused(Exception):  # noqa: N818 -- a result with a name, as the design has it
    """The API server's answer. ``reason`` is its word (NotFound, Conflict, Forbidden…), ``str`` its text."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason

    @property
    def is_absent(self) -> bool:
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Somebody was faster: read again and decide anew."""
        return self.status == 409

    @property
    def is_forbidden(self) -> bool:
        return self.status in (401, 403)


class Unreachable(Exception):  # noqa: N818 -- as above
    """No answer: the network, TLS, a time-out, or a server that cannot serve now."""


class NotLeading(Exception):  # noqa: N818 -- as above
    """Another replica may be leading by now, so nothing is written."""


class Client:
    """Opened by the first call; ``close`` ends it."""

    def __init__(
        self,
        load: Callable[[], Awaitable[Configuration]],
        metrics: Metrics,
        may_write: Callable[[], bool] = lambda: True,
        told: Callable[[str], None] = lambda _problem: None,
    ) -> None:
        self._load, self._metrics, self._may_write, self._told = load, metrics, may_write, told
        self._api: ApiClient | None = None

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        try:
            return await self._call("get", kind, kind.path(namespace, name))
        except Refused as refused:
            if refused.is_absent:
                return None
            raise

    async def list(self, kind: Kind, namespace: str = "") -> tuple[list[Object], int]:
        """All objects (of one namespace) that the operator watches, and the list's version."""
        items: list[Object] = []
        query: dict[str, str] = {"limit": str(PAGE)}
        if kind.selector:
            query["labelSelector"] = kind.selector
        while True:
            page = await self._call("list", kind, kind.path(namespace), query=query)
            head = {"apiVersion": kind.api_version, "kind": kind.kind}
            items += [head | item for item in page.get("items") or ()]
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, int(metadata.get("resourceVersion") or 0)
            query["continue"] = metadata["continue"]

    async def exists(self, path: str) -> bool:
        """Whether the API server answers at a path that anybody may read."""
        try:
            await self._request("get", "", "GET", path, {}, None, "")
        except Refused as refused:
            if refused.is_absent:
                return False
            raise
        return True

    async def create(self, body: Object) -> Object:
        kind = of_object(body)
        path = kind.path(body["metadata"].get("namespace", ""))
        return await self._call("create", kind, path, "POST", body=body, query={"fieldManager": MANAGER})

    async def replace(self, body: Object) -> Object:
        """Only while its ``resourceVersion`` is still the latest; otherwise ``Refused`` with a conflict."""
        kind = of_object(body)
        path = kind.path(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        return await self._call("update", kind, path, "PUT", body=body, query={"fieldManager": MANAGER})

    async def apply(self, body: Object) -> Object:
        """Server-side apply: what ``body`` says is so afterwards, whoever said otherwise."""
        kind = of_object(body)
        path = kind.path(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        query = {"fieldManager": MANAGER, "force": "true"}
        return await self._call("apply", kind, path, "PATCH", body=body, query=query, media=_APPLY)

    async def patch(
        self, kind: Kind, namespace: str, name: str, change: Sequence[Object], subresource: str = ""
    ) -> Object:
        """A JSON patch: all of it or nothing."""
        path = kind.path(namespace, name, subresource)
        query = {"fieldManager": MANAGER}
        return await self._call("patch", kind, path, "PATCH", body=change, query=query, media=_JSON_PATCH)

    async def merge(self, kind: Kind, namespace: str, name: str, change: Object) -> Object:
        """A merge patch: fields that are named are set."""
        path = kind.path(namespace, name)
        query = {"fieldManager": MANAGER}
        return await self._call("patch", kind, path, "PATCH", body=change, query=query, media=_MERGE_PATCH)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str = "") -> bool:
        """False when there was nothing to delete, or something else of that name."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self._call("delete", kind, kind.path(namespace, name), "DELETE", body=body)
        except Refused as refused:
            if refused.is_absent or refused.is_conflict:
                return False
            raise
        return True

    async def close(self) -> None:
        if self._api is not None:
            await self._api.close()  # type: ignore[no-untyped-call]
            self._api = None

    async def _call(
        self,
        verb: str,
        kind: Kind,
        path: str,
        method: str = "GET",
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        media: str = "",
    ) -> Object:
        if method != "GET" and not self._may_write():
            raise NotLeading(f"{verb} {path} was not sent")
        try:
            return await self._request(verb, kind.plural, method, path, query or {}, body, media)
        except Refused as refused:
            if refused.status != 401:
                raise
        await self.close()
        return await self._request(verb, kind.plural, method, path, query or {}, body, media)

    async def _request(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        media: str,
    ) -> Object:
        try:
            answer = await self._exchange(method, path, query, body, media)
        except Refused as refused:
            self._metrics.request(verb, resource, str(refused.status))
            self._told("")
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, Unreachable) as error:
            self._metrics.request(verb, resource, "unreachable")
            text = str(error) or type(error).__name__
            self._told(text)
            raise Unreachable(f"the API server does not answer: {text}") from error
        self._metrics.request(verb, resource, "ok")
        self._told("")
        return answer

    async def _exchange(
        self, method: str, path: str, query: Mapping[str, str], body: Any, media: str
    ) -> Object:
        if self._api is None:
            self._api = ApiClient(await self._load())
            self._api.user_agent = MANAGER
        api = self._api
        headers = {"Accept": "application/json", "Content-Type": media or "application/json"}
        request = await api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        response = await api.call_api(*request, _request_timeout=timeout)
        data = await response.read()  # type: ignore[no-untyped-call]
        if response.status >= 500 or response.status == 429:
            raise Unreachable(f"{method} {path}: {response.status} {_message(data)}")
        if response.status >= 300:
            raise Refused(response.status, _reason(data), _message(data))
        decoded = json.loads(data)
        assert isinstance(decoded, dict)
        return decoded


def _status(data: bytes) -> Mapping[str, Any]:
    try:
        decoded = json.loads(data)
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _reason(data: bytes) -> str:
    return str(_status(data).get("reason") or "")


def _message(data: bytes) -> str:
    return str(_status(data).get("message") or data[:200].decode("utf-8", "replace"))
