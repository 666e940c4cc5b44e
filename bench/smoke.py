"""Waystation against the installed Postfix: the same mails, the same sink, the same disk, in turn.

``make bench``, or ``python -m bench.smoke --messages 5000 --rounds 3``. Both
accept from smtp-source and relay to smtp-sink, all on loopback; both sync each
message to disk before its 250. Rounds are interleaved, so that whatever else
the machine does hits both. A rate is messages divided by the time from the
first connection to the last message's arrival at the sink; a round in which
something is missing or left in a queue is an error, not a figure.

Known limits
    smtp-source and smtp-sink share the processors with what they measure, and
    the figure says nothing of networks, TLS or DNS.
"""

import argparse
import contextlib
import dataclasses
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from bench.postfix import Postfix
from tests.support.ports import free_port
from tests.support.programs import find
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

from waystation_contract.model import Delivery

SESSIONS = 20
BYTES = 4096
ROUND_WITHIN_S = 300.0
NEEDED = ("postfix", "smtp-source", "smtp-sink")


class Server(Protocol):
    port: int

    def queued(self) -> int: ...


class CountingSink:
    """smtp-sink, and how many messages it says it has received."""

    def __init__(self, port: int) -> None:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [str(find("smtp-sink")), *user, "-c", "-m", "1000", f"127.0.0.1:{port}", "1000"],
            stdout=subprocess.PIPE,
        )
        self._messages = 0
        self._last = 0.0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        while block := os.read(self._process.stdout.fileno(), 65536):
            rest = (rest + block)[-200:]
            if counts := re.findall(rb"mesg=(\d+)", rest):
                seen = int(counts[-1])
                if seen != self._messages:
                    self._messages, self._last = seen, time.monotonic()

    def wait(self, messages: int) -> float:
        """When the last of so many messages, counted from the start, arrived (monotonic)."""
        until(lambda: self._messages >= messages, f"{messages} messages at the sink", within_s=ROUND_WITHIN_S)
        assert self._messages == messages, f"{self._messages - messages} duplicates at the sink"
        return self._last

    @property
    def messages(self) -> int:
        return self._messages

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    name: str
    options: tuple[str, ...]


LOADS = (Load("new connections", ()), Load("reused connections", ("-d",)))


def rate(server: Server, sink: CountingSink, load: Load, messages: int) -> float:
    """Messages a second through this server."""
    target = sink.messages + messages
    start = time.monotonic()
    subprocess.run(
        [
            str(find("smtp-source")), "-4", "-m", str(messages), "-s", str(SESSIONS), "-l", str(BYTES),
            "-M", "source.test", "-f", "load@source.test", "-t", "load@sink.test", *load.options,
            f"127.0.0.1:{server.port}",
        ],
        check=True, timeout=ROUND_WITHIN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = sink.wait(target) - start
    until(lambda: server.queued() == 0, "an empty queue", within_s=10, every_s=0.05)
    return messages / seconds


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[dict[str, Server], CountingSink]]:
    sink_port = free_port()
    sink = CountingSink(sink_port)
    relay = RelayProcess(folder / "waystation")
    relay.configure(route(to(sink_port)), delivery=Delivery(connections_per_destination=50))
    postfix = Postfix(folder / "postfix", free_port(), sink_port)
    try:
        postfix.start()
        relay.start()
        yield {"waystation": relay, "postfix": postfix}, sink
    finally:
        postfix.stop()
        relay.close()
        sink.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5000, help="messages a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where both keep their queues")
    options = parser.parse_args()
    if absent := [name for name in NEEDED if find(name) is None]:
        print(f"error: {', '.join(absent)} not found: apt-get install postfix", file=sys.stderr)
        return 1
    if os.geteuid() != 0:
        print(
            "error: Postfix starts as root only; run this as root, in a container for example",
            file=sys.stderr,
        )
        return 1
    folder = Path(tempfile.mkdtemp(prefix="waystation-bench-", dir=options.folder))
    folder.chmod(0o755)
    try:
        with servers(folder) as (pair, sink):
            results = measure(pair, sink, options.messages, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table(results)
    return 0


Results = dict[tuple[str, str], list[float]]


def measure(pair: dict[str, Server], sink: CountingSink, messages: int, rounds: int) -> Results:
    print(
        f"{messages} messages of {BYTES} bytes by {SESSIONS} sessions, {rounds} rounds, {os.cpu_count()} processors"
    )
    results: Results = {}
    for server in pair.values():  # both have run once before either is timed
        rate(server, sink, LOADS[0], min(messages, 200))
    for number in range(rounds):
        for load in LOADS:
            for name, server in pair.items():
                figure = rate(server, sink, load, messages)
                results.setdefault((load.name, name), []).append(figure)
                print(f"  round {number + 1}, {load.name}, {name}: {figure:,.0f}/s", flush=True)
    return results


def table(results: Results) -> None:
    print(f"\n{'messages a second, end to end':30} {'median':>8} {'min':>8} {'max':>8}")
    for (load, name), figures in results.items():
        print(
            f"{load + ', ' + name:30} {statistics.median(figures):8,.0f} {min(figures):8,.0f} {max(figures):8,.0f}"
        )
    for load in LOADS:
        ratio = statistics.median(results[load.name, "waystation"]) / statistics.median(
            results[load.name, "postfix"]
        )
        print(f"{load.name}: Waystation does {ratio:.1f} times Postfix's rate")


if __name__ == "__main__":
    sys.exit(main())
