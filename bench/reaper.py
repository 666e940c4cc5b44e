"""Runs a server of many processes so that none escapes the count of CPU time, or the end.

    python bench/reaper.py COMMAND ARGUMENT…

Adopts what the server's processes leave behind (PR_SET_CHILD_SUBREAPER), so
that all of them stay in one tree below this process and their time is summed
up here. When the server ends, when SIGTERM comes or when whoever started us is
gone, the whole tree is killed: a benchmark's queue is of no value. Exits with
the server's code.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
ROUNDS = 1000  # of killing: each makes orphans ours, which the next one finds


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()]


def kill_all() -> None:
    """A child's children become ours when it is gone, so this goes on until there are none."""
    for _ in range(ROUNDS):
        left = children()
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.wait()


def ended(signum: int, _: FrameType | None) -> NoReturn:
    kill_all()
    os._exit(128 + signum)


def main(command: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, ended)
    server = subprocess.Popen(command).pid
    while True:
        pid, status = os.wait()
        if pid == server:
            kill_all()
            return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
