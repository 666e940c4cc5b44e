"""A body, as YAML or the API server gives it → one of our objects, or everything that is wrong with it.

Every problem names the field as it is written, its value and a remedy; the
values of Secrets are never repeated.
"""

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from waystation_operator.api import shape as shapes
from waystation_operator.api.group import Group
from waystation_operator.api.objects import BODIES, DEFAULT_NAMESPACE, Body, Object
from waystation_operator.api.problem import Identity, Path, Problem, steps
from waystation_operator.api.shape import Kind, Shape

_VALUE_CHARS = 60


def parse(body: Any) -> tuple[Object | None, list[Problem]]:
    """The object, or ``None`` and at least one problem."""
    if not isinstance(body, dict):
        return None, [Problem(None, (), "", "is not an object", "write apiVersion, kind, metadata and spec")]
    version, kind = body.get("apiVersion"), body.get("kind")
    model = BODIES.get((version, kind)) if isinstance(version, str) and isinstance(kind, str) else None
    if model is None:
        return None, [_unknown_kind(body, version, kind)]
    identity = _identity(body, str(kind))
    nulls = [path for path in _nulls(body.get("spec"), ("spec",)) if kind != "Secret"]
    problems = [
        Problem(identity, path, "", "has no value", "write {} for all its defaults, or remove the line")
        for path in nulls
    ]
    try:
        parsed = model.model_validate_json(json.dumps(_without_metadata_nulls(body)))
    except ValidationError as error:
        problems.extend(p for p in _translated(error, model, identity) if not _about(p.path, nulls))
        return None, problems
    return (None, problems) if problems else (parsed.to_object(), [])


def _identity(body: dict[str, Any], kind: str) -> Identity | None:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return None
    namespace = "" if kind == "Namespace" else metadata.get("namespace", DEFAULT_NAMESPACE)
    return Identity(kind, str(namespace), metadata["name"])


def _unknown_kind(body: dict[str, Any], version: object, kind: object) -> Problem:
    identity = _identity(body, str(kind)) if isinstance(kind, str) else None
    versions = {k: v for v, k in BODIES}
    if isinstance(kind, str) and kind in versions:
        remedy = f"write apiVersion: {versions[kind]}"
        if not version:
            return Problem(identity, ("apiVersion",), "", "is missing", remedy)
        return Problem(identity, ("apiVersion",), _shown(version), f"is not known here for {kind}", remedy)
    close = difflib.get_close_matches(str(kind), versions, n=1, cutoff=0.6)
    remedy = f"did you mean {close[0]}?" if close else f"use one of {', '.join(sorted(versions))}"
    value, problem = (_shown(kind), "is not known here") if kind else ("", "is missing")
    return Problem(identity, ("kind",), value, problem, remedy)


def _nulls(value: Any, path: Path) -> Iterator[Path]:
    if value is None and len(path) > 1:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nulls(item, (*path, key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _nulls(item, (*path, n))


def _about(path: Path, nulls: list[Path]) -> bool:
    """Whether a problem at ``path`` only follows from a missing value, which is reported already."""
    return any(path[: len(null)] == null or null[: len(path)] == path for null in nulls)


def _without_metadata_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """``creationTimestamp: null`` and the like, which Kubernetes' own tools write."""
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return body
    return {**body, "metadata": {key: value for key, value in metadata.items() if value is not None}}


def _translated(error: ValidationError, model: type[Body], identity: Identity | None) -> Iterator[Problem]:
    secret = identity is not None and identity.kind == "Secret"
    for found in error.errors(include_url=False):
        path, context = tuple(found["loc"]), found.get("ctx", {})
        if found["type"] == "rules":
            for broken in context["broken"]:
                value = _shown(broken["value"])
                at = (*path, *steps(broken["field"]))
                yield Problem(identity, at, value, broken["problem"], broken["remedy"])
            continue
        if found["type"] == "too_short" and len(found["input"]) >= context["min_length"]:
            continue  # entries that are wrong themselves were not counted
        group, field = _declared(model, path)
        problem, remedy = _words(found["type"], context, found["input"], group, field, path)
        missing = found["type"] in ("missing", "extra_forbidden")
        value = "" if missing or secret else _shown(found["input"])
        yield Problem(identity, path, value, problem, remedy)


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _VALUE_CHARS else text[: _VALUE_CHARS - 1] + "…"


def _declared(model: type[Group], path: Path) -> tuple[type[Group], Shape | None]:
    """The group that holds the field at ``path``, and the field's shape if it has such a field."""
    group: type[Group] = model
    current: Shape | None = Shape(Kind.GROUP, group=model)
    for step in path:
        if current is None:
            break
        if isinstance(step, int) or current.kind is Kind.MAP:
            current = current.item
        elif current.group is not None:
            group = current.group
            current = next((s for name, _, s in shapes.fields(group) if name == step), None)
    return group, current


_TYPES = {
    "int_type": ("must be a whole number", "write digits without quotes"),
    "int_from_float": ("must be a whole number", "write digits without a fraction"),
    "float_type": ("must be a number", "write digits without quotes"),
    "bool_type": ("must be true or false", "write it without quotes"),
    "string_type": ("must be text", "put it in quotes"),
    "tuple_type": ("must be a list", "begin each entry with a hyphen"),
    "dict_type": ("must be a mapping", "write `name: value` lines below it"),
    "model_type": ("must be a mapping", "write `name: value` lines below it"),
}


def _words(
    kind: str, context: dict[str, Any], given: Any, group: type[Group], field: Shape | None, path: Path
) -> tuple[str, str]:
    """(problem, remedy) for one of the validator's own kinds of error."""
    if kind == "refused":
        return context["problem"], context["remedy"]
    if kind == "missing":
        return "is missing", _how_to_add(group, str(path[-1]))
    if kind == "extra_forbidden":
        return "is not a field", _nearest(str(path[-1]), [name for name, _, _ in shapes.fields(group)])
    if kind in _TYPES:
        return _TYPES[kind]
    if field is not None and field.kind is Kind.CHOICE:
        return f"must be one of {', '.join(filter(None, field.choices))}", _closest(given, field.choices)
    if field is not None and kind in ("greater_than_equal", "less_than_equal"):
        return _range(field)
    if field is not None and kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        return _length(field)
    return kind.replace("_", " "), "see docs/configuration.md"


def _how_to_add(group: type[Group], name: str) -> str:
    description = next((info.description or "" for n, info, _ in shapes.fields(group) if n == name), "")
    return f"add it: {description.split('. ')[0].rstrip('.')}" if description else "add it"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"remove it; known here: {', '.join(known)}" if known else "remove it"


def _closest(given: Any, choices: Iterable[str]) -> str:
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(given).lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[close[0]]}?" if close else "use one of these"


def _range(field: Shape) -> tuple[str, str]:
    remedy = field.remedy or "write a number in that range"
    if field.at_most is None:
        return f"must be at least {field.at_least}", remedy
    if field.at_least is None:
        return f"must be at most {field.at_most}", remedy
    return f"must be between {field.at_least} and {field.at_most}", remedy


def _length(field: Shape) -> tuple[str, str]:
    thing = "entries" if field.kind is Kind.LIST else "characters"
    most = field.max_length
    if most is None:
        return f"must have at least {field.min_length} {thing}", "add one"
    return f"must have between {field.min_length or 0} and {most} {thing}", "add or remove some"
