"""Keeps the processes of a local run alive: starts what ``desired.json`` names, restarts what dies, stops the rest.

Runs inside ``waystation local up``, or on its own when detached
(``python -m waystation_operator.local.supervisor DIR``). It learns of changes
by SIGHUP, and tells what runs in ``local.json``. SIGTERM and SIGINT stop
everything: the children get SIGTERM, and SIGKILL when they take longer than
a relay's own drain.

Invariants
    Every child there is stands in the record before anything waits for it.
    A child that dies is started again after 1, 2, 4 … 30 s; one that had
    been up for a minute after 1 s.
Known limits
    Killed by SIGKILL, it leaves its children running; the next ``local up``
    or ``local down`` finds them in the record and stops them.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from waystation_operator.local import record as records
from waystation_operator.local.layout import Layout
from waystation_operator.local.place import ADDRESS
from waystation_operator.local.record import Identity, Record, Running
from waystation_operator.local.topology import Process

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 70.0  # a relay's drain takes at most 60 s
LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_POLL_S = 0.05
_TAIL_LINES = 5
_TAIL_BYTES = 16_384

Say = Callable[[str], None]


class Supervisor:
    """``say`` is told, in a line, of everything people may want to know."""

    def __init__(self, layout: Layout, say: Say) -> None:
        self._layout = layout
        self._say = say
        self._children: dict[str, Child] = {}
        self._generation = 0
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    async def run(self, on_ready: Callable[[Record], None]) -> int:
        """Until told to stop. 1: something did not even start, and everything was stopped again."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._changed.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._apply(tasks)
                failed = await self._settled()
                if failed is None and not self._stop.is_set():
                    on_ready(self.snapshot(settled=True))
                while failed is None and not self._stop.is_set():
                    await self._apply_when_asked(tasks)
                await self._stop_children(list(self._children.values()))
        finally:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(signum)
            self._layout.record.unlink(missing_ok=True)
        if failed is not None:
            self._say(f"error: {failed.process.name} did not start: {failed.problem}; everything was stopped again")
        return 1 if failed is not None else 0

    def snapshot(self, *, settled: bool) -> Record:
        own = records.identify(_own_pid())
        assert own is not None
        return Record(own, self._generation, settled, tuple(child.running() for child in self._children.values()))

    def publish(self) -> None:
        settled = all(child.state == "ready" for child in self._children.values())
        records.write_record(self._layout, self.snapshot(settled=settled))

    async def _apply_when_asked(self, tasks: asyncio.TaskGroup) -> None:
        stop, change = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._changed.wait())
        await asyncio.wait((stop, change), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel(), change.cancel()
        if self._changed.is_set() and not self._stop.is_set():
            self._changed.clear()
            await self._apply(tasks)

    async def _apply(self, tasks: asyncio.TaskGroup) -> None:
        """Stops what is no longer wanted as it is, starts what is missing, leaves the rest alone."""
        wanted = {process.name: process for process in records.read_desired(self._layout).processes}
        leaving = [x for name, x in self._children.items() if wanted.get(name) != x.process]
        await self._stop_children(leaving)
        for name, process in wanted.items():
            if name not in self._children:
                child = self._children[name] = Child(process, self._say, self.publish)
                child.task = tasks.create_task(child.keep())
        self._generation += 1
        self.publish()

    async def _settled(self) -> "Child | None":
        """Waits until every child is ready; the one that ended or never was, if any."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._stop.is_set():
            for child in self._children.values():
                if child.problem:
                    return child
            late = [child for child in self._children.values() if child.state != "ready"]
            if not late:
                return None
            if time.monotonic() > deadline:
                late[0].problem = f"it is not ready after {READY_WITHIN_S:.0f} s; its log is {late[0].process.log}"
                return late[0]
            await asyncio.sleep(_POLL_S)
        return None

    async def _stop_children(self, leaving: list["Child"]) -> None:
        await asyncio.gather(*(child.stop() for child in leaving))
        for child in leaving:
            self._children.pop(child.process.name)


class Child:
    """One process that is kept running until it is stopped."""

    def __init__(self, process: Process, say: Say, publish: Callable[[], None]) -> None:
        self.process = process
        self.state = "starting"
        self.restarts = 0
        self.problem = ""
        self.task: asyncio.Task[None] | None = None
        self._identity: Identity | None = None
        self._alive: asyncio.subprocess.Process | None = None
        self._say = say
        self._publish = publish

    def running(self) -> Running:
        return Running(self.process, self.state, self._identity, self.restarts, self.problem)

    async def keep(self) -> None:
        """Starts the process again and again until :meth:`stop`."""
        pause_s = 1.0
        while True:
            began = time.monotonic()
            code = await self._run_once()
            if time.monotonic() - began > _STEADY_S:
                pause_s = 1.0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self.problem = f"it ended with {how}\n{tail(Path(self.process.log))}".rstrip()
            self._enter("waiting")
            self._say(f"{self.process.name}: {self.problem}\n{self.process.name}: starts again in {pause_s:.0f} s")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            self.restarts += 1

    async def stop(self) -> None:
        """Ends the process: gently, then not."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        if self._alive is None or self._alive.returncode is not None:
            return
        self._enter("stopping")
        self._alive.terminate()
        try:
            await asyncio.wait_for(self._alive.wait(), STOP_WITHIN_S)
        except TimeoutError:
            self._say(f"{self.process.name}: does not stop; killed")
            self._alive.kill()
            await self._alive.wait()

    async def _run_once(self) -> int:
        with Path(self.process.log).open("ab") as log:
            self._alive = await asyncio.create_subprocess_exec(
                *self.process.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we tell the children
            )
        self._identity = records.identify(self._alive.pid)
        self._enter("starting")
        ended = asyncio.ensure_future(self._alive.wait())
        try:
            while not ended.done():
                if self.state == "starting" and await is_ready(self.process):
                    self.problem = ""
                    self._enter("ready")
                    if self.restarts:
                        self._say(f"{self.process.name}: runs again")
                await asyncio.wait((ended,), timeout=_POLL_S if self.state == "starting" else None)
            return ended.result()
        finally:
            ended.cancel()

    def _enter(self, state: str) -> None:
        self.state = state
        self._publish()


async def is_ready(process: Process) -> bool:
    """Asked of the process itself: its readiness endpoint, or whether its ports accept."""
    if process.ready_url:
        try:
            timeout = aiohttp.ClientTimeout(total=1)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(process.ready_url) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
    for listening in process.listening:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(ADDRESS, listening.port), 1)
        except (TimeoutError, OSError):
            return False
        writer.close()
    return True


def tail(path: Path) -> str:
    """The last lines of a log, indented."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines)


def _own_pid() -> int:
    import os

    return os.getpid()


def main(directory: str) -> int:
    """Detached: what there is to say goes to standard output, which is the log."""
    supervisor = Supervisor(Layout(Path(directory)), lambda text: print(text, flush=True))
    return asyncio.run(supervisor.run(lambda _: None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
