"""Keeps the processes of a local run alive: starts what ought to run, restarts what dies, stops the rest.

Runs inside ``waystation local up``, or on its own when detached
(``python -m waystation_operator.local.supervisor DIR``). It reads what ought
to run in ``desired.json``, again at SIGUSR1, and tells what runs in
``local.json``. SIGTERM, SIGINT and SIGHUP stop everything: the children get
SIGTERM, and SIGKILL when they take longer than a relay's own drain, or when
the signal comes a second time.

Invariants
    Every child there is stands in the record before anything waits for it.
    The record goes when the last child has ended, and not before.
Known limits
    Killed by SIGKILL, it leaves its children running; the next ``local up``
    or ``local down`` finds them in the record and stops them.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from waystation_operator.local import record as records
from waystation_operator.local.child import Child, Say
from waystation_operator.local.layout import Layout
from waystation_operator.local.record import Record, State

READY_WITHIN_S = 30.0
LOOK_AGAIN = signal.SIGUSR1
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.05


class Supervisor:
    """``say`` is told, in a line, of everything people may want to know."""

    def __init__(self, layout: Layout, say: Say) -> None:
        self._layout = layout
        self._say = say
        self._children: dict[str, Child] = {}
        self._generation = 0
        self._up = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Until told to stop. 1: something did not even start, and everything was stopped again."""
        loop = asyncio.get_running_loop()
        for signum in _ENDING:
            loop.add_signal_handler(signum, self.end)
        loop.add_signal_handler(LOOK_AGAIN, self._changed.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._apply(tasks)
                failed = await self._settled()
                if failed is None and not self._stop.is_set():
                    self._up = True
                    on_ready()
                    self.publish()
                while failed is None and not self._stop.is_set():
                    await self._apply_when_asked(tasks)
                await self._stop_children(list(self._children.values()))
        finally:
            for signum in (*_ENDING, LOOK_AGAIN):
                loop.remove_signal_handler(signum)
        self._layout.record.unlink(missing_ok=True)
        if failed is not None:
            name, problem = failed.process.name, failed.problem
            self._say(f"error: {name} did not start: {problem}\nerror: everything was stopped again")
        return 1 if failed is not None else 0

    def end(self) -> None:
        """Asked once, everything is stopped; asked again, at once."""
        if self._stop.is_set():
            self._hurry.set()
        elif self._children:
            self._say("stopping; relays finish what they are receiving, which may take a minute")
        self._stop.set()

    def publish(self) -> None:
        """Writes the record: settled once everything has been ready at the start, and while it is."""
        own = records.identify(os.getpid())
        assert own is not None
        settled = self._up and all(child.state is State.READY for child in self._children.values())
        processes = tuple(child.running() for child in self._children.values())
        records.write_record(self._layout, Record(own, self._generation, settled, processes))

    async def _apply_when_asked(self, tasks: asyncio.TaskGroup) -> None:
        stop, change = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._changed.wait())
        await asyncio.wait((stop, change), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        change.cancel()
        if self._changed.is_set() and not self._stop.is_set():
            self._changed.clear()
            await self._apply(tasks)

    async def _apply(self, tasks: asyncio.TaskGroup) -> None:
        """Stops what is not wanted or called otherwise, starts what is missing, leaves the rest running."""
        wanted = {process.name: process for process in records.read_desired(self._layout).processes}
        calls = {name: process.argv for name, process in wanted.items()}
        await self._stop_children(
            [child for name, child in self._children.items() if calls.get(name) != child.process.argv]
        )
        for name, process in wanted.items():
            if name in self._children:
                self._children[name].process = process  # it may listen elsewhere by now
                self._children[name].nudge()
            else:
                child = self._children[name] = Child(process, self._say_once_up, self.publish)
                child.task = tasks.create_task(child.keep())
        self._generation += 1
        self.publish()

    async def _settled(self) -> Child | None:
        """Waits until every child is ready; the one that ended or never was, if any."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._stop.is_set():
            for child in self._children.values():
                if child.problem:
                    return child
            late = [child for child in self._children.values() if child.state is not State.READY]
            if not late:
                return None
            if time.monotonic() > deadline:
                log = late[0].process.log
                late[0].problem = f"it is not ready after {READY_WITHIN_S:.0f} s; its log is {log}"
                return late[0]
            await asyncio.sleep(_POLL_S)
        return None

    def _say_once_up(self, text: str) -> None:
        """Children are tried once at the start: what they say of trying again does not hold then."""
        if self._up:
            self._say(text)

    async def _stop_children(self, leaving: list[Child]) -> None:
        await asyncio.gather(*(child.stop(self._hurry) for child in leaving))
        for child in leaving:
            self._children.pop(child.process.name)


def main(directory: str) -> int:
    """Detached: what there is to say goes to standard output, which is the log."""
    supervisor = Supervisor(Layout(Path(directory)), click.echo)
    return asyncio.run(supervisor.run(lambda: None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
