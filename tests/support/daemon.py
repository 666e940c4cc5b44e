"""A server program as a child process: started in the foreground, waited for, ended by its process id.

It works in a folder of its own and not in pytest's. Mail servers have users
of their own, who must come to their files, and every pytest that starts
closes the folder that all of pytest's are in. Its log is left in the test's.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.waiting import until

_START_WITHIN_S = 15.0
_STOP_WITHIN_S = 0.3  # nothing they could still do is of interest


class Daemon:
    """Subclasses write their configuration into ``folder`` and say how they start and when they are ready."""

    name: str

    def __init__(self, folder: Path, label: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-{label}-")).resolve()
        self.folder.chmod(0o711)
        atexit.register(_leave, self.folder, folder / f"{self.name}-{label}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def log(self) -> str:
        """What it logged so far."""
        file = self.folder / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def start(self) -> None:
        with (self.folder / "output").open("ab") as out:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,  # they lead a group of processes, ended together
            )  # fmt: skip

        def ready() -> bool:
            assert self._process is not None
            code = self._process.poll()
            assert code is None, f"{self.name} ended with {code}: {self._said()}"
            return self.is_ready()

        try:
            until(ready, f"{self.name} to answer", within_s=_START_WITHIN_S, every_s=0.02)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_WITHIN_S)
        with contextlib.suppress(ProcessLookupError):  # what it left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _said(self) -> str:
        output = (self.folder / "output").read_text(encoding="utf-8", errors="replace")
        return (output + self.log())[-2000:]


def _leave(folder: Path, log: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.copyfile(folder / "log", log)
    shutil.rmtree(folder, ignore_errors=True)
