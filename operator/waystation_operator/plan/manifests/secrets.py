"""The two Secrets of a pool: what its relays are told, and the token of their admin calls."""

import base64
from collections.abc import Mapping
from typing import Any

from waystation_contract import codec
from waystation_contract.model import Document
from waystation_operator.api.problem import Identity
from waystation_operator.plan.manifests import names

MOST_BYTES = 2**20  # what the API server takes; it counts the values


def config(pool: Identity, uid: str, document: Document, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The contract document with the credentials and certificates that it names beside it."""
    data = {names.DOCUMENT: codec.encode(document), **wanted(document, files)}
    return _secret(names.config_secret(pool.name), pool, uid, data)


def wanted(document: Document, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the files that the document names: a route that is not ready takes its credential along."""
    return {name: files[name] for name in codec.material(document)}


def size_bytes(document: Document, files: Mapping[str, bytes]) -> int:
    return len(codec.encode(document)) + sum(map(len, wanted(document, files).values()))


def admin(pool: Identity, uid: str, token: str) -> dict[str, Any]:
    return _secret(names.admin_secret(pool.name), pool, uid, {names.TOKEN: token.encode()})


def decoded(secret: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The values of a Secret as the API server gives it."""
    data = (secret or {}).get("data")
    found: dict[str, bytes] = {}
    for key, text in data.items() if isinstance(data, Mapping) else ():
        try:
            found[str(key)] = base64.b64decode(text, validate=True)
        except (ValueError, TypeError):
            continue  # the API server never gives such a value
    return found


def _secret(name: str, pool: Identity, uid: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in sorted(data.items())}
    return {**names.owned("v1", "Secret", name, pool, uid), "type": "Opaque", "data": encoded}
