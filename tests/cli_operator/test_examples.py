"""What people copy from the documentation is right: every example passes `waystation check`."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.api.specs import SPECS, parsed

from waystation_operator.api.parse import parse
from waystation_operator.api.yamltext import read
from waystation_operator.cli.check import command

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FILES = sorted([*ROOT.glob("docs/examples/*.yaml"), *ROOT.glob("demo/*.yaml")])


def blocks() -> list[Any]:
    """The YAML blocks of the documentation that are about our resources, by page and line."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            if re.match("(apiVersion|spec):", block[1]):
                line = text.count("\n", 0, block.start()) + 2
                found.append(pytest.param(block[1], id=f"{page.relative_to(ROOT).as_posix()}:{line}"))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_example_file(file: Path) -> None:
    """A file to copy is valid by itself, and there is nothing to notice about it."""
    run = CliRunner().invoke(command, [str(file)])
    assert (run.exit_code, run.stderr) == (0, "")


def test_every_example_file_is_named_on_the_page() -> None:
    """docs/configuration.md links to each of them, so that they are found."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for file in FILES:
        if file.parent.name == "examples":
            assert f"(examples/{file.name})" in page


@pytest.mark.parametrize("text", blocks())
def test_example_block(text: str) -> None:
    """Whole resources are checked as they are; a `spec:` by itself is checked within a valid one."""
    if "kind: RelayPool" in text:
        run = CliRunner().invoke(command, ["-"], input=text)
        assert [line for line in run.stderr.splitlines() if not line.startswith("notice:")] == []
        return
    (source,), problems = read(text, "block")
    assert problems == []
    if "kind" in source.body:
        assert parse(source.body)[1] == []
        return
    spec = source.body["spec"]
    kind = "MailRoute" if {"backends", "match", "parentRefs"} & set(spec) else "RelayPool"
    assert parsed(kind, SPECS[kind] | spec)[1] == []


def test_there_are_examples() -> None:
    """These tests must not pass for want of anything to test."""
    assert len(FILES) >= 5
    assert len(blocks()) >= 3
