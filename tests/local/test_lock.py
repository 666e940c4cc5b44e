"""Two commands on one folder: the second is told who is first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from waystation_operator.local.layout import Layout
from waystation_operator.local.lock import BusyError, held

HOLDER = """
import sys, pathlib
from waystation_operator.local.layout import Layout
from waystation_operator.local.lock import held
with held(Layout(pathlib.Path(sys.argv[1])), "waystation local up"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    """The complaint names the folder, the command and the PID; when the first is done the second may."""
    layout = Layout(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(layout.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "held\n"
        expected = rf"{layout.root} is being changed by `waystation local up` \(PID {first.pid}\); wait"
        with pytest.raises(BusyError, match=expected), held(layout, "waystation local down"):
            pass
        first.stdin.close()
        assert first.wait(10) == 0
    with held(layout, "waystation local down"):
        assert str(os.getpid()) in layout.lock.read_text()


def test_killed_holder_is_no_obstacle(tmp_path: Path) -> None:
    """kill -9 leaves the file but not the lock."""
    layout = Layout(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
        first.wait(10)
        assert layout.lock.exists()
        with held(layout, "waystation local down"):
            pass


def test_released_after_a_failure(tmp_path: Path) -> None:
    """Whatever ended the command, the folder is free again."""
    with pytest.raises(ZeroDivisionError), held(Layout(tmp_path), "waystation local up"):
        raise ZeroDivisionError
    with held(Layout(tmp_path), "waystation local up"):
        pass
