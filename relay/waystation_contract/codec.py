"""The document as bytes: strict reading, one canonical writing, and the hash that names a configuration.

``decode`` is the only way in: what it returns has the right shape (every
field known, of its type and in its range) and has passed ``check``. Shape
errors are reported one at a time (the decoder stops at the first); once the
shape is right all cross-field findings are reported together. ``encode`` gives equal
documents equal bytes, so ``digest`` can be compared between the operator and
its relays. It covers the files beside the document that the document names
(``material``): a renewed certificate is a new configuration.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import msgspec

from waystation_contract import check
from waystation_contract.check import ConfigError, Finding
from waystation_contract.model import VERSION, Document, SmartHost

CERTIFICATE = ("crt", "key")
CREDENTIAL = ("username", "password")

MAX_BYTES = 16 * 2**20  # far above what a Secret can carry; a bound for what a relay will read

_VALUE_CHARS = 80

_decoder = msgspec.json.Decoder(Document)
_AT = re.compile(r"(?P<problem>.*?)(?: - at `\$?(?P<path>[^`]*)`)?\Z", re.DOTALL)

# What the decoder's words ask for, by how they begin.
_REMEDIES = (
    ("Object contains unknown field", "remove it, or run a relay that knows it"),
    ("Object missing required field", "add it"),
    ("Invalid value", "use one of the documented values"),
    ("Invalid enum value", "use one of the documented values"),
    ("Expected", "write a value of that type and range"),
)


class _Head(msgspec.Struct):
    version: int


def decode(data: bytes) -> tuple[Document, str]:
    """The document in ``data`` and its digest by itself. Raises :class:`ConfigError` and nothing else."""
    if len(data) > MAX_BYTES:
        raise ConfigError(
            (Finding("", f"{len(data)} bytes", f"is larger than {MAX_BYTES} bytes", "split the pool"),)
        )
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        finding = Finding(
            "", "", f"is not JSON: {error}", "write it again with the operator or `waystation local`"
        )
        raise ConfigError((finding,)) from error
    try:
        version = msgspec.convert(body, _Head).version
        if version != VERSION:
            raise ConfigError((_version(version),))
        document = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ConfigError((_shape(error, body),)) from error
    findings = check.check(document)
    if findings:
        raise ConfigError(findings)
    return document, digest(document)


def encode(document: Document) -> bytes:
    """The canonical bytes: keys sorted, no white space, every default written out."""
    return msgspec.json.encode(document, order="sorted")


def digest(document: Document, files: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """The hash that names a configuration, in hexadecimal.

    ``files`` are those beside the document, by name; it matters what is in
    those that the document names, and nothing else. Without any it is the
    SHA-256 of the canonical bytes.
    """
    whole = hashlib.sha256(encode(document))
    for name in material(document):
        if name in files:
            whole.update(f"\n{name} {hashlib.sha256(files[name]).hexdigest()}".encode())
    return whole.hexdigest()


def material(document: Document) -> tuple[str, ...]:
    """The files that have to lie beside the document, in order: ``relay-tls.crt``, ``upstream.password``."""
    return tuple(sorted(set(_material(document))))


def _material(document: Document) -> Iterator[str]:
    for listener in document.listeners:
        if listener.certificate:
            yield from (f"{listener.certificate}.{part}" for part in CERTIFICATE)
    for route in document.routes:
        for backend in route.backends:
            if isinstance(backend, SmartHost) and backend.credential:
                yield from (f"{backend.credential}.{part}" for part in CREDENTIAL)


def _version(found: int) -> Finding:
    remedy = "upgrade the relay" if found > VERSION else "upgrade the operator"
    return Finding("version", str(found), f"is not the version this relay reads ({VERSION})", remedy)


def _shape(error: msgspec.ValidationError, body: object) -> Finding:
    text = str(error)
    parts = _AT.match(text)
    assert parts is not None  # the pattern matches any text
    problem, path = parts["problem"], (parts["path"] or "").removeprefix(".")
    remedy = next((r for start, r in _REMEDIES if problem.startswith(start)), "see docs/configuration.md")
    return Finding(path, _value_at(path, body), problem[0].lower() + problem[1:], remedy)


def _value_at(path: str, found: object) -> str:
    """What stands at ``path``, short: scalars only, as whole objects would hide the point."""
    for step in re.findall(r"[^.\[\]]+", path):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return ""
    if isinstance(found, dict | list):
        return ""
    return msgspec.json.encode(found).decode()[:_VALUE_CHARS]
