"""One round: a workload through one server, from the first connection to an empty queue.

The rate is messages divided by the time from the start of the generator to the
last message at the sink. Processor time runs until the queue is empty, so that
what a server does after a delivery is counted too. A round in which anything
is missing, comes twice or stays in the queue is an error, not a figure.
"""

import dataclasses
import subprocess
import time
from collections.abc import Sequence

from bench import usage
from bench.cache import tool
from bench.servers import Server
from bench.sinks import Sink
from bench.workloads import Workload
from tests.support.programs import program
from tests.support.waiting import until

WITHIN_S = 600.0
EMPTY_WITHIN_S = 60.0


class RoundFailed(Exception):  # noqa: N818 -- the word for what happened
    """The server did not do what was asked; the text says where."""


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    server: str
    workload: str
    number: int  # the round; 0 is the warm-up
    messages: int
    seconds: float
    cpu_us: float  # of all its processes, for each message
    rss_bytes: int
    pss_bytes: int
    processes: int

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


def generator(workload: Workload, port: int, messages: int) -> Sequence[str]:
    if workload.is_encrypted:
        return [str(tool("source")), *workload.our_source(port, messages)]
    return [program("smtp-source"), *workload.smtp_source(port, messages)]


def run(
    server: Server, sink: Sink, workload: Workload, messages: int, number: int = 0, *, rest: int = 0
) -> Figure:
    """Raises ``RoundFailed``. ``rest`` is what stays in the queue: a backlog."""
    target, encrypted = sink.messages + messages, sink.encrypted
    cpu = usage.cpu_seconds(server.root)
    start = time.monotonic()
    try:
        subprocess.run(
            generator(workload, server.port, messages),
            check=True, timeout=WITHIN_S, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        seconds = sink.wait(target, WITHIN_S) - start
        until(lambda: server.queued() <= rest, "an empty queue", within_s=EMPTY_WITHIN_S, every_s=0.05)
    except subprocess.CalledProcessError as error:
        raise RoundFailed(f"the generator ended with {error.returncode}: {error.stderr[-300:]}") from error
    except (subprocess.TimeoutExpired, AssertionError) as error:
        raise RoundFailed(str(error)) from error
    cpu = usage.cpu_seconds(server.root) - cpu
    if workload.is_encrypted and sink.encrypted - encrypted != messages:
        raise RoundFailed(f"{sink.encrypted - encrypted} of {messages} messages came encrypted")
    held = usage.memory(server.root, skip_root=server.is_wrapped)
    return Figure(
        server.name, workload.key, number, messages, seconds, cpu / messages * 1e6,
        held.rss_bytes, held.pss_bytes, held.processes,
    )  # fmt: skip
