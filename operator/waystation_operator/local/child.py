"""One process of a local run, kept running until it is stopped.

States
    starting → ready → waiting (it ended; it is started again after a pause) → starting …
    and from any of them, by :meth:`Child.stop`: stopping.
Invariants
    A process there is has been told to ``publish`` before anything waits for it.
    A child that ends is started again after 1, 2, 4 … 30 s; one that had been
    up for a minute after 1 s.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

from waystation_operator.local import admin
from waystation_operator.local import record as records
from waystation_operator.local.place import ADDRESS
from waystation_operator.local.record import Identity, Running, State
from waystation_operator.local.topology import Process

STOP_WITHIN_S = 70.0  # a relay's drain takes at most 60 s
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
_POLL_S = 0.05
_TAIL_LINES = 5
_TAIL_BYTES = 16_384

Say = Callable[[str], None]


class Child:
    """``say`` is told what people want to know, ``publish`` is called whenever :meth:`running` changed."""

    def __init__(self, process: Process, say: Say, publish: Callable[[], None]) -> None:
        self.process = process
        self.state = State.STARTING
        self.restarts = 0
        self.problem = ""
        self.task: asyncio.Task[None] | None = None
        self._identity: Identity | None = None
        self._alive: asyncio.subprocess.Process | None = None
        self._nudged = asyncio.Event()
        self._say = say
        self._publish = publish

    def running(self) -> Running:
        return Running(self.process, self.state, self._identity, self.restarts, self.problem)

    async def keep(self) -> None:
        """Starts the process again and again until :meth:`stop`."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            how = await self._run_once()
            if time.monotonic() - began > _STEADY_S:
                pause_s = FIRST_PAUSE_S
            self.problem = f"it {how}\n{tail(Path(self.process.log))}".rstrip()
            self._enter(State.WAITING)
            self._say(
                f"{self.process.name}: {self.problem}\n{self.process.name}: starts again in {pause_s:.0f} s"
            )
            with contextlib.suppress(TimeoutError):
                # Not wait_for, which before Python 3.12 forgets a cancellation that comes with the nudge.
                async with asyncio.timeout(pause_s):
                    await self._nudged.wait()
            pause_s = FIRST_PAUSE_S if self._nudged.is_set() else min(pause_s * 2, LONGEST_PAUSE_S)
            self._nudged.clear()
            self.restarts += 1

    def nudge(self) -> None:
        """A child that waits is started at once: what kept it from running may be mended."""
        if self.state is State.WAITING:
            self.problem = ""
            self._nudged.set()

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends the process: gently, then not; not gently at all once ``hurry`` is set."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        if self._alive is None or self._alive.returncode is not None:
            return
        self._enter(State.STOPPING)
        self._alive.terminate()
        ended = asyncio.create_task(self._alive.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait((ended, hurried), timeout=STOP_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if not ended.done():
            self._say(f"{self.process.name}: {'killed' if hurry.is_set() else 'does not stop; killed'}")
            self._alive.kill()
        await ended

    async def _run_once(self) -> str:
        """From start to end; how it ended."""
        try:
            with Path(self.process.log).open("ab") as log:  # noqa: ASYNC230 -- a local file, opened once a start
                self._alive = await asyncio.create_subprocess_exec(
                    *self.process.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for us: we tell the children
                )
        except OSError as error:
            return f"cannot be started: {error}"
        self._identity = records.identify(self._alive.pid)
        self._enter(State.STARTING)
        ended = asyncio.ensure_future(self._alive.wait())
        try:
            while not ended.done():
                if self.state is State.STARTING and await is_ready(self.process):
                    self.problem = ""
                    self._enter(State.READY)
                    if self.restarts:
                        self._say(f"{self.process.name}: runs again")
                await asyncio.wait((ended,), timeout=_POLL_S if self.state is State.STARTING else None)
            code = ended.result()
        finally:
            ended.cancel()
        return f"ended with {f'signal {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'}"

    def _enter(self, state: State) -> None:
        self.state = state
        self._publish()


async def is_ready(process: Process) -> bool:
    """Asked of the process itself: its readiness endpoint, or whether its ports accept."""
    if process.ready_url:
        return await admin.is_ready(process.ready_url)
    for listening in process.listening:
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection(ADDRESS, listening.port)
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
