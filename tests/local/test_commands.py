"""`waystation local status` and `down` on runs of small children."""

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.local.children import Run, served
from tests.support.ports import free_port

from waystation_operator.cli.local import command
from waystation_operator.local.lock import held
from waystation_operator.local.record import is_alive


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    made = Run(tmp_path / ".waystation")
    made.layout.root.mkdir()
    made.want(served("a", free_port(), made.layout.root))
    yield made
    made.close()


def local(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def test_status_of_a_run(run: Run) -> None:
    """Everything is ready: exit code 0; for programs the record as JSON."""
    record = run.start().settled()
    shown = local("status")
    assert shown.exit_code == 0
    assert "a        ready  " in shown.stdout
    assert msgspec.json.decode(local("status", "-o", "json").stdout, type=type(record)) == record


def test_status_of_nothing(run: Run) -> None:
    """Nothing runs: exit code 1, and `null` for programs."""
    assert (local("status").exit_code, local("status").stderr) == (1, "nothing runs in .waystation\n")
    assert (local("status", "-o", "json").exit_code, local("status", "-o", "json").stdout) == (1, "null\n")


def test_status_of_something_not_ready(run: Run) -> None:
    """A child that is not ready yet: it is shown, and the exit code is 1."""
    run.want(served("a", free_port(), run.layout.root, "slow"))
    run.start()
    shown = local("status")
    while "starting" not in shown.stdout:
        assert run.process is not None
        assert run.process.poll() is None
        shown = local("status")
    assert shown.exit_code == 1


def test_status_and_down_after_a_killed_supervisor(run: Run) -> None:
    """kill -9 of the supervisor: status names what it left, down ends that."""
    record = run.start().settled()
    run.signal(signal.SIGKILL)
    run.end()
    shown = local("status")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == "the supervisor is gone, a still run; `waystation local down` ends them\n"
    assert local("down").stdout == "stopping what an earlier run left behind: a\n"
    assert not is_alive(record.processes[0].identity)
    assert local("down").stdout == "nothing runs in .waystation\n"


def test_down_waits_for_the_end(run: Run) -> None:
    """After down nothing of the run is alive; where the queues are is said."""
    record = run.start().settled()
    shown = local("down")
    assert shown.exit_code == 0
    assert shown.stdout == "stopping a\nstopped; queues and logs stay in .waystation\n"
    assert not is_alive(record.supervisor)
    assert not is_alive(record.processes[0].identity)


def test_down_of_a_folder_that_is_not_there(run: Run) -> None:
    """A run that never was is not running; no folder is made for it."""
    shown = local("down", "--data", "elsewhere")
    assert (shown.exit_code, shown.stdout) == (0, "nothing runs in elsewhere\n")
    assert not Path("elsewhere").exists()


def test_down_while_another_command_starts(run: Run) -> None:
    """An up that has not yet come to its supervisor is named; down does not pass for done."""
    with held(run.layout, "waystation local up"):
        shown = local("down")
    assert shown.exit_code == 1
    assert "is being changed by `waystation local up` (PID" in shown.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param(("--dns", "dns.example.com"), "is not a DNS server's address", id="DNS server by name"),
        pytest.param(("--dns", "127.0.0.1:99999"), "is not a DNS server's address", id="DNS server's port"),
        pytest.param(("--port-base", "-1"), "not in the range", id="negative port base"),
        pytest.param(("--port-base", "65000"), "not in the range", id="no room above the port base"),
    ],
)
def test_wrong_options(run: Run, options: tuple[str, ...], complaint: str) -> None:
    """What was asked is wrong: exit code 2, and nothing is read or started."""
    shown = local("up", "nosuch.yaml", *options)
    assert shown.exit_code == 2
    assert complaint in shown.stderr


def test_a_folder_that_cannot_be_made(run: Run) -> None:
    """--data below a file: the environment is in the way, exit code 1, one sentence."""
    Path("file").write_text("")
    Path("pool.yaml").write_text(
        "{apiVersion: waystation.dev/v1alpha1, kind: RelayPool, metadata: {name: a},"
        " spec: {hostname: a.example, listeners: [{name: a, port: 25}]}}"
    )
    shown = local("up", "pool.yaml", "--data", "file/run")
    assert shown.exit_code == 1
    assert "Not a directory; make it a place this user may write to" in shown.stderr
