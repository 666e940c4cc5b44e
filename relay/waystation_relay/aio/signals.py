"""What signals mean to a process that may be the first of a container.

For process 1 the kernel has no default: a signal without a handler is lost,
and orphans that end are left to it as zombies. So there is a handler from the
beginning, and children are waved through.

Before anything is promised, a signal to stop ends the process on the spot.
From ``listen`` on the first one is a request to stop, and one that comes
later, not together with it, is a demand.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType

TO_STOP = (signal.SIGTERM, signal.SIGINT)
TOGETHER_S = 1.0  # a terminal and a supervisor may both say the same thing at the same time
FIRST_PROCESS = 1


def prepare() -> None:
    """At the very start, before anything that takes time."""
    for signum in TO_STOP:
        signal.signal(signum, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration is about to be read anyway
    if os.getpid() == FIRST_PROCESS:
        signal.signal(
            signal.SIGCHLD, signal.SIG_IGN
        )  # the kernel buries them; we have no children of our own


def _leave(_signum: int, _frame: FrameType | None) -> None:
    os._exit(0)


class Stopping:
    """``wanted`` and ``at_once`` are set by signals, or by whoever knows that it must end."""

    def __init__(self, said: Callable[[str], None]) -> None:
        """``said`` hears why, each time that it makes a difference."""
        self.wanted = asyncio.Event()
        self.at_once = asyncio.Event()
        self._said = said
        self._since = 0.0

    def listen(self, reload: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        for signum in TO_STOP:
            loop.add_signal_handler(signum, self._signalled, signum.name)
        loop.add_signal_handler(signal.SIGHUP, reload)

    def deaf(self) -> None:
        """All is closed: who still asks us to stop must not make a crash of a clean end."""
        loop = asyncio.get_running_loop()
        for signum in TO_STOP:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_IGN)

    def give_up(self, why: str) -> None:
        """There is nothing to wait for."""
        self._said(why)
        self.wanted.set()
        self.at_once.set()

    def _signalled(self, name: str) -> None:
        now = asyncio.get_running_loop().time()
        if not self.wanted.is_set():
            self._since = now
            self._said(name)
            self.wanted.set()
        elif not self.at_once.is_set() and now >= self._since + TOGETHER_S:
            self._said(f"{name} again: at once")
            self.at_once.set()
