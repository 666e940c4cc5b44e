"""The shim itself: its journal tells everything that happens to a folder, its rules do what they say."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fault.journal import What, read
from tests.fault.lab import Laboratory
from tests.fault.library import rule, under


def test_the_journal_tells_everything(laboratory: Laboratory, seed: int) -> None:
    """Replayed in full, it gives the very files a spool's work has left, after kills as well."""
    said = laboratory.experiment("tests.fault.powercut:replayed", seed=seed)
    assert said["different"] == []
    assert said["files"] > 3
    assert {What(number) for number in said["whats"]} >= {
        What.CREATE, What.MKDIR, What.WRITE, What.TRUNCATE, What.ALLOCATE, What.SYNC, What.SYNC_DIRECTORY,
        What.RENAME, What.UNLINK, What.NOTE,
    }  # fmt: skip


def python(shim: Path, folder: Path, code: str, *rules: str) -> subprocess.CompletedProcess[str]:
    """Runs code in ``folder``, watched."""
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
        env={**os.environ, **under(shim, folder, journal=folder.parent / "journal", rules=";".join(rules))},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    (folder / "sub").mkdir(parents=True)
    (folder / "old").write_bytes(b"0123456789")
    return folder


CALLS = {
    "open": "os.open('old', os.O_RDONLY)",
    "create": "os.open('new', os.O_WRONLY | os.O_CREAT)",
    "mkdir": "os.mkdir('made')",
    "read": "os.pread(os.open('old', os.O_RDONLY), 5, 0)",
    "write": "os.pwritev(os.open('old', os.O_RDWR), [b'ab', b'c'], 2)",
    "truncate": "os.ftruncate(os.open('old', os.O_RDWR), 1)",
    "allocate": "os.posix_fallocate(os.open('old', os.O_RDWR), 0, 100)",
    "sync": "os.fdatasync(os.open('old', os.O_RDWR))",
    "rename": "os.rename('old', 'sub/older')",
    "unlink": "os.unlink('old')",
    "link": "os.link('old', 'other')",
}


@pytest.mark.parametrize(("operation", "call"), CALLS.items(), ids=CALLS)
def test_a_rule_makes_its_call_fail(shim: Path, folder: Path, operation: str, call: str) -> None:
    """One errno for one kind of call, for its pattern of names, from the call named on."""
    before = sorted((path.name, path.stat().st_size) for path in folder.rglob("*"))
    code = f"import os\ntry:\n    print({call})\nexcept OSError as error:\n    print('errno', error.errno)"
    run = python(shim, folder, code, rule(operation, errno.EDQUOT))
    assert run.stdout == f"errno {errno.EDQUOT}\n", run.stderr
    assert sorted((path.name, path.stat().st_size) for path in folder.rglob("*")) == before
    harmless = [
        rule(operation, errno.EDQUOT, name="elsewhere*"),
        rule(operation, errno.EDQUOT, first=2),
        rule(operation, "count"),
    ]
    run = python(shim, folder, code, *harmless)
    assert run.returncode == 0, run.stderr
    assert "errno" not in run.stdout


def test_what_else_a_rule_can_do(shim: Path, folder: Path) -> None:
    """Short writes, syncs that do nothing, a kill before the call, a delay, a bounded number of times."""
    code = "import os; fd = os.open('old', os.O_RDWR); print([os.pwrite(fd, b'abcdef', 0) for _ in range(3)])"
    assert python(shim, folder, code, rule("write", "short", first=2, times=1)).stdout == "[6, 3, 6]\n"
    sync = "import os; fd = os.open('old', os.O_RDWR); os.fsync(fd); os.fsync(fd)"
    journal = folder.parent / "journal"
    journal.unlink()
    assert python(shim, folder, sync, rule("sync", "lie", times=1)).returncode == 0
    assert [step.what for step in read(journal)] == [What.SYNC]
    journal.unlink()
    assert python(shim, folder, sync, rule("any", "kill", first=2)).returncode == -9
    assert [step.what for step in read(journal)] == [What.SYNC]
    timed = f"import time; start = time.monotonic(); {sync}; print(time.monotonic() - start >= 0.05)"
    assert python(shim, folder, timed, rule("sync", "wait:50", times=1)).stdout == "True\n"
