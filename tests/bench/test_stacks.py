"""Sampled stacks: who waits, for what, and which step a working thread is at."""

import pytest
from bench.stacks import DISK, LOOP, Step, function_costs, parse, step_costs, step_of, wait_of, waits

OUTSIDE = "run (waystation_relay/app.py:105)"
SESSION = "Session._say (waystation_relay/receive/session.py:200)"
INDEX = "Index.commit (waystation_relay/spool/index.py:112)"
LIBC = "0x7f57e62a3f16 (libc.so.6)"


@pytest.mark.parametrize(
    ("frames", "waits_for"),
    [
        pytest.param((OUTSIDE, "epoll_pwait (libc.so.6)"), "work", id="for sockets"),
        pytest.param(("PyThread_acquire_lock_timed (libpython3.11.so.1.0)", LIBC, LIBC), "work", id="queue"),
        pytest.param((INDEX, "pthread_cond_timedwait (libc.so.6)", LIBC), "interpreter lock", id="lock"),
        pytest.param((INDEX, "sqlite3WalFrames (x.so)", "fdatasync (libc.so.6)"), "disk sync", id="disk"),
        pytest.param((SESSION, "write (libc.so.6)"), None, id="works"),
        pytest.param(("fsync (libc.so.6)", INDEX, *("a (x.so)",) * 3), None, id="further out"),
    ],
)  # fmt: skip
def test_waits_are_told_by_the_innermost_frames(frames: tuple[str, ...], waits_for: str | None) -> None:
    """Time in which a thread stands still is not counted as its work."""
    assert wait_of(frames) == waits_for


@pytest.mark.parametrize(
    ("frames", "step"),
    [
        pytest.param((OUTSIDE, SESSION, "write (libc.so.6)"), Step("receive", "write"), id="system call"),
        pytest.param((INDEX, "sqlite3_step (libsqlite3.so.0)"), Step("spool", "SQLite"), id="library"),
        pytest.param((INDEX, "sqlite3_step (libsqlite3.so.0)", "pwrite64 (libc.so.6)"),
                     Step("spool", DISK), id="call below a library"),
        pytest.param((OUTSIDE, SESSION), Step("receive", "Python"), id="our own code"),
        pytest.param((OUTSIDE, "read (libc.so.6)"), Step(LOOP, "read"), id="event loop"),
        pytest.param((OUTSIDE, "call_soon (loop.c:1)"), Step(LOOP, "libuv and asyncio"), id="loop itself"),
        pytest.param((SESSION, "emit (waystation_relay/observe/log.py:67)"), Step("observe", "Python"),
                     id="innermost package"),
    ],
)  # fmt: skip
def test_a_step_is_the_innermost_package_and_what_it_does(frames: tuple[str, ...], step: Step) -> None:
    """The cost of a system call falls to whoever made it."""
    assert step_of(frames) == step


RAW = f"""\
thread (12): MainThread;{OUTSIDE};{SESSION};write (libc.so.6) 3
thread (12): MainThread;{OUTSIDE};{SESSION} 4
thread (12): MainThread;{OUTSIDE};epoll_pwait (libc.so.6) 5
thread (12): MainThread;{OUTSIDE};read (libc.so.6) 1
process 12;broken line
"""


def test_samples_name_their_thread() -> None:
    """What is no sample of a thread is passed over."""
    samples = parse(RAW)
    assert {(sample.number, sample.thread) for sample in samples} == {("12", "MainThread")}
    assert sum(sample.count for sample in samples) == 13


def test_waits_are_parts_of_a_threads_time() -> None:
    """A thread with nothing to do is seen to wait for work."""
    assert waits(parse(RAW)) == {"at work": 8 / 13, "work": 5 / 13}


def test_system_calls_share_the_system_time_and_the_rest_the_user_time() -> None:
    """A thread that lost its processor in a system call is not charged more than the kernel used."""
    samples = parse(RAW)
    assert step_costs(samples, user_us=100.0, system_us=40.0) == {
        Step("receive", "Python"): 100.0,
        Step("receive", "write"): 30.0,
        Step(LOOP, "read"): 10.0,
    }
    assert function_costs(samples, user_us=100.0, system_us=40.0) == {
        "receive/session.py Session._say": 130.0,
        LOOP: 10.0,
    }
