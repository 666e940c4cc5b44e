"""The README's quickstart, run as it is written; only the ports are others."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.stage import ADMIN, SINK, SMTP, is_free
from tests.support.ports import free_port
from tests.support.waiting import until

from waystation_operator.local.load import load
from waystation_operator.plan.world import plan_world

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    section = README.partition("\n## Quickstart\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def base() -> int:
    return next(
        base
        for base in iter(free_port, None)
        if all(is_free(base + offset) for offset in (SMTP, SINK, ADMIN))
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout as far as the quickstart needs one; whatever it started is stopped."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "demo").symlink_to(ROOT / "demo")
    yield folder
    run(folder, "waystation local down")


def run(folder: Path, line: str) -> "subprocess.CompletedProcess[str]":
    words = shlex.split(line, comments=True)
    program = [sys.executable, "-m", "waystation"] if words[0] == "waystation" else words[:1]
    return subprocess.run(
        [*program, *words[1:]],
        cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip


def test_the_resources_are_valid(tmp_path: Path) -> None:
    """The pool and the route of the quickstart pass every check."""
    (text,) = blocks("yaml")
    file = tmp_path / "mail.yaml"
    file.write_text(text, encoding="utf-8")
    loaded = load([str(file)])
    plans, problems = plan_world(loaded.world)
    assert [*loaded.problems, *problems, *loaded.unreadable] == []
    assert len(plans) == 1


def test_the_commands_work(folder: Path, base: int) -> None:
    """Every command ends well, and each of the three mails comes to what its comment says."""
    (text,) = blocks("sh")
    elsewhere = {
        "waystation local up": f"--port-base {base}",
        "waystation send": f"--server 127.0.0.1:{base + SMTP}",
    }
    said: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        option = next((option for command, option in elsewhere.items() if line.startswith(command)), "")
        if line.startswith("waystation queue list"):
            sink = folder / ".waystation" / "sink"
            until(
                lambda sink=sink: len(list(sink.glob("*/new/*"))) == 2, "the mail and the report at the sink"
            )
        done = run(folder, f"{line.partition('#')[0]} {option}")
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said[line.partition("#")[0].strip()] = done.stdout
    assert "defer-451@corp.example" in said["waystation queue list"]
    assert "greylisted: 451 4.7.1" in said["waystation queue list"]
    assert said["ls .waystation/sink"].split() == ["ann@corp.example", "app@shop.example"]
    assert "outbound-0 keeps 1 message" in said["waystation local down"]
