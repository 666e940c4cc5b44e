"""A group of fields → its structural schema, as a CustomResourceDefinition carries it.

Structural: every level says its type; no references, no titles, no unions
with null. Every default is given, that of a group whole: the API server
judges a default by the rules of its level as it is written, before it fills
in anything below.
"""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from waystation_operator.api import shape as shapes
from waystation_operator.api.group import Group
from waystation_operator.api.listener import Listener
from waystation_operator.api.pooloptions import Queue
from waystation_operator.api.shape import Kind, Shape
from waystation_operator.api.status import Condition, ListenerStatus, PodStatus

Schema = dict[str, Any]

# Lists whose entries the API server merges by a key, and refuses when the key is repeated.
LIST_KEYS: dict[type[Group], tuple[str, ...]] = {
    Listener: ("name",),
    Condition: ("type",),
    ListenerStatus: ("name",),
    PodStatus: ("ordinal",),
}

_SCALARS = {Kind.TEXT: "string", Kind.INTEGER: "integer", Kind.NUMBER: "number", Kind.FLAG: "boolean"}
_LENGTHS = {Kind.LIST: ("minItems", "maxItems"), Kind.TEXT: ("minLength", "maxLength")}


def object_schema(group: type[Group]) -> Schema:
    """The schema of a group: its fields, which of them are required, and its rules as CEL."""
    properties: Schema = {}
    required: list[str] = []
    for name, info, shape in shapes.fields(group):
        properties[name] = {"description": info.description} | _schema(shape)
        if info.is_required():
            required.append(name)
        elif (default := default_of(info, shape)) is not None:
            properties[name]["default"] = default
    if group is Queue:
        expression, message = Queue.SIZE_TRANSITION
        properties["size"]["x-kubernetes-validations"] = [{"rule": expression, "message": message}]
    schema: Schema = {"type": "object"}
    if properties:
        schema["properties"] = properties
    if required:
        schema["required"] = required
    if group.RULES:
        schema["x-kubernetes-validations"] = [
            {"rule": rule.cel, "message": rule.message} for rule in group.RULES
        ]
    return schema


def default_of(info: FieldInfo, shape: Shape) -> Any:
    """A field's default as it would be written; ``None`` where there is none, or nothing worth a line."""
    if shape.kind is Kind.GROUP:
        return None if shape.optional or shape.group is None else _all_defaults(shape.group)
    default = info.get_default(call_default_factory=True) if info.default_factory is None else {}
    if default is None or default is PydanticUndefined:
        return None
    if shape.wire is not None:
        return shape.wire.write(default)
    if shape.kind is Kind.LIST:
        return list(default)
    return str(default) if shape.kind is Kind.CHOICE else default


def _all_defaults(group: type[Group]) -> Schema:
    given = {name: default_of(info, shape) for name, info, shape in shapes.fields(group)}
    return {name: default for name, default in given.items() if default is not None}


def _schema(shape: Shape) -> Schema:
    match shape.kind:
        case Kind.GROUP:
            assert shape.group is not None
            return object_schema(shape.group)
        case Kind.LIST:
            assert shape.item is not None
            return {"type": "array", "items": _schema(shape.item)} | _list_keys(shape.item) | _bounds(shape)
        case Kind.MAP:
            assert shape.item is not None
            return {"type": "object", "additionalProperties": _schema(shape.item)}
        case Kind.CHOICE:
            return {"type": "string", "enum": list(shape.choices)}
        case Kind.WIRE:
            assert shape.wire is not None
            rules = [{"rule": rule, "message": message} for rule, message in shape.wire.cel]
            return dict(shape.wire.schema) | ({"x-kubernetes-validations": rules} if rules else {})
        case scalar:
            return {"type": _SCALARS[scalar]} | _bounds(shape)


def _list_keys(item: Shape) -> Schema:
    keys = LIST_KEYS.get(item.group) if item.group is not None else None
    if keys is None:
        return {"x-kubernetes-list-type": "atomic"}
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def _bounds(shape: Shape) -> Schema:
    least, most = _LENGTHS.get(shape.kind, ("", ""))
    given = {
        "minimum": shape.at_least,
        "maximum": shape.at_most,
        least: shape.min_length,
        most: shape.max_length,
    }
    return {name: bound for name, bound in given.items() if name and bound is not None}
