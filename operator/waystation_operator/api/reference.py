"""The field tables of ``docs/configuration.md``, made from the models.

The page is prose with marked places; ``fill`` writes into each place the
table that belongs there and leaves the rest alone.
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

_PLACE = re.compile(r"(<!-- fields of (\w+) -->\n).*?(<!-- end of fields -->)", re.DOTALL)
_SPECS: dict[str, type[Group]] = {"RelayPool": RelayPoolSpec, "MailRoute": MailRouteSpec}
_TYPES = {
    Kind.TEXT: "text",
    Kind.INTEGER: "integer",
    Kind.NUMBER: "number",
    Kind.FLAG: "true or false",
    Kind.GROUP: "group",
}


def fill(page: str) -> str:
    """The page with every marked place up to date."""
    return _PLACE.sub(lambda place: place[1] + _tables(_SPECS[place[2]]) + place[3], page)


def _tables(spec: type[Group]) -> str:
    lines = ["", "| field | type | default | meaning |", "|---|---|---|---|", *_rows(spec, "spec")]
    checks = list(_checks(spec, "spec"))
    if checks:
        lines += ["", "Checked besides:", "", *checks]
    return "\n".join(lines) + "\n\n"


def _rows(group: type[Group], prefix: str) -> Iterator[str]:
    for name, info, shape in shapes.fields(group):
        field = f"{prefix}.{name}"
        default = None if shape.kind is Kind.GROUP else default_of(info, shape)
        given = (
            "required" if info.is_required() else "" if default in (None, {}) else f"`{json.dumps(default)}`"
        )
        cells = (
            f"`{field}{'[]' if shape.kind is Kind.LIST else ''}`",
            _type(shape),
            given,
            info.description or "",
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        inner, at = _inner(shape, field)
        if inner is not None:
            yield from _rows(inner, at)


def _checks(group: type[Group], prefix: str) -> Iterator[str]:
    for rule in group.RULES:
        yield f"- `{prefix}`: {rule.message}. `{rule.cel}`"
    for name, _, shape in shapes.fields(group):
        inner, at = _inner(shape, f"{prefix}.{name}")
        if inner is not None:
            yield from _checks(inner, at)


def _inner(shape: Shape, field: str) -> tuple[type[Group] | None, str]:
    if shape.kind is Kind.LIST and shape.item is not None:
        return shape.item.group, f"{field}[]"
    return shape.group, field


def _type(shape: Shape) -> str:
    match shape.kind:
        case Kind.LIST:
            assert shape.item is not None
            return f"list of {_type(shape.item)}" + (
                f", at most {shape.max_length}" if shape.max_length else ""
            )
        case Kind.MAP:
            assert shape.item is not None
            return f"mapping to {_type(shape.item)}"
        case Kind.CHOICE:
            return " \\| ".join(f"`{choice}`" for choice in shape.choices if choice)
        case Kind.WIRE:
            assert shape.wire is not None
            return shape.wire.name
        case kind:
            return _TYPES[kind] + _range(shape)


def _range(shape: Shape) -> str:
    if shape.at_least is None or shape.at_most is None:
        return ""
    return f", {shape.at_least:,} to {shape.at_most:,}".replace(",", " ").replace("  ", ", ", 1)
