"""What a Kubernetes API server does with a custom resource: fill in defaults, check the schema, evaluate CEL.

A model of the parts of the structural schema that our definitions use, so
that what the definitions say can be held against what the models say. An
unknown keyword of the schema is an error here: nothing is passed over.
"""

import copy
import ipaddress
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from cel_expr_python import cel

Schema = dict[str, Any]

KEYWORDS = {
    "description", "type", "format", "properties", "required", "additionalProperties", "items", "default",
    "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def admit(spec: Any, schema: Schema) -> tuple[Any, list[str]]:
    """The spec as it would be stored, and why it would not be. ``schema`` is that of the spec."""
    stored = copy.deepcopy(spec)
    fill_in(stored, schema)
    errors = list(shape_errors(stored, schema, "spec"))
    return stored, errors or list(rule_errors(stored, schema, "spec"))


def fill_in(value: Any, schema: Schema) -> None:
    """Defaults, from the outside in."""
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            if name not in value and "default" in below:
                value[name] = copy.deepcopy(below["default"])
            if name in value:
                fill_in(value[name], below)
    elif isinstance(value, list):
        for item in value:
            fill_in(item, schema.get("items", {}))


def shape_errors(value: Any, schema: Schema, at: str) -> Iterator[str]:
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield f"{at}: must be an integer or text"
        elif isinstance(value, str):
            yield from _bounds(value, schema, at)
        return
    if "type" in schema:
        expected = _TYPES[schema["type"]]
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            yield f"{at}: must be of type {schema['type']}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    yield from _bounds(value, schema, at)
    if isinstance(value, dict):
        yield from _fields(value, schema, at)
    elif isinstance(value, list):
        yield from _items(value, schema, at)


def _bounds(value: Any, schema: Schema, at: str) -> Iterator[str]:
    size = len(value) if isinstance(value, str | list) else value
    for least, most in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        if least in schema and size < schema[least]:
            yield f"{at}: {value!r} is below {least} {schema[least]}"
        if most in schema and size > schema[most]:
            yield f"{at}: {value!r} is above {most} {schema[most]}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{at}: {value!r} does not match {schema['pattern']}"


def _fields(value: dict[str, Any], schema: Schema, at: str) -> Iterator[str]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    opaque = schema.get("x-kubernetes-preserve-unknown-fields")
    for name in schema.get("required", []):
        if name not in value:
            yield f"{at}.{name}: is required"
    for name, item in value.items():
        if name in properties:
            yield from shape_errors(item, properties[name], f"{at}.{name}")
        elif others:
            yield from shape_errors(item, others, f"{at}.{name}")
        elif not opaque:
            yield f"{at}.{name}: unknown field"


def _items(value: list[Any], schema: Schema, at: str) -> Iterator[str]:
    keys = schema.get("x-kubernetes-list-map-keys", [])
    seen: list[tuple[Any, ...]] = []
    for n, item in enumerate(value):
        yield from shape_errors(item, schema["items"], f"{at}[{n}]")
        key = tuple(item.get(k) for k in keys) if keys and isinstance(item, dict) else None
        if key is not None and key in seen:
            yield f"{at}[{n}]: duplicate value {key}"
        elif key is not None:
            seen.append(key)


def rules(schema: Schema, at: str = "") -> Iterator[tuple[str, str, str]]:
    """Every CEL rule below: where, expression, message."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield at, rule["rule"], rule["message"]
    for name, below in schema.get("properties", {}).items():
        yield from rules(below, f"{at}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from rules(schema[keyword], f"{at}[]")


def rule_errors(value: Any, schema: Schema, at: str) -> Iterator[str]:
    """What CEL says of one stored object. Rules about an earlier one (oldSelf) have nothing to compare."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"] and evaluate(rule["rule"], value) is not True:
            yield f"{at}: {rule['message']}"
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from rule_errors(value[name], below, f"{at}.{name}")
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from rule_errors(item, schema["items"], f"{at}[{n}]")


def evaluate(expression: str, value: Any, old: Any = None) -> Any:
    if expression not in _compiled:
        _compiled[expression] = _environment.compile(expression)
    return _compiled[expression].eval(data={"self": value, "oldSelf": old}).plain_value()


# Kubernetes' additions to CEL, those that our rules call.


def _is_cidr(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.version == 4 or network.network_address.ipv4_mapped is None


def _masked(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _canonical(text: str) -> str:
    return str(ipaddress.ip_interface(text))


def _quantity(text: str) -> int:
    number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()  # type: ignore[union-attr]
    power = "kMGTP".find(suffix[:1].replace("K", "k")) + 1 if suffix else 0
    size = Decimal(number) * (1024 if suffix.endswith("i") else 1000) ** power
    return int(min(size, Decimal(2**62)))  # a CEL integer has 64 bits, a Kubernetes quantity any number


def _function(name: str, parameters: list[Any], result: Any, implementation: Any, *, member: bool) -> Any:
    overload = cel.Overload(f"{name}_ours", result, parameters, member, implementation)
    return cel.FunctionDecl(name, [overload])


_TEXT, _INT = cel.Type.STRING, cel.Type.INT
_environment = cel.NewEnv(
    variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
    functions=[
        _function("isCIDR", [_TEXT], cel.Type.BOOL, _is_cidr, member=False),
        _function("cidr", [_TEXT], _TEXT, _canonical, member=False),
        _function("masked", [_TEXT], _TEXT, _masked, member=True),
        _function("quantity", [_TEXT], _INT, _quantity, member=False),
        _function("compareTo", [_INT, _INT], _INT, lambda a, b: (a > b) - (a < b), member=True),
        _function("find", [_TEXT, _TEXT], _TEXT, lambda s, p: (re.search(p, s) or [""])[0], member=True),
        _function(
            "findAll", [_TEXT, _TEXT], cel.Type.List(_TEXT), lambda s, p: re.findall(p, s), member=True
        ),
        _function("sum", [cel.Type.List(_INT)], _INT, sum, member=True),
    ],
)
_compiled: dict[str, Any] = {}
