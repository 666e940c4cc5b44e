"""A process under the shim that runs experiments, and how a test has one run.

The shim must be there when a process starts, hence a process of its own: a
``Laboratory``, one for all tests of a session, since to start one costs more than a
hundred states of a disk. It is told of experiments a line at a time
(``MODULE:FUNCTION`` and arguments, as JSON) and runs each in a fork of itself, which calls the
function with a ``Lab``; the answer is its result, or its traceback.

``python -m tests.fault.lab MODULE:FUNCTION ARGUMENTS`` runs one, for a person with the shim at hand.

Failpoints of the spool (``spool/failpoints.py``) are what ``Lab.moment`` makes of them.
"""

import asyncio
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import uvloop
from tests.fault.library import Shim

Result = TypeVar("Result")

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # a folder in memory: what a disk keeps is the model's to say, not the disk's
RESERVE_BYTES = 8192  # the spool's own reserve is 16 MiB, to be written for each of thousands of states
AHEAD = ("powercut", "mishaps", "stories", "errors")  # imported once, for all forks


class Laboratory:
    """On the test's side."""

    def __init__(self, shim: Path) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fault.lab"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path},
        )  # fmt: skip

    def experiment(self, function: str, within_s: float = 600.0, **arguments: Any) -> Any:
        """Run it, and what it returned; its traceback is the test's failure."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([function, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], within_s)
        assert ready, f"{function} {arguments}: no answer within {within_s:g} s"
        answer = json.loads(self._process.stdout.readline() or b'["the laboratory is gone", null]')
        trouble, result = answer
        assert not trouble, f"{function} {arguments}\n{trouble}"
        return result

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


class Lab:
    """On the experiment's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shim = Shim()
        self.moment: Callable[[str], None] = lambda _name: None  # hears of failpoints, on any thread

    def run(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """On an event loop of the relay's kind."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(doing)

    def child(self, doing: Callable[[], object]) -> int:
        """In a process of its own, which may be killed while at it: its exit code, or minus the signal."""
        pid = os.fork()
        if not pid:
            _end(doing)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die() -> None:
    """As a power cut, or the kernel's choice among too many processes."""
    os.kill(os.getpid(), signal.SIGKILL)


def perform(function: str, arguments: dict[str, Any]) -> Any:
    folder = Path(tempfile.mkdtemp(prefix="waystation-lab-", dir=MEMORY if MEMORY.is_dir() else None))
    lab = Lab(folder)
    _labs.append(lab)
    module, _, name = function.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(lab, **arguments)
    finally:
        shutil.rmtree(folder)


_labs: list[Lab] = []  # the one of this process


def _reached(failpoint: str) -> None:
    for lab in _labs:
        lab.moment(failpoint)


def _prepare() -> None:
    """The spool tells us of its failpoints (before anybody imports them by name), and has a small reserve."""
    vars(importlib.import_module("waystation_relay.spool.failpoints"))["reach"] = _reached
    vars(importlib.import_module("waystation_relay.spool.room"))["RESERVE_BYTES"] = RESERVE_BYTES
    for name in AHEAD:
        importlib.import_module(f"tests.fault.{name}")


def _serve() -> None:
    for line in sys.stdin:
        function, arguments = json.loads(line)
        pid = os.fork()
        if not pid:
            _end(lambda said=(function, arguments): _answer(*said))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            print(json.dumps([f"ended with {code}", None]), flush=True)


def _answer(function: str, arguments: dict[str, Any]) -> None:
    try:
        answer = json.dumps([None, perform(function, arguments)])
    except Exception:  # noqa: BLE001 for the test to show
        answer = json.dumps([traceback.format_exc(), None])
    print(answer, flush=True)


def _end(doing: Callable[[], object]) -> NoReturn:
    """The fork's end: whatever happens, it must not go on as its parent."""
    try:
        doing()
        os._exit(0)
    except BaseException:  # noqa: BLE001 see above
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    _prepare()
    if sys.argv[1:]:
        print(json.dumps(perform(sys.argv[1], json.loads(sys.argv[2]))))
    else:
        _serve()
