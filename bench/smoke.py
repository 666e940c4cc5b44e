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
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.support.postfix import Postfix
from tests.support.programs import find
from tests.support.relay import RelayProcess, route, to
from tests.support.smtpsink import CountingSink
from tests.support.waiting import until

from waystation_contract.model import Delivery

SESSIONS = 20
BYTES = 4096
ROUND_WITHIN_S = 300.0
NEEDED = ("postfix", "smtp-source", "smtp-sink")
# What somebody who wants throughput would set; what makes mail safe stays as Postfix has it.
TUNED = {
    "default_process_limit": "200",
    "initial_destination_concurrency": "20",
    "default_destination_concurrency_limit": "50",
}


class Server(Protocol):
    port: int

    def queued(self) -> int: ...


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
    seconds = sink.wait(target, ROUND_WITHIN_S) - start
    until(lambda: server.queued() == 0, "an empty queue", within_s=10, every_s=0.05)
    return messages / seconds


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[dict[str, Server], CountingSink]]:
    with (
        CountingSink() as sink,
        RelayProcess(folder / "waystation") as relay,
        Postfix(folder, relay_to_port=sink.port, **TUNED) as postfix,
    ):
        relay.configure(route(to(sink.port)), delivery=Delivery(connections_per_destination=50))
        relay.start()
        yield {"waystation": relay, "postfix": postfix}, sink


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
    tempfile.tempdir = str(folder)  # Postfix's queue too
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
        f"{messages:,} messages of {BYTES:,} bytes by {SESSIONS} sessions, {rounds} rounds of each, "
        f"on {os.cpu_count()} processors"
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
    """The medians, in brackets the slowest and the fastest round."""
    print(f"\n{'messages a second':20} {'Waystation':>24} {'Postfix':>24} {'ratio':>7}")
    for load in LOADS:
        ours, theirs = results[load.name, "waystation"], results[load.name, "postfix"]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"{load.name:20} {spread(ours):>24} {spread(theirs):>24} {ratio:>7.1f}")


def spread(figures: list[float]) -> str:
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


if __name__ == "__main__":
    sys.exit(main())
