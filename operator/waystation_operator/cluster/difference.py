"""Whether an object, as found, is already what we would apply. Pure.

Server-side apply of an unchanged object changes nothing but costs a request,
a validation and often a write of managed fields, so it is left out when

    everything we want is there (``missing``: the server may add defaults), and
    everything we own there is still wanted (``unwanted``, read off the
    object's managed fields).

Values are compared as the API server keeps them: quantities by their amount,
empty values as absent ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

MANAGER = "waystation-operator"

# The keys by which the API server tells the elements of its lists apart, where it merges them.
_LIST_KEYS = ("name", "mountPath", "containerPort", "port", "type", "topologyKey", "uid", "ip", "key")
# Lists into which others may put elements beside ours; all other lists are ours as a whole.
_SHARED = frozenset(
    {
        "containers",
        "env",
        "finalizers",
        "imagePullSecrets",
        "initContainers",
        "ownerReferences",
        "ports",
        "secrets",
        "topologySpreadConstraints",
        "volumeMounts",
        "volumes",
    }
)
_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)(m|k|[KMGTPE]i?)?")
_SCALE = {"m": Decimal("0.001"), "k": Decimal(1000)} | {
    unit + suffix: Decimal(base) ** (n + 1)
    for n, unit in enumerate("KMGTPE")
    for suffix, base in (("", 1000), ("i", 1024))
}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The paths at which ``found`` is not what ``wanted`` says; empty when applying it would do nothing."""
    paths = [path for path in missing(found, wanted) if path not in ("apiVersion", "kind")]
    owned = fields_of(found)
    return [*paths, *(unwanted(owned, wanted) if owned else ())]


def missing(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """Paths of ``wanted`` that ``found`` lacks or has otherwise."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from missing(found.get(key), value, f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str) and isinstance(found, Sequence):
        yield from _missing_elements(found, wanted, path)
    elif not _same(found, wanted):
        yield path


def _missing_elements(found: Sequence[Any], wanted: Sequence[Any], path: str) -> Iterator[str]:
    if len(found) < len(wanted) or (len(found) > len(wanted) and not _is_shared(path)):
        yield path
        return
    for n, value in enumerate(wanted):
        counterpart = _counterpart(found, value, n)
        if counterpart is None:
            yield f"{path}[{n}]"
        else:
            yield from missing(counterpart, value, f"{path}[{n}]")


def _is_shared(path: str) -> bool:
    """A NetworkPolicy's rules are ours down to their ports."""
    return path.rpartition(".")[2] in _SHARED and "gress[" not in path


def _counterpart(found: Sequence[Any], wanted: Any, position: int) -> Any:
    """The element that the API server would merge ``wanted`` into: of the same key, or at the same place."""
    if isinstance(wanted, Mapping):
        keys = [key for key in _LIST_KEYS if key in wanted]
        named = [
            element
            for element in found
            if isinstance(element, Mapping) and keys and element.get(keys[0]) == wanted[keys[0]]
        ]
        if len(named) == 1:
            return named[0]
    return found[position]


def _same(found: Any, wanted: Any) -> bool:
    if found == wanted and type(found) is type(wanted):
        return True
    if found is None:
        return wanted in (None, "", 0, False) or (isinstance(wanted, (Mapping, list, tuple)) and not wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return False
    amounts = _amount(found), _amount(wanted)
    return None not in amounts and amounts[0] == amounts[1]


def _amount(value: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, (str, int, float)) else None
    return Decimal(match[1]) * _SCALE.get(match[2] or "", Decimal(1)) if match else None


def fields_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What our manager has applied to the object, as ``fieldsV1`` says it; empty when it has not."""
    for entry in found.get("metadata", {}).get("managedFields") or ():
        mine = entry.get("manager") == MANAGER and entry.get("operation") == "Apply"
        if mine and not entry.get("subresource"):
            return entry.get("fieldsV1") or {}
    return {}


def unwanted(owned: Mapping[str, Any], wanted: Any, path: str = "") -> Iterator[str]:
    """Paths that we own and no longer want."""
    for step, below in owned.items():
        kind, _, rest = step.partition(":")
        if kind == "f":
            here = f"{path}.{rest}" if path else rest
            if not isinstance(wanted, Mapping) or wanted.get(rest) is None:
                yield here
            else:
                yield from unwanted(below, wanted[rest], here)
        elif kind == "k":
            element = _element(wanted, msgspec.json.decode(rest))
            if element is None:
                yield f"{path}[{rest}]"
            else:
                yield from unwanted(below, element, f"{path}[{rest}]")
        elif kind == "v" and msgspec.json.decode(rest) not in (wanted or ()):
            yield f"{path}[{rest}]"


def _element(wanted: Any, keys: Mapping[str, Any]) -> Any:
    """The element of a list with these keys; a key that an element leaves out has its default."""
    if not isinstance(wanted, Sequence) or isinstance(wanted, str):
        return None
    for element in wanted:
        if isinstance(element, Mapping) and all(element.get(k, v) == v for k, v in keys.items()):
            return element
    return None
