"""From sampled stacks to a table of steps: what a thread does, in words of this project. Pure.

A sample is what ``py-spy record --format raw --native --threads --idle``
writes: the thread, then its frames from the outside in, then how often it was
seen. Each sample is either *waiting* (for work, for the interpreter lock, for
the disk), which costs time and no processor, or at a *step*: the innermost of
our packages on the stack, and what it was doing there (a system call by kind,
SQLite, TLS, or Python).

A thread that was robbed of its processor looks as if it worked, and that happens
in system calls above all: whom a ``write`` wakes runs first. So samples in system
calls share out the thread's system time, the others its user time.
"""

import collections
import dataclasses
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

OURS = re.compile(r"^(?P<name>.+) \(waystation_relay/(?P<package>\w+)(?:\.py|/)(?P<rest>[^:)]*).*\)$")
THREAD = re.compile(r"^thread \((?P<number>\w+)\)(?:: (?P<name>.*))?$")
NATIVE = re.compile(r"^(?P<name>\S+) \((?P<library>[^)]+)\)$")
Key = TypeVar("Key", bound=Hashable)
LOOP = "event loop"
AROUND = frozenset({"app", "cli"})  # below them everything runs: on top of a stack they are the event loop
INNERMOST = 4  # frames in which a wait or a system call shows itself; libc adds some of its own

# What the innermost frames are called while a thread waits → what it waits for. In order: the first found.
WAITS: tuple[tuple[str, frozenset[str]], ...] = (
    ("disk sync", frozenset({"fdatasync", "fsync"})),
    (
        "work",
        frozenset({"epoll_pwait", "epoll_wait", "PyThread_acquire_lock_timed", "PyThread_acquire_lock"}),
    ),
    # Nothing else of a relay's threads waits on a condition or takes a mutex for long.
    ("interpreter lock", frozenset({"pthread_cond_timedwait", "pthread_cond_wait", "pthread_mutex_lock"})),
)
DISK = "disk: write, sync, lock"  # what a sync costs the processor cannot be told from its waiting
CALLS: dict[str, str] = {
    "write": "write", "writev": "write", "sendmsg": "write", "send": "write", "__send": "write",
    "read": "read", "recv": "read", "recvmsg": "read", "__recv": "read",
    "accept4": "accept", "connect": "connect", "close": "close", "__close": "close", "shutdown": "close",
    "getsockname": "socket options", "getpeername": "socket options", "setsockopt": "socket options",
    "socket": "connect", "epoll_ctl": "epoll", "syscall": "epoll",
    "pwrite64": DISK, "pwritev": DISK, "pread64": DISK, "fcntl64": DISK,
}  # fmt: skip
KINDS_OF_CALL = frozenset(CALLS.values())
LIBRARIES = (("sqlite", "SQLite"), ("libssl", "TLS"), ("libcrypto", "TLS"))


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    number: str  # the kernel's, of the thread
    thread: str
    frames: tuple[str, ...]
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """``package`` of ours, or the event loop; ``doing`` is a system call, a library or ``Python``."""

    package: str
    doing: str


def parse(raw: str) -> list[Sample]:
    """``thread (1): name;outermost;…;innermost 12``, one a line."""
    samples = []
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        named = THREAD.match(thread)
        if named and count.isdigit():
            samples.append(Sample(named["number"], named["name"], tuple(frames), int(count)))
    return samples


def wait_of(frames: Sequence[str]) -> str | None:
    """What the thread waits for; ``None`` when it works."""
    innermost = {name_of(frame) for frame in frames[-INNERMOST:]}
    return next((what for what, names in WAITS if names & innermost), None)


def step_of(frames: Sequence[str]) -> Step:
    found = (OURS.match(frame) for frame in reversed(frames))
    ours = next((match for match in found if match and match["package"] not in AROUND), None)
    package = ours["package"] if ours else LOOP
    for frame in reversed(frames[-INNERMOST:]):
        if call := CALLS.get(name_of(frame)):
            return Step(package, call)
    for frame in reversed(frames):
        if OURS.match(frame):
            break
        if native := NATIVE.match(frame):
            for part, name in LIBRARIES:
                if part in native["library"]:
                    return Step(package, name)
    return Step(package, "Python" if ours else "libuv and asyncio")


def name_of(frame: str) -> str:
    return frame.partition(" (")[0]


def function_of(frames: Sequence[str]) -> str:
    """The innermost function of ours, with its module: ``spool/index.py commit``."""
    for frame in reversed(frames):
        match = OURS.match(frame)
        if match and match["package"] not in AROUND:
            return f"{match['package']}/{match['rest']} {match['name']}"
    return LOOP


def waits(samples: Iterable[Sample]) -> dict[str, float]:
    """Of a thread's time, the part in each kind of wait; ``at work`` is the rest."""
    counts: collections.Counter[str] = collections.Counter()
    for sample in samples:
        counts[wait_of(sample.frames) or "at work"] += sample.count
    total = counts.total() or 1
    return {what: count / total for what, count in counts.most_common()}


def step_costs(samples: Iterable[Sample], user_us: float, system_us: float) -> dict[Step, float]:
    """What a thread's time went to: microseconds of each step, dearest first."""
    counted: collections.Counter[tuple[Step, bool]] = collections.Counter()
    for sample in samples:
        if wait_of(sample.frames) is None:
            step = step_of(sample.frames)
            counted[step, step.doing in KINDS_OF_CALL] += sample.count
    return _shared_out(counted, user_us, system_us)


def function_costs(samples: Iterable[Sample], user_us: float, system_us: float) -> dict[str, float]:
    """The same for each function of ours, with what it calls outside ours."""
    counted: collections.Counter[tuple[str, bool]] = collections.Counter()
    for sample in samples:
        if wait_of(sample.frames) is None:
            is_call = step_of(sample.frames).doing in KINDS_OF_CALL
            counted[function_of(sample.frames), is_call] += sample.count
    return _shared_out(counted, user_us, system_us)


def _shared_out(
    counted: Mapping[tuple[Key, bool], int], user_us: float, system_us: float
) -> dict[Key, float]:
    totals = {
        is_call: sum(n for (_, its), n in counted.items() if its == is_call) for is_call in (False, True)
    }
    costs: dict[Key, float] = {}
    for (key, is_call), count in counted.items():
        cost = count / totals[is_call] * (system_us if is_call else user_us)
        costs[key] = costs.get(key, 0.0) + cost
    return dict(sorted(costs.items(), key=lambda item: -item[1]))
