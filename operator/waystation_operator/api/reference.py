"""The field tables of ``docs/configuration.md``, made from the models.

The page is prose with marked places. ``<!-- fields of RelayPool -->`` is the
place of the fields directly below a kind's spec, ``<!-- fields of
RelayPool.queue -->`` that of everything in one of its groups, ``<!-- fields
of RelayPoolStatus -->`` that of its whole status. ``fill`` writes each table
into its place and leaves the rest alone.
"""

import json
import re
from collections.abc import Iterator

from waystation_operator.api import shape as shapes
from waystation_operator.api.group import Group
from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.api.relaypool import RelayPoolSpec
from waystation_operator.api.schema import default_of
from waystation_operator.api.shape import Kind, Shape
from waystation_operator.api.status import MailRouteStatus, RelayPoolStatus

_PLACE = re.compile(r"(<!-- fields of ([\w.]+) -->\n).*?(<!-- end of fields -->)", re.DOTALL)
_SPECS: dict[str, type[Group]] = {"RelayPool": RelayPoolSpec, "MailRoute": MailRouteSpec}
_STATUSES: dict[str, type[Group]] = {"RelayPoolStatus": RelayPoolStatus, "MailRouteStatus": MailRouteStatus}
_TYPES = {
    Kind.TEXT: "text",
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.FLAG: "true or false",
    Kind.GROUP: "group",
}


def places() -> list[str]:
    """Everything a complete page has a place for, in the order of the fields."""
    found: list[str] = []
    for kind, spec in _SPECS.items():
        groups = [name for name, _, shape in shapes.fields(spec) if _inner(shape) is not None]
        found += [kind, *(f"{kind}.{name}" for name in groups)]
    return [*found, *_STATUSES]


def fill(page: str) -> str:
    """The page with every marked place up to date. ``KeyError`` for a place of something unknown."""
    return _PLACE.sub(lambda place: place[1] + _section(place[2]) + place[3], page)


def _section(place: str) -> str:
    kind, _, name = place.partition(".")
    if kind in _STATUSES:
        lines = ["", "| field | type | meaning |", "|---|---|---|", *_status_rows(_STATUSES[kind], "status")]
        return "\n".join(lines) + "\n\n"
    spec = _SPECS[kind]
    if not name:
        return _table(list(_rows(spec, "spec", deep=False)), list(_refusals(spec, "spec", deep=False)))
    shape = {field: shape for field, _, shape in shapes.fields(spec)}[name]
    inner = _inner(shape)
    assert inner is not None, place
    prefix = f"spec.{name}{_brackets(shape)}"
    return _table(list(_rows(inner, prefix, deep=True)), list(_refusals(inner, prefix, deep=True)))


def _table(rows: list[str], refusals: list[str]) -> str:
    lines = ["", "| field | type | default | meaning |", "|---|---|---|---|", *rows]
    if refusals:
        lines += ["", "Refused besides:", "", *refusals]
    return "\n".join(lines) + "\n\n"


def _rows(group: type[Group], prefix: str, *, deep: bool) -> Iterator[str]:
    for name, info, shape in shapes.fields(group):
        field = f"{prefix}.{name}{_brackets(shape)}"
        default = None if shape.kind is Kind.GROUP else default_of(info, shape)
        given = "required" if info.is_required() else _written(default)
        cells = (f"`{field}`", _type(shape), given, info.description or "")
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        inner = _inner(shape)
        if deep and inner is not None:
            yield from _rows(inner, field, deep=True)


def _status_rows(group: type[Group], prefix: str) -> Iterator[str]:
    """Without defaults, since nobody writes a status."""
    for name, info, shape in shapes.fields(group):
        field = f"{prefix}.{name}{_brackets(shape)}"
        yield f"| `{field}` | {_type(shape)} | {info.description or ''} |"
        inner = _inner(shape)
        if inner is not None:
            yield from _status_rows(inner, field)


def _written(default: object) -> str:
    """A default as one would write it in YAML; nothing for what is empty."""
    if default is None or default in ("", {}, []):
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _refusals(group: type[Group], prefix: str, *, deep: bool) -> Iterator[str]:
    for rule in group.RULES:
        yield f"- `{prefix}`: {rule.message}"
    for name, _, shape in shapes.fields(group):
        inner = _inner(shape)
        if deep and inner is not None:
            yield from _refusals(inner, f"{prefix}.{name}{_brackets(shape)}", deep=True)


def _inner(shape: Shape) -> type[Group] | None:
    return shape.item.group if shape.kind is Kind.LIST and shape.item is not None else shape.group


def _brackets(shape: Shape) -> str:
    return "[]" if shape.kind is Kind.LIST else ""


def _type(shape: Shape) -> str:
    match shape.kind:
        case Kind.LIST:
            assert shape.item is not None
            most = f", at most {shape.max_length}" if shape.max_length else ""
            return f"list: {_type(shape.item)}{most}"
        case Kind.MAP:
            assert shape.item is not None
            return f"mapping to {_type(shape.item)}"
        case Kind.CHOICE:
            return ", ".join(f"`{choice}`" for choice in shape.choices if choice)
        case Kind.WIRE:
            assert shape.wire is not None
            return shape.wire.name
        case kind:
            return _TYPES[kind] + _range(shape)


def _range(shape: Shape) -> str:
    if shape.at_least is None or shape.at_most is None:
        return ""
    return f" from {shape.at_least} to {shape.at_most}"
