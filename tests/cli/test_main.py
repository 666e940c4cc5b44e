"""The command as a whole: what it lists, what it loads, and what it says when a library is missing."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from waystation.__main__ import COMMANDS, Entry, load, main


def test_help_lists_every_command() -> None:
    """`waystation --help` names each command with what it is for, and loads none of them."""
    code = (
        "import sys; from click.testing import CliRunner; from waystation.__main__ import main; "
        "print(CliRunner().invoke(main, ['--help']).output); "
        "assert not {m for m in sys.modules if m.startswith(('waystation_', 'aiohttp', 'uvloop', 'kopf'))}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0, run.stderr
    for name, entry in COMMANDS.items():
        assert name in run.stdout
        assert entry.summary in run.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """`--help` and `-h` work everywhere and exit 0."""
    for flag in ("--help", "-h"):
        result = CliRunner().invoke(main, [name, flag])
        assert result.exit_code == 0, result.output
        assert "Usage:" in result.output


def test_an_unknown_command_is_a_mistake() -> None:
    """Exit code 2."""
    result = CliRunner().invoke(main, ["explode"])
    assert result.exit_code == 2
    assert "explode" in result.output


def test_a_missing_library_names_the_extra_that_brings_it() -> None:
    """A relay image has no operator libraries: the command says what to install, without a traceback."""
    with pytest.raises(click.ClickException, match=r"pip install 'waystation\[operator\]'"):
        load("check", Entry("a_library_that_is_not_there:command", "operator", ""))


def test_a_missing_module_of_our_own_is_a_bug_and_looks_like_one() -> None:
    """No misleading advice when the fault is ours."""
    with pytest.raises(ModuleNotFoundError):
        load("check", Entry("waystation_relay.cli.not_there:command", "relay", ""))
