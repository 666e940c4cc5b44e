"""A recorded process is signalled only while it is that process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from waystation_operator.local.layout import Layout
from waystation_operator.local.record import (
    Identity,
    Record,
    Running,
    State,
    identify,
    is_alive,
    read_desired,
    read_record,
    send,
    write_record,
)
from waystation_operator.local.topology import Desired, Listening, Process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def test_process_is_known_by_pid_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    """Asked twice, the same process has the same identity, and no other process has it."""
    found = identify(sleeper.pid)
    assert found is not None
    assert found == identify(sleeper.pid)
    assert found != identify(os.getpid())
    assert is_alive(found)


def test_ended_process_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    """Once it has ended it is gone, even while its parent has not taken notice (a zombie)."""
    found = identify(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert identify(sleeper.pid) is None
    assert not is_alive(found)


def test_another_process_with_the_same_pid_gets_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    """PIDs come round again: a process that started at another time is not ours to end."""
    send(Identity(sleeper.pid, "another boot/1"), signal.SIGKILL)
    assert identify(sleeper.pid) is not None
    found = identify(sleeper.pid)
    assert found is not None
    send(found, signal.SIGKILL)
    assert sleeper.wait(5) == -signal.SIGKILL


def test_nobody_is_not_alive() -> None:
    """A process that was never started is not running."""
    assert not is_alive(None)


def test_record_survives_writing(tmp_path: Path) -> None:
    """What was written is what is read."""
    process = Process("a", ("true",), "/log", (Listening(25, "x"),), admin="http://127.0.0.1:8000")
    running = Running(process, State.WAITING, Identity(1, "x"), 3, "it ended")
    record = Record(Identity(2, "y"), 7, False, (running,))
    write_record(Layout(tmp_path), record)
    assert read_record(Layout(tmp_path)) == record


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="never written"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="another form"),
        pytest.param(b'{"supervisor": {"pid": "x"}}', id="another type"),
        pytest.param(b"\xff", id="not text"),
    ],
)
def test_unusable_record_is_no_record(tmp_path: Path, content: bytes | None) -> None:
    """A record that is missing or in another form names nobody."""
    if content is not None:
        Layout(tmp_path).record.write_bytes(content)
        Layout(tmp_path).desired.write_bytes(content)
    assert read_record(Layout(tmp_path)) is None
    assert read_desired(Layout(tmp_path)) == Desired()
