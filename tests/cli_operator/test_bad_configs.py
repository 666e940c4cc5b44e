"""Each mistake somebody may make in a file, and the one line it is answered with: tests/bad_configs/."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from waystation_operator.cli.check import command

FOLDER = Path(__file__).parents[1] / "bad_configs"
MISTAKES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_named_with_its_place_and_remedy(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mistake gives one line: file, line, resource, field, value, problem; remedy. Exit code 2."""
    monkeypatch.chdir(FOLDER)
    run = CliRunner().invoke(command, [f"{mistake}.yaml"])
    expected = (FOLDER / f"{mistake}.expected").read_text(encoding="utf-8")
    assert run.stderr == f"{expected}error: 1 problem found; nothing was done\n"
    assert run.stdout == ""
    assert run.exit_code == 2


def test_every_expectation_has_its_file() -> None:
    """No expectation outlives its file, and there are enough of them to mean something."""
    assert sorted(path.stem for path in FOLDER.glob("*.expected")) == MISTAKES
    assert len(MISTAKES) > 100


def test_mistakes_in_several_files_are_all_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong in one file does not hide what is wrong in the next; the order is that of the files."""
    monkeypatch.chdir(FOLDER)
    mistakes = ["hostname-missing", "yaml-tab", "pattern-bare-domain", "field-unknown"]
    run = CliRunner().invoke(command, [f"{mistake}.yaml" for mistake in mistakes])
    lines = [(FOLDER / f"{mistake}.expected").read_text(encoding="utf-8").rstrip() for mistake in mistakes]
    assert run.stderr.splitlines() == [*lines, "error: 4 problems found; nothing was done"]
    assert run.exit_code == 2
