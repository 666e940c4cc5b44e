"""A process under the shim that runs one experiment and prints what came of it.

``python -m tests.fault.lab MODULE:FUNCTION ARGUMENTS`` calls the function with
a ``Lab`` and the JSON arguments, and prints its result as JSON; ``experiment``
is how a test does that. The shim must be there when the process starts, hence a process
of its own; one for thousands of states, since to start one costs more than a
hundred of them.

Failpoints of the spool (``spool/failpoints.py``) are what ``Lab.moment`` makes of them.
"""

import asyncio
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import uvloop
from tests.fault.library import Shim

Result = TypeVar("Result")

MEMORY = Path("/dev/shm")  # a folder in memory: what a disk keeps is the model's to say, not the disk's
RESERVE_BYTES = 8192  # the spool's own reserve is 16 MiB, to be written for each of thousands of states


class Lab:
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
            self._end(doing)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _end(self, doing: Callable[[], object]) -> NoReturn:
        try:
            doing()
            os._exit(0)
        except BaseException:  # noqa: BLE001 whatever it is, it must not go on as its parent
            sys.excepthook(*sys.exc_info())
            os._exit(1)


def die() -> None:
    """As a power cut, or the kernel's choice among too many processes."""
    os.kill(os.getpid(), signal.SIGKILL)


def experiment(shim: Path, function: str, within_s: float = 120.0, **arguments: Any) -> Any:
    """Run it, and what it returned; its traceback is the test's failure."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-m", "tests.fault.lab", function, json.dumps(arguments)],
        cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within_s,
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path},
    )  # fmt: skip
    assert run.returncode == 0, f"{function} {arguments}\n{run.stdout[-3000:]}\n{run.stderr[-6000:]}"
    return json.loads(run.stdout.splitlines()[-1])


def main(function: str, arguments: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="waystation-lab-", dir=MEMORY if MEMORY.is_dir() else None))
    lab = Lab(folder)
    # Before anybody imports them by name.
    failpoints = importlib.import_module("waystation_relay.spool.failpoints")
    vars(failpoints)["reach"] = lambda name: lab.moment(name)  # noqa: PLW0108 it changes
    vars(importlib.import_module("waystation_relay.spool.room"))["RESERVE_BYTES"] = RESERVE_BYTES
    module, _, name = function.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(lab, **json.loads(arguments))
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
