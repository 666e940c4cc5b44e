"""One process kept running: the pauses between its starts, and what ends them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.local.children import served
from tests.support.ports import free_port

from waystation_operator.local import child as children
from waystation_operator.local.child import Child, tail
from waystation_operator.local.record import State


@pytest.fixture
async def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Child]:
    """A child that would wait for a minute after it has ended, and is ready."""
    monkeypatch.setattr(children, "FIRST_PAUSE_S", 60.0)
    made = Child(served("a", free_port(), tmp_path), lambda _: None, lambda: None)
    made.task = asyncio.create_task(made.keep())
    await until(lambda: made.state is State.READY)
    yield made
    await made.stop(asyncio.Event())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def kill(child: Child) -> None:
    identity = child.running().identity
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)
    await until(lambda: child.state is State.WAITING)


async def test_a_nudge_ends_the_pause(child: Child) -> None:
    """A changed configuration may be what was missing: who waits is started at once."""
    await kill(child)
    assert "signal SIGKILL" in child.problem
    child.nudge()
    assert child.problem == ""
    await until(lambda: child.state is State.READY)
    assert child.restarts == 1


async def test_a_nudge_leaves_who_runs_alone(child: Child) -> None:
    """A process that is ready is not restarted by it, nor is its next pause shortened."""
    before = child.running()
    child.nudge()
    assert child.running() == before
    await kill(child)
    await asyncio.sleep(0)
    assert (child.state, child.restarts) == (State.WAITING, 0)


async def test_stopping_one_that_waits(child: Child) -> None:
    """A child between two starts is stopped without being started once more."""
    await kill(child)
    await child.stop(asyncio.Event())
    assert child.restarts == 0
    assert child.task is not None
    assert child.task.done()


async def test_stopping_one_that_is_just_nudged(child: Child) -> None:
    """Whichever comes first, the word to stop is not lost: nothing is started again."""
    await kill(child)
    child.nudge()
    async with asyncio.timeout(10):
        await child.stop(asyncio.Event())
    assert child.restarts == 0


def test_tail_of_a_log(tmp_path: Path) -> None:
    """The last five lines, indented, whatever bytes are in them; nothing of a log that is not there."""
    (tmp_path / "log").write_bytes(b"".join(b"line %d\n" % n for n in range(9)) + b"\xff\n")
    assert tail(tmp_path / "log").splitlines() == [f"    line {n}" for n in range(5, 9)] + ["    �"]
    assert tail(tmp_path / "nosuch") == ""


def test_tail_of_a_long_log(tmp_path: Path) -> None:
    """Only its end is read."""
    (tmp_path / "log").write_bytes(b"x" * 100_000 + b"\nlast\n")
    assert tail(tmp_path / "log").endswith("\n    last")
    assert len(tail(tmp_path / "log")) < 20_000
