"""docs/durability.md against the tests: what it says is proven is proven by a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")


def functions(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_proof_exists() -> None:
    """Each test that the page names is a file, or a function in it."""
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 10
    assert [
        f"{path}::{function}"
        for path, function in named
        if not (ROOT / path).is_file() or (function and function not in functions(ROOT / path))
    ] == []
    promises = set(re.findall(r"^(\d)\. \*\*", PAGE, re.MULTILINE))
    proven = set(re.findall(r"\d", " ".join(re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE))))
    assert promises == proven


def test_every_file_of_these_tests_is_in_the_page() -> None:
    """Nothing is proven that the page does not tell of; how the tests themselves are tested is no promise."""
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert {name for name in files if name not in PAGE} == {
        "test_shim.py",
        "test_disk.py",
        "test_document.py",
    }
