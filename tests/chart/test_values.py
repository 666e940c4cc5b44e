"""values.yaml and values.schema.json know the same values, and each is explained."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from charts import alerts, page

CHART = Path(__file__).parents[2] / "charts" / "waystation"
TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = {value.path: value for value in page.values(TEXT)}
# Kubernetes' own types, which the chart passes on as they are; and what a chart above this one shares.
NOT_OURS = {"global", "valueFrom", "claims", "labelSelector", "ipBlock", "namespaceSelector", "podSelector",
    "nodeAffinity", "podAffinity", "podAntiAffinity"}  # fmt: skip

Node = Mapping[str, Any]


def groups(node: Node, path: str = "") -> Iterator[str]:
    """The values that the schema knows, down to those that values.yaml gives a default as a whole."""
    for name in node.get("properties", {}):
        where = f"{path}{name}"
        resolved = page.node_of(SCHEMA, where)
        if where in VALUES or not resolved.get("properties"):
            yield where
        else:
            yield from groups(resolved, f"{where}.")


def objects(at: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Every object that the schema describes, with its place."""
    if node.get("type") == "object":
        yield at, node
    for name, below in {**node.get("properties", {}), **node.get("$defs", {})}.items():
        yield from objects(f"{at}.{name}", below)
    for keyword in ("items", "additionalProperties"):
        if isinstance(node.get(keyword), dict):
            yield from objects(f"{at}[]", node[keyword])


def test_the_same_values() -> None:
    """The schema refuses what values.yaml does not explain, and the other way round."""
    assert set(groups(SCHEMA)) - {"global"} == set(VALUES)


@pytest.mark.parametrize(("at", "node"), [pytest.param(*found, id=found[0]) for found in objects("", SCHEMA)])
def test_a_misspelt_key_is_refused(at: str, node: Node) -> None:
    """Each mapping has a list of its keys, or a type for what may be called anything."""
    assert "additionalProperties" in node or at.rpartition(".")[2].removesuffix("[]") in NOT_OURS


@pytest.mark.parametrize("value", VALUES.values(), ids=lambda value: value.path)
def test_default_is_of_its_type(value: page.Value) -> None:
    """A default that the schema would refuse is a release that cannot be installed."""
    kinds = {
        "string": str,
        "boolean": bool,
        "integer": int,
        "array": list,
        "object": dict,
        "null": type(None),
    }
    node = page.node_of(SCHEMA, value.path)
    if "enum" in node:
        assert value.default in node["enum"]
        return
    allowed = node["type"] if isinstance(node["type"], list) else [node["type"]]
    assert type(value.default) in [kinds[kind] for kind in allowed]


@pytest.mark.parametrize("value", VALUES.values(), ids=lambda value: value.path)
def test_value_is_explained_in_a_line(value: page.Value) -> None:
    """The comment above a value is a sentence."""
    assert value.meaning.endswith(".")
    assert len(value.meaning) < 160


def test_an_unexplained_value_is_noticed() -> None:
    """A value without its line of comment does not get into the table silently."""
    with pytest.raises(ValueError, match=r"operator\.colour has 0 lines"):
        list(page.values("operator:\n  colour: red\n"))


def test_values_over_several_lines_are_one() -> None:
    """What stands below a value belongs to it."""
    text = "# What it may use.\nresources:\n  requests: {cpu: 1}\n# Next.\nnext: []\n"
    assert [(value.path, value.default) for value in page.values(text)] == [
        ("resources", {"requests": {"cpu": 1}}),
        ("next", []),
    ]


def test_alerts_that_can_be_left_out() -> None:
    """The schema knows the alerts by name, so that a misspelt one is not left in."""
    assert SCHEMA["$defs"]["alert"]["enum"] == [alert.name for alert in alerts.alerts()]
