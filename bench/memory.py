"""How memory and start-up time grow with the queue: ``make bench-memory``.

Makes queues of growing size on disk (``bench.fill``: deferred mails, none due
while it measures) and starts the relay on each: once with the page cache
dropped, as on a fresh node, once with it warm. Times run from the start of the
process to the first 220 and to the 250 of the first mail; memory is read after
``--rest`` seconds without work.

    python -m bench.memory [--points 0 10000 100000 300000 1000000] [--bytes 4096] [--docs]

Goals: 150 MiB and 10 s with a million messages.

Known limits
    Beyond the largest measured queue the figures are a straight line through the last two
    points. Without root the page cache stays and only warm starts are measured.
"""

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import smtplib
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import plot, record
from bench.fill import Plan, fill
from bench.sinks import smtp_sink
from bench.usage import memory
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

from waystation_contract.model import Queue, Retry

MIB = 2**20
POINTS = (0, 10_000, 100_000, 300_000, 1_000_000)
TARGET = 10_000_000
READY_WITHIN_S = 300.0
GOAL_RSS_MIB, GOAL_START_S, GOAL_AT = 150, 10.0, 1_000_000
LATER = "later.test"
# Not before the last point is measured, and no later than the relay's own retry settings could put mail off.
DUE_IN_S = (1800.0, 3500.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Start:
    """One start of the relay: seconds until it answered, and what it held afterwards."""

    messages: int
    is_cold: bool
    greeting_s: float
    accept_s: float
    rss_bytes: int
    pss_bytes: int


def extrapolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """The straight line through the last two of the points, at ``x``."""
    (x0, y0), (x1, y1) = points[-2:]
    return y1 + (y1 - y0) / (x1 - x0) * (x - x1)


def drop_caches() -> bool:
    """Forget all clean pages; ``False`` when we may not."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3", encoding="ascii")
    except OSError:
        return False
    return True


def greet(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        return client.recv(3) == b"220"
    return False


def measure(folder: Path, messages: int, rest_s: float, *, is_cold: bool) -> Start:
    """Starts a relay on the folder's queue and sends it one mail."""
    with smtp_sink() as sink, RelayProcess(folder / "relay", data=folder / "spool") as relay:
        relay.configure(
            route(to(sink.port), recipients=("*@sink.test",)),
            route(to(sink.port), recipients=(f"*@{LATER}",), name="bench/later", retry=Retry()),
            queue=Queue(max_bytes=2**40, full_at_percent=99),
        )
        begun = time.monotonic()
        relay.start(wait=False)
        until(lambda: greet(relay.port), "the greeting", within_s=READY_WITHIN_S, every_s=0.005)
        greeting_s = time.monotonic() - begun
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=60) as client:
            client.sendmail("load@source.test", ["load@sink.test"], b"Subject: first\r\n\r\nmail\r\n")
        accept_s = time.monotonic() - begun
        sink.wait(1, 30.0)
        time.sleep(rest_s)
        assert relay.process is not None
        held = memory(relay.process.pid)
        assert relay.queued() == messages, f"{relay.queued()} messages queued, {messages} were made"
        relay.stop()
    return Start(messages, is_cold, greeting_s, accept_s, held.rss_bytes, held.pss_bytes)


def run(folder: Path, points: Sequence[int], size_bytes: int, rest_s: float) -> list[Start]:
    starts, made = [], 0
    for messages in points:
        if messages > made:
            seconds = fill(folder / "spool", Plan(messages - made, size_bytes, LATER, DUE_IN_S))
            print(f"  made {messages - made:,} messages in {seconds:.0f} s", flush=True)
            made = messages
        for is_cold in (True, False):
            if is_cold and not drop_caches():
                continue
            start = measure(folder, messages, rest_s, is_cold=is_cold)
            starts.append(start)
            print(
                f"{messages:>11,}  {'cold' if is_cold else 'warm'}  220 after {start.greeting_s:6.2f} s, "
                f"250 after {start.accept_s:6.2f} s, RSS {start.rss_bytes / MIB:6.1f} MiB, "
                f"PSS {start.pss_bytes / MIB:6.1f} MiB",
                flush=True,
            )
    return starts


def summary(starts: Sequence[Start]) -> dict[str, Any]:
    """Growth, and the line drawn on to ten million."""
    by_kind = {kind: [s for s in starts if s.is_cold == (kind == "cold")] for kind in ("cold", "warm")}
    lines: dict[str, Any] = {"target": TARGET}
    for kind, these in by_kind.items():
        if len(these) >= 2:
            lines[kind] = {
                "rss_bytes": extrapolate([(s.messages, s.rss_bytes) for s in these], TARGET),
                "accept_s": extrapolate([(s.messages, s.accept_s) for s in these], TARGET),
            }
    return lines


def verdict(starts: Sequence[Start]) -> list[str]:
    return [
        f"{'cold' if start.is_cold else 'warm'} start with {GOAL_AT:,}: "
        f"{start.rss_bytes / MIB:.0f} MiB of {GOAL_RSS_MIB}, {start.accept_s:.1f} s of {GOAL_START_S:g}"
        for start in starts
        if start.messages == GOAL_AT
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, nargs="+", default=POINTS, help="queue sizes, growing")
    parser.add_argument("--bytes", type=int, default=4096, help="size of each message (default: %(default)s)")
    parser.add_argument("--rest", type=float, default=10.0, help="seconds before memory is read")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the queue is made")
    parser.add_argument("--docs", action="store_true", help="draw the plot for docs/images too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything started is stopped then too
    folder = Path(tempfile.mkdtemp(prefix="waystation-bench-", dir=options.folder))
    try:
        facts = record.machine(folder)
        print("\n".join(record.machine_lines(facts)))
        starts = run(folder, sorted(options.points), options.bytes, options.rest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = record.save(
        "memory",
        facts,
        {
            "size_bytes": options.bytes,
            "starts": [dataclasses.asdict(start) for start in starts],
            "extrapolated": summary(starts),
            "goals": {"messages": GOAL_AT, "rss_mib": GOAL_RSS_MIB, "start_s": GOAL_START_S},
        },
    )
    print("\n".join(verdict(starts)))
    plot.draw(record.load(path), docs=options.docs)


if __name__ == "__main__":
    main()
