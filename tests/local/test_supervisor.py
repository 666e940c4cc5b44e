"""The supervisor with real children: it starts, watches, restarts and stops them, and leaves none behind."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.local.children import Run, served, states
from tests.support.ports import free_port
from tests.support.waiting import until

from waystation_operator.local import stop
from waystation_operator.local.record import is_alive


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.close()


def test_starts_what_is_wanted_and_stops_it_all(run: Run) -> None:
    """SIGTERM ends the supervisor with exit code 0, its children before it, and its record with it."""
    folder = run.layout.root
    run.want(served("a", free_port(), folder), served("b", free_port(), folder))
    record = run.start().settled()
    assert states(record) == {"a": "ready", "b": "ready"}
    assert all(is_alive(x.identity) for x in record.processes)
    run.signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 0
    assert said == "stopping; relays finish what they are receiving, which may take a minute\n"
    assert not any(is_alive(x.identity) for x in record.processes)
    assert run.record() is None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP], ids=lambda signum: signum.name)
def test_other_ways_to_end(run: Run, signum: signal.Signals) -> None:
    """Ctrl-C and a closed terminal stop everything too."""
    run.want(served("a", free_port(), run.layout.root))
    record = run.start().settled()
    run.signal(signum)
    assert run.end()[0] == 0
    assert not is_alive(record.processes[0].identity)


def test_restarts_what_dies(run: Run) -> None:
    """A child that is killed comes back under a new PID; record and output say how it ended."""
    run.want(served("a", free_port(), run.layout.root))
    run.start().settled()
    old = run.pid("a")
    os.kill(old, signal.SIGKILL)
    until(lambda: states(run.record()) == {"a": "waiting"}, "the record to say it is gone")
    assert "ended with signal SIGKILL" in run.record().processes[0].problem
    until(lambda: states(run.record()) == {"a": "ready"}, "a restart")
    running = run.record().processes[0]
    assert running.identity.pid != old
    assert (running.restarts, running.problem) == (1, "")
    run.signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 0
    assert "a: it ended with signal SIGKILL\na: starts again in 1 s\na: runs again\n" in said


def test_what_does_not_start_stops_everything(run: Run) -> None:
    """One that ends at the start: the others are stopped again, its last words are shown, exit code 1."""
    folder = run.layout.root
    bad = folder / "bad"
    bad.mkdir()
    (bad / "broken").touch()
    run.want(served("good", free_port(), folder), served("bad", free_port(), bad))
    code, said = run.start().end()
    assert code == 1
    assert said == (
        "error: bad did not start: it ended with exit code 1\n    the disk is on fire\n"
        "error: everything was stopped again\n"
    )
    assert run.record() is None


def test_what_cannot_even_be_executed(run: Run) -> None:
    """A program that is not there is reported like one that ends at once."""
    run.want(msgspec.structs.replace(served("a", free_port(), run.layout.root), argv=("/nonexistent",)))
    code, said = run.start().end()
    assert code == 1
    assert "a did not start: it cannot be started: [Errno 2]" in said


def test_not_settled_until_all_are_ready(run: Run) -> None:
    """A process that runs is not yet one that serves: the record says starting until it says so itself."""
    folder = run.layout.root
    run.want(served("fast", free_port(), folder), served("slow", free_port(), folder, "slow"))
    run.start()
    until(lambda: states(run.record()) == {"fast": "ready", "slow": "starting"}, "the fast one")
    assert run.record().settled is False
    (folder / "ready").touch()
    run.settled()


def test_changes_touch_only_what_changed(run: Run) -> None:
    """SIGUSR1: new ones start, absent ones stop, those called otherwise restart, the rest runs on."""
    folder = run.layout.root
    stays, goes = served("stays", free_port(), folder), served("goes", free_port(), folder)
    run.want(stays, goes, served("moves", free_port(), folder))
    first = run.start().settled()
    pids = {x.process.name: x.identity.pid for x in first.processes}
    run.want(stays, served("moves", free_port(), folder), served("comes", free_port(), folder))
    run.signal(signal.SIGUSR1)
    second = run.settled(generation=2)
    assert states(second) == {"stays": "ready", "moves": "ready", "comes": "ready"}
    assert run.pid("stays") == pids["stays"]
    assert run.pid("moves") != pids["moves"]
    assert not is_alive(next(x.identity for x in first.processes if x.process.name == "goes"))


def test_a_second_signal_does_not_wait(run: Run) -> None:
    """Who asks twice is not kept waiting for a process that does not end: it is killed."""
    run.want(served("a", free_port(), run.layout.root, "stubborn"))
    record = run.start().settled()
    run.signal(signal.SIGTERM)
    until(lambda: states(run.record()) == {"a": "stopping"}, "the child to be asked")
    run.signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 0
    assert "a: killed\n" in said
    assert not is_alive(record.processes[0].identity)


def test_orphans_of_a_killed_supervisor_are_found_and_ended(run: Run) -> None:
    """kill -9 of the supervisor leaves children; the record still names them, so they can be stopped."""
    run.want(served("a", free_port(), run.layout.root), served("b", free_port(), run.layout.root))
    record = run.start().settled()
    run.signal(signal.SIGKILL)
    run.end()
    assert stop.live(run.layout) is None
    assert sorted(stop.orphans(run.layout)) == ["a", "b"]
    said: list[str] = []
    stop.end_orphans(run.layout, said.append)
    assert said == ["stopping what an earlier run left behind: a, b"]
    assert not any(is_alive(x.identity) for x in record.processes)
    assert run.record() is None


def test_end_run_waits(run: Run) -> None:
    """After `down` nothing of the run is left, not just asked to go."""
    run.want(served("a", free_port(), run.layout.root))
    record = run.start().settled()
    said: list[str] = []
    stop.end_run(record, said.append)
    assert said == ["stopping a"]
    assert not is_alive(record.supervisor)
    assert not is_alive(record.processes[0].identity)
    assert run.end()[0] == 0
