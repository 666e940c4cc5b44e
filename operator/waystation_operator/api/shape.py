"""The shape of a field, read off its annotation once, for everything that is made from the models.

The CRD's schema, the field tables of the documentation and the wording of
errors all ask the same few questions of a field: is it a group, a list, a
map or a scalar; which values does it take; may it be absent.
"""

import enum
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

import annotated_types
from pydantic.fields import FieldInfo

from waystation_operator.api.group import Group
from waystation_operator.api.wire import Remedy, Wire


class Kind(enum.Enum):
    GROUP = enum.auto()
    LIST = enum.auto()
    MAP = enum.auto()
    WIRE = enum.auto()  # text with a form of its own
    TEXT = enum.auto()
    INTEGER = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()
    CHOICE = enum.auto()


_SCALARS = {str: Kind.TEXT, int: Kind.INTEGER, float: Kind.NUMBER, bool: Kind.FLAG}


@dataclass(frozen=True, slots=True)
class Shape:
    kind: Kind
    optional: bool = False
    group: type[Group] | None = None
    item: "Shape | None" = None
    choices: tuple[str, ...] = ()
    wire: Wire | None = None
    remedy: str = ""
    at_least: float | None = None
    at_most: float | None = None
    min_length: int | None = None
    max_length: int | None = None


def of(annotation: Any, metadata: tuple[Any, ...] = ()) -> Shape:
    """The shape of a type with its ``Annotated`` metadata."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return of(args[0], (*args[1:], *metadata))
    if origin in (types.UnionType, typing.Union):
        (given,) = (x for x in args if x is not types.NoneType)
        inner = of(given, metadata)
        return replace(inner, optional=True)
    return _bounded(_plain(annotation, origin, args), _flat(metadata))


def of_field(info: FieldInfo) -> Shape:
    return of(info.annotation, tuple(info.metadata))


def fields(group: type[Group]) -> Iterator[tuple[str, FieldInfo, Shape]]:
    """Each field's wire name, its declaration and its shape, in the order of the source."""
    for info in group.model_fields.values():
        assert info.alias is not None  # the alias generator names every field
        yield info.alias, info, of_field(info)


def _plain(annotation: Any, origin: Any, args: tuple[Any, ...]) -> Shape:
    if origin is tuple:
        return Shape(Kind.LIST, item=of(args[0]))
    if origin is dict:
        return Shape(Kind.MAP, item=of(args[1]))
    if origin is Literal:
        return Shape(Kind.CHOICE, choices=args)
    if isinstance(annotation, type) and issubclass(annotation, Group):
        return Shape(Kind.GROUP, group=annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.StrEnum):
        return Shape(Kind.CHOICE, choices=tuple(member.value for member in annotation))
    return Shape(_SCALARS.get(annotation, Kind.WIRE))


def _flat(metadata: tuple[Any, ...]) -> Iterator[Any]:
    """``Field(ge=…, le=…)`` inside ``Annotated`` arrives as one object holding its own metadata."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _bounded(shape: Shape, metadata: Iterator[Any]) -> Shape:
    for item in metadata:
        match item:
            case Wire():
                shape = replace(shape, kind=Kind.WIRE, wire=item)
            case Remedy():
                shape = replace(shape, remedy=item.text)
            case annotated_types.Ge():
                shape = replace(shape, at_least=cast("float", item.ge))
            case annotated_types.Le():
                shape = replace(shape, at_most=cast("float", item.le))
            case annotated_types.MinLen():
                shape = replace(shape, min_length=item.min_length)
            case annotated_types.MaxLen():
                shape = replace(shape, max_length=item.max_length)
            case _:
                pass  # validators: they judge, they do not describe
    return shape
