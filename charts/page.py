"""The tables of docs/install.md: the chart's values and the alerts.

A value's meaning is the comment above it in values.yaml, its default what
stands there, its type what values.schema.json says. Places on the page are
marked ``<!-- values -->`` and ``<!-- alerts -->``, each closed by ``<!-- end -->``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from charts import alerts
from ruamel.yaml import YAML

_PLACE = re.compile(r"(<!-- (values|alerts) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]+):(?: (?P<rest>.*))?")


class Value(NamedTuple):
    path: str
    default: object
    meaning: str


def values(text: str) -> Iterator[Value]:
    """The values of ``text``, which is values.yaml, in their order. Raises ``ValueError`` for a value
    without exactly one line of comment above it."""
    loaded = YAML(typ="safe", pure=True).load(text)
    path: list[str] = []
    comments: list[str] = []
    inside: int | None = None  # indentation of a value that goes on over lines
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comments.append(line.strip(" #"))
            inside = None
            continue
        found = _KEY.fullmatch(line)
        indent = len(line) - len(line.lstrip())
        if found is None or (inside is not None and indent > inside):
            if not line.strip():
                comments, inside = [], None
            continue
        path[indent // 2 :] = [found["key"]]
        default = _at(loaded, path)
        if found["rest"] is None and not comments:
            continue  # a group
        if len(comments) != 1:
            raise ValueError(f"{'.'.join(path)} has {len(comments)} lines of comment instead of one")
        yield Value(".".join(path), default, comments.pop())
        inside = indent


def _at(loaded: Any, path: list[str]) -> Any:
    for key in path:
        loaded = loaded[key]
    return loaded


def fill(page: str, values_text: str, schema: Mapping[str, Any]) -> str:
    """The page with every marked place up to date."""
    tables = {"values": lambda: _values(values_text, schema), "alerts": _alerts}
    return _PLACE.sub(lambda place: place[1] + "\n".join(tables[place[2]]()) + "\n" + place[4], page)


def _values(text: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "| value | type | default | meaning |", "|---|---|---|---|")
    for value in values(text):
        node = node_of(schema, value.path)
        yield f"| `{value.path}` | {_type(node)} | {_written(value.default)} | {_cell(value.meaning)} |"
    yield ""


def _alerts() -> Iterator[str]:
    yield from ("", "| alert | severity | when | what to do |", "|---|---|---|---|")
    for alert in alerts.alerts():
        lasting = "" if alert.lasting == "0m" else f" for {alert.lasting}"
        when = f"`{_cell(alert.expr)}`{lasting}"
        yield f"| `{alert.name}` | {alert.severity} | {when} | {_cell(alert.remedy)} |"
    yield ""


def node_of(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What the schema says of a value; ``KeyError`` when it knows none such."""
    node: Mapping[str, Any] = schema
    for key in path.split("."):
        node = _resolved(schema, node["properties"][key])
    return node


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        return _resolved(schema, schema["$defs"][node["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in node:  # empty, or something
        return _resolved(schema, node["anyOf"][-1])
    return node


def _type(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{choice}`" for choice in node["enum"])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    names = {"boolean": "true or false", "array": "list", "object": "mapping", "integer": "number"}
    return " or ".join(names.get(kind, "text" if kind == "string" else kind) for kind in kinds)


def _written(default: object) -> str:
    return (
        "" if default in ("", [], {}) else f"`{default if isinstance(default, str) else json.dumps(default)}`"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
