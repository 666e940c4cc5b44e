"""The resource definitions: written from the models, structural, and with defaults that mean the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.api import apiserver
from tests.api.specs import POOL, SPECS, parsed, schema, spec_schema

from waystation_operator.api import crds
from waystation_operator.api.objects import API_VERSION
from waystation_operator.api.parse import parse
from waystation_operator.cli import generate

ROOT = Path(__file__).parents[2]
KINDS = ["RelayPool", "MailRoute"]
DEFINITIONS = {"RelayPool": crds.relay_pool, "MailRoute": crds.mail_route}

Node = tuple[str, dict[str, Any]]


def nodes(at: str, node: dict[str, Any]) -> Iterator[Node]:
    """Every level of a schema, with its place."""
    yield at, node
    for name, below in node.get("properties", {}).items():
        yield from nodes(f"{at}.{name}", below)
    for keyword in ("items", "additionalProperties"):
        if keyword in node:
            yield from nodes(f"{at}[]", node[keyword])


def every_node() -> list[Any]:
    found = [(kind, at, node) for kind in KINDS for at, node in nodes("spec", spec_schema(kind))]
    return [pytest.param(kind, at, node, id=f"{kind}.{at}") for kind, at, node in found]


def test_files_are_up_to_date() -> None:
    """crds/ says what the models say; `python -m waystation_operator.cli.generate` writes it."""
    texts = crds.crds()
    assert sorted(path.name for path in (ROOT / "crds").iterdir()) == sorted(texts)
    for name, text in texts.items():
        assert (ROOT / "crds" / name).read_text(encoding="utf-8") == text


def test_generate_notices_a_stale_file(tmp_path: Path) -> None:
    """`generate --check` compares with what would be written, and says which file differs."""
    from click.testing import CliRunner

    (tmp_path / "crds").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "configuration.md").write_text("")
    (tmp_path / "docs" / "conditions.md").write_text("")
    arguments = ["--tree", str(tmp_path)]
    assert CliRunner().invoke(generate.command, [*arguments, "--check"]).exit_code == 1
    assert CliRunner().invoke(generate.command, arguments).exit_code == 0
    assert CliRunner().invoke(generate.command, [*arguments, "--check"]).output == ""
    (tmp_path / "crds" / "mailroutes.yaml").write_text("kind: Other\n")
    run = CliRunner().invoke(generate.command, [*arguments, "--check"])
    assert run.exit_code == 1
    assert "crds/mailroutes.yaml: out of date" in run.output


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_the_definition(kind: str) -> None:
    """The YAML in crds/ reads as the very definition: no value changes its type on the way."""
    body = DEFINITIONS[kind]()
    text = crds.crds()[f"{kind.lower()}s.yaml"]
    assert YAML(typ="safe", pure=True).load(text) == body


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_structural(kind: str) -> None:
    """Every level says its type and nothing the API server would refuse (KEP-1979's rules)."""
    for at, node in nodes("", schema(kind)):
        assert set(node) <= apiserver.KEYWORDS, at
        untyped = node.get("x-kubernetes-int-or-string")
        assert untyped or "type" in node, at
        assert not ("properties" in node and "additionalProperties" in node), at
        assert ("items" in node) == (node.get("type") == "array"), at
        assert set(node.get("required", ())) <= set(node.get("properties", ())), at
        for key in node.get("x-kubernetes-list-map-keys", ()):
            below = node["items"]["properties"][key]
            assert key in node["items"]["required"] or "default" in below, at


@pytest.mark.parametrize(("kind", "at", "node"), every_node())
def test_what_rules_may_read_has_a_bound(kind: str, at: str, node: dict[str, Any]) -> None:
    """The API server refuses a rule whose worst case costs too much: lists and texts have a longest."""
    if node.get("type") == "array":
        assert "maxItems" in node
    if node.get("type") == "string" and not at.endswith("[]"):
        assert "maxLength" in node or "enum" in node


@pytest.mark.parametrize(("kind", "at", "node"), every_node())
def test_default_is_valid_as_it_stands(kind: str, at: str, node: dict[str, Any]) -> None:
    """The API server judges a default by the rules of its level before it fills in what is below."""
    if "default" in node:
        assert list(apiserver.shape_errors(node["default"], node, at)) == []
        assert list(apiserver.rule_errors(node["default"], node, at)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_the_models_own(kind: str) -> None:
    """What the API server fills in is what we would have taken anyway; every field ends up written out."""
    stored, errors = apiserver.admit(SPECS[kind], spec_schema(kind))
    assert errors == []
    assert stored != SPECS[kind]
    assert parsed(kind, stored) == parsed(kind, SPECS[kind])
    assert parsed(kind, stored)[1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_columns_show_fields_that_exist(kind: str) -> None:
    """Each printer column reads a field of the schema, of the column's type."""
    version = DEFINITIONS[kind]()["spec"]["versions"][0]
    names = [column["name"] for column in version["additionalPrinterColumns"]]
    assert len(set(names)) == len(names)
    for column in version["additionalPrinterColumns"]:
        if column["jsonPath"].startswith(".metadata"):
            continue
        node = schema(kind)
        for step in column["jsonPath"].replace('[?(@.type=="', "[").replace('")]', "]").strip(".").split("."):
            name, _, index = step.partition("[")
            node = node["properties"][name]
            if index:
                node = node["items"]
        assert column["type"] in (node["type"], "date" if node.get("format") == "date-time" else "")


def test_pool_scales() -> None:
    """`kubectl scale` and autoscalers find the desired and the present number, and the pods' selector."""
    scale = crds.relay_pool()["spec"]["versions"][0]["subresources"]["scale"]
    for path, kind in (
        (scale["specReplicasPath"], "integer"),
        (scale["statusReplicasPath"], "integer"),
        (scale["labelSelectorPath"], "string"),
    ):
        _, part, field = path.split(".")
        assert schema("RelayPool")["properties"][part]["properties"][field]["type"] == kind


@pytest.mark.parametrize(
    ("name", "good"),
    [("outbound", True), ("a" * 52, True), ("a" * 53, False), ("out.bound", False), ("out-", False)],
)
def test_pool_names(name: str, good: bool) -> None:
    """A pool's name becomes part of labels, so it is shorter than other objects' names; both sides say so."""
    whole = {"metadata": {"name": name}}
    rules = schema("RelayPool")["x-kubernetes-validations"]
    assert all(apiserver.evaluate(rule["rule"], whole) is good for rule in rules)
    body = {"apiVersion": API_VERSION, "kind": "RelayPool", "metadata": {"name": name}, "spec": POOL}
    assert (parse(body)[1] == []) is good


@pytest.mark.parametrize(("kind", "short"), [("RelayPool", "rp"), ("MailRoute", "mr")])
def test_names(kind: str, short: str) -> None:
    """Both kinds are listed by `kubectl get mail`, have a short name, and a status that only we write."""
    body = DEFINITIONS[kind]()
    assert body["metadata"]["name"] == f"{kind.lower()}s.waystation.dev"
    assert body["spec"]["names"]["shortNames"] == [short]
    assert body["spec"]["names"]["categories"] == ["mail"]
    assert body["spec"]["scope"] == "Namespaced"
    assert body["spec"]["versions"][0]["subresources"]["status"] == {}
