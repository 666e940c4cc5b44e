"""Every limit of the schema, met and passed by one, on a real API server.

The cases are made from the definitions: each field with a range, length,
count, choice, form or type is set to the last value that is allowed and to the
first that is not. Only what is said of that very field counts here; whether
the object makes sense as a whole is the rules' business.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.api.specs import spec_schema
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource

Schema = dict[str, Any]
# The parts that the smallest object has not, as they are written to be reached.
EXAMPLES: dict[str, Any] = {
    "string": "a",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
}


@dataclass(frozen=True, slots=True)
class Case:
    kind: str
    way: tuple[Any, ...]
    limit: str
    allowed: tuple[Any, ...]
    refused: tuple[Any, ...]
    says: str

    @property
    def title(self) -> str:
        return f"{self.kind} {field_name(self.way)} {self.limit}"


def field_name(way: tuple[Any, ...]) -> str:
    """As the API server names it: ``spec.listeners[0].port``."""
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)


def cases(kind: str, schema: Schema, way: tuple[Any, ...] = ()) -> Iterator[Case]:
    for limit, allowed, refused, says in limits(schema):
        yield Case(kind, way, limit, tuple(allowed), tuple(refused), says)
    for name, below in schema.get("properties", {}).items():
        yield from cases(kind, below, (*way, name))
    if "items" in schema:
        yield from cases(kind, schema["items"], (*way, 0))


def limits(schema: Schema) -> Iterator[tuple[str, list[Any], list[Any], str]]:
    """(limit, what it allows, what it refuses, a part of what is said) of one field."""
    if "minimum" in schema:
        low = schema["minimum"]
        yield f"at least {low}", [low], [low - 1], "should be greater than or equal to"
    if "maximum" in schema:
        high = schema["maximum"]
        yield f"at most {high}", [high], [high + 1], "should be less than or equal to"
    if "enum" in schema:
        yield "choice", schema["enum"], ["nonsense"], "Unsupported value"
    if schema.get("minLength"):
        yield "not empty", ["a" * schema["minLength"]], [""], "should be at least"
    if "maxLength" in schema:
        most = schema["maxLength"]
        yield f"at most {most} characters", ["a" * most], ["a" * (most + 1)], "may not be more than"
    if "pattern" in schema:
        yield "form", [], ["\t"], "should match"
    if "minItems" in schema:
        yield "not no entries", [], [[]], "should have at least"
    if "maxItems" in schema:
        most, one = schema["maxItems"], example(schema["items"])
        yield f"at most {most} entries", [[one] * most], [[one] * (most + 1)], "must have at most"
    if "type" in schema:
        wrong = 5 if schema["type"] == "string" else "text"
        yield f"is a {schema['type']}", [], [wrong], "must be of type"


def example(schema: Schema) -> Any:
    """Something of the schema's type, with what is required in it."""
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [example(schema["items"])]
    if schema.get("type") == "object":
        needed = schema.get("required", ())
        return {
            name: example(below) for name, below in schema.get("properties", {}).items() if name in needed
        }
    return EXAMPLES.get(schema.get("type", ""), 1)


def put(spec: Any, schema: Schema, way: tuple[Any, ...], value: Any) -> None:
    """Set one field, making what is above it where it is missing."""
    for n, step in enumerate(way):
        if n == len(way) - 1:
            if isinstance(step, int) and not spec:
                spec.append(value)
            else:
                spec[step] = value
            return
        schema = schema["items"] if isinstance(step, int) else schema["properties"][step]
        if isinstance(step, int) and not spec:
            spec.append(example(schema))
        elif not isinstance(step, int) and step not in spec:
            spec[step] = example(schema)
        spec = spec[step]


ALL = [case for kind in ("RelayPool", "MailRoute") for case in cases(kind, spec_schema(kind)) if case.way]


def about_the_limit(api: Api, namespace: str, case: Case, value: Any) -> list[str]:
    body = resource(case.kind)
    put(body["spec"], spec_schema(case.kind), case.way, value)
    return [said for said in api.create(body, namespace).about(field_name(case.way)) if case.says in said]


@pytest.mark.parametrize("case", ALL, ids=[case.title for case in ALL])
def test_limit_is_where_it_is_documented(api: Api, namespace: str, case: Case) -> None:
    """The last allowed value is taken, the next is refused by the field's name."""
    for value in case.allowed:
        assert about_the_limit(api, namespace, case, value) == [], value
    for value in case.refused:
        assert about_the_limit(api, namespace, case, value) != [], value


def required(schema: Schema, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for name in schema.get("required", ()):
        yield (*way, name)
    for name, below in schema.get("properties", {}).items():
        yield from required(below, (*way, name))
    if "items" in schema:
        yield from required(schema["items"], (*way, 0))


REQUIRED = [(kind, way) for kind in ("RelayPool", "MailRoute") for way in required(spec_schema(kind))]


@pytest.mark.parametrize(
    ("kind", "way"), REQUIRED, ids=[f"{kind} {field_name(way)}" for kind, way in REQUIRED]
)
def test_required_field_cannot_be_left_out(api: Api, namespace: str, kind: str, way: tuple[Any, ...]) -> None:
    """What has no default must be written."""
    body = resource(kind)
    put(body["spec"], spec_schema(kind), way, None)
    without = body["spec"]
    for step in way[:-1]:
        without = without[step]
    del without[way[-1]]
    assert api.create(body, namespace).about(field_name(way)) == ["Required value"]
    assert "Required value" not in api.create(resource(kind), namespace).about(field_name(way))


def test_there_is_something_to_test() -> None:
    """The walk over the definitions found fields of all kinds."""
    assert len(ALL) > 200
    assert len(REQUIRED) > 8
