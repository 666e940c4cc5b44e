"""The event log never breaks and never delays the mail, whatever happens to who reads it.

Real pipes; the loop's part is played by calling ``flush`` when the log asks for it.
"""

import asyncio
import fcntl
import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waystation_relay.aio.clock import ManualClock, SystemClock
from waystation_relay.observe.log import CHUNK_BYTES, EventLog


class Pipe:
    """A pipe as small as the kernel allows."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reading, False)
        self.seen = b""

    def fill(self) -> None:
        """With lines that are not ours, until it takes no more."""
        while select.select([], [self.writing], [], 0)[1]:
            os.write(self.writing, b"{}\n" * 300)

    def drain(self) -> None:
        while True:
            try:
                got = os.read(self.reading, 65536)
            except BlockingIOError:
                return
            if not got:
                return
            self.seen += got

    def lines(self) -> list[dict[str, Any]]:
        self.drain()
        return [line for line in map(json.loads, self.seen.splitlines()) if line]

    def close_reading(self) -> None:
        os.close(self.reading)
        self.reading = -1

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


class Turns:
    """Stands for the loop: remembers what is to be called on its next turn, and after a while."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []
        self.later: list[Callable[[], object]] = []

    def call_soon(self, call: Callable[[], object]) -> None:
        self.soon.append(call)

    def call_later(self, _delay_s: float, call: Callable[[], object]) -> None:
        self.later.append(call)

    def turn(self) -> None:
        due, self.soon, self.later = self.soon + self.later, [], []
        for call in due:
            call()


@pytest.fixture
def turns() -> Turns:
    return Turns()


def attached(pipe: Pipe, turns: Turns, **options: Any) -> EventLog:
    log = EventLog(pipe.writing, ManualClock(), **options)
    log.attach(turns)  # type: ignore[arg-type] # plays the loop
    return log


def test_a_line_is_one_json_object_with_time_event_and_pod(pipe: Pipe) -> None:
    """What happened, when, and on which relay, as every line says."""
    log = EventLog(pipe.writing, ManualClock(1_800_000_000.5), pod="relay-0")
    log.emit("message.accepted", queue_id="Q1", count=1)
    assert pipe.lines() == [
        {
            "ts": "2027-01-15T08:00:00.500Z",
            "event": "message.accepted",
            "pod": "relay-0",
            "queue_id": "Q1",
            "count": 1,
        }
    ]


def test_lines_of_one_turn_are_written_together_and_in_order(pipe: Pipe, turns: Turns) -> None:
    """The log costs one system call a turn of the loop, not one a line."""
    log = attached(pipe, turns)
    for number in range(5):
        log.emit("x", n=number)
    assert len(turns.soon) == 1
    assert pipe.lines() == []
    turns.turn()
    assert [line["n"] for line in pipe.lines()] == [0, 1, 2, 3, 4]


def test_a_blocked_reader_delays_nobody(pipe: Pipe, turns: Turns) -> None:
    """Nobody reads: emitting goes on at once, and everything comes out whole when somebody reads again."""
    log = attached(pipe, turns)
    pipe.fill()
    for number in range(200):
        log.emit("x", n=number, text="y" * 100)
    turns.turn()
    assert turns.later, "it asks to be called again"
    for _ in range(50):
        pipe.drain()
        turns.turn()
    assert [line["n"] for line in pipe.lines()] == list(range(200))
    assert log.dropped == 0


def test_what_waits_is_bounded_and_the_loss_is_told(pipe: Pipe, turns: Turns) -> None:
    """A reader that is away for long costs lines, not memory; the log itself says how many."""
    log = attached(pipe, turns, pending_bytes=10_000)
    pipe.fill()
    for number in range(500):
        log.emit("x", n=number, text="y" * 100)
    turns.turn()
    lost = log.dropped
    assert 350 < lost < 500
    for _ in range(50):
        pipe.drain()
        turns.turn()
    lines = pipe.lines()
    assert [line["n"] for line in lines if line["event"] == "x"] == list(range(500 - lost))
    (told,) = [line for line in lines if line["event"] == "log.dropped"]
    assert told["lines"] == lost


def test_a_reader_that_is_gone_is_not_waited_for(pipe: Pipe, turns: Turns) -> None:
    """EPIPE: the lines are counted as lost, and the relay goes on."""
    log = attached(pipe, turns)
    pipe.close_reading()
    for _ in range(3):
        log.emit("x")
    turns.turn()
    assert log.dropped == 3
    log.emit("x")
    turns.turn()
    assert log.dropped == 4


def test_a_line_longer_than_the_pipe_comes_out_whole(pipe: Pipe, turns: Turns) -> None:
    """Many recipients in one line: it takes several writes and is still one line."""
    log = attached(pipe, turns)
    log.emit("x", text="y" * (3 * CHUNK_BYTES))
    log.emit("next")
    for _ in range(20):
        turn = threading.Thread(target=turns.turn, daemon=True)
        turn.start()
        turn.join(5)
        assert not turn.is_alive(), "a write waits for the reader"
        pipe.drain()
    first, second = pipe.lines()
    assert len(first["text"]) == 3 * CHUNK_BYTES
    assert second["event"] == "next"


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("value", "event"),
    [
        pytest.param(Path("/x"), "x", id="written as text"),
        pytest.param(Unprintable(), "log.unwritable", id="cannot be written"),
        pytest.param("\udcff", "log.unwritable", id="not Unicode"),
    ],
)
def test_emit_never_raises(pipe: Pipe, value: object, event: str) -> None:
    """Whatever a line holds, it is written, or that it could not be."""
    EventLog(pipe.writing, SystemClock()).emit("x", value=value)
    (line,) = pipe.lines()
    assert line["event"] == event


def test_close_waits_for_a_slow_reader_a_moment(pipe: Pipe) -> None:
    """The last lines of a relay that stops are not lost to a full pipe."""
    log = EventLog(pipe.writing, SystemClock())
    turns = Turns()
    log.attach(turns)  # type: ignore[arg-type] # plays the loop
    for number in range(100):
        log.emit("x", n=number, text="y" * 100)

    async def read_meanwhile() -> None:
        asyncio.get_running_loop().add_reader(pipe.reading, pipe.drain)
        await asyncio.to_thread(log.close, 10.0)

    asyncio.run(read_meanwhile())
    assert [line["n"] for line in pipe.lines()] == list(range(100))


def test_close_does_not_wait_for_ever(pipe: Pipe, turns: Turns) -> None:
    """A reader that never comes does not keep the process from ending."""
    log = EventLog(pipe.writing, SystemClock())
    log.attach(turns)  # type: ignore[arg-type] # plays the loop
    pipe.fill()
    log.emit("x")
    log.close(within_s=0.05)
    pipe.drain()
    assert pipe.lines() == []
