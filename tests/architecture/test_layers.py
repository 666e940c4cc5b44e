"""The shape of the code: who may import whom, how large a module may grow, how a module begins."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(p for part in ("relay", "operator") for p in (ROOT / part).rglob("*.py"))
MOST_LINES = 400
# Module → why it may be longer. A reason says what holds the module together, not that it is long.
LONGER: dict[str, str] = {}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_go_one_way() -> None:
    """Every contract of [tool.importlinter] holds: layers, siblings, pure packages, strangers."""
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


def test_module_is_one_idea() -> None:
    """A module past 400 lines holds a second idea that deserves a name, unless a reason is written here."""
    lines = {relative(p): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES}
    assert {name for name, count in lines.items() if count > MOST_LINES} == set(LONGER)


def test_module_opens_with_its_contract() -> None:
    """Every module says what it owns before it does anything."""
    text = {relative(p): p.read_text(encoding="utf-8") for p in MODULES}
    assert [
        name for name, code in text.items() if code.strip() and not ast.get_docstring(ast.parse(code))
    ] == []


def test_operator_folder_shadows_nothing() -> None:
    """operator/ holds packages only: as a package itself it would shadow the standard library's operator."""
    stray = [p.name for p in (ROOT / "operator").glob("*.py")]
    assert stray == []
