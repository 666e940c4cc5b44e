"""``make soak``: one relay under mixed traffic for a while, its memory, descriptors and disk watched.

    python -m tests.load.soak [--minutes 15] [--rate 150] [--to FOLDER]

Sizes from 4 kB to 2 MB, up to 100 recipients, deferrals, refusals, a dead
destination, clients that go away within a message, connections that come and
go, and a new configuration every few seconds. Each 250 is accounted for:
its recipients get the message once, or its sender gets a report.

Writes ``soak.csv`` and, with matplotlib, ``soak.png``. Exit code: 0 all is
accounted for and memory and descriptors are level; 1 they are not, and what is.
"""

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.load.ledger import Ledger
from tests.load.samples import MIB, Sample, Trend, plot, trends, write
from tests.load.traffic import Account, Churn, Repeated, Sender
from tests.support.footprint import Footprint
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, listener, route, to

from waystation_contract.model import Delivery, Limits, Retry, Route

RESULTS = Path(__file__).parents[2] / "bench" / "results"
SENDERS = 6
SAMPLES = 180  # in a run, but none oftener than every second
CONFIGURED_EVERY_S = 7.0
DRAINED_WITHIN_S = 60.0
RETRY = Retry(first_s=1.0, max_s=4.0, jitter_percent=10, warn_after_s=0.0, expire_after_s=3600.0)
DEAD = Retry(first_s=1.0, max_s=4.0, jitter_percent=10, warn_after_s=0.0, expire_after_s=5.0)
LEFT_OPEN = 8  # descriptors more than at the start, when all is over


@dataclasses.dataclass(slots=True)
class Outcome:
    """``faults``: what makes the run fail, in words."""

    samples: list[Sample]
    trends: list[Trend]
    account: Account
    connections: int
    configurations: int
    at_start: Footprint
    at_end: Footprint
    faults: list[str]


class Soak:
    def __init__(self, minutes: float, rate: float, folder: Path) -> None:
        self._seconds, self._rate = minutes * 60, rate
        self._every_s = max(1.0, self._seconds / SAMPLES)
        self._account = Account()
        self._ledger = Ledger(self._account.answer, self._account.note)
        self._relay = RelayProcess(folder)
        self._dead_port = free_port()
        self._configurations = 0
        self._samples: list[Sample] = []

    def run(self) -> Outcome:
        with self._ledger, self._relay as relay:
            relay.configure(*self._routes(), **self._document())
            relay.start()
            assert relay.process is not None
            pid = relay.process.pid
            at_start = Footprint.of(pid)
            stop = threading.Event()
            share = self._rate / SENDERS
            senders = [Sender(f"n{n}", relay.port, share, self._account, stop) for n in range(SENDERS)]
            churn = Churn(relay.port, stop)
            settings = Repeated("configuration", CONFIGURED_EVERY_S, self._configure, stop)
            threads = [*senders, churn, settings]
            for thread in threads:
                thread.start()
            self._watch(pid)
            stop.set()
            for thread in threads:
                thread.join(30)
            faults = [f"{t.name}: {t.error!r}" for t in (*senders, settings) if t.error is not None]
            faults += self._drained()
            at_end = self._rested(pid, at_start)
            found = trends(self._samples)
            faults += [str(trend) for trend in found if trend.is_upward]
            if at_end.fds > at_start.fds + LEFT_OPEN:
                faults.append(f"descriptors: {at_start.fds} at the start, {at_end.fds} at the end")
            faults += [f"internal error: {line}" for line in relay.log("internal.error")[:5]]
            with contextlib.suppress(AssertionError):
                relay.stop()
            return Outcome(
                self._samples, found, self._account, churn.connections, self._configurations,
                at_start, at_end, faults,
            )  # fmt: skip

    def _routes(self) -> list[Route]:
        """The last one comes and goes."""
        odd = self._configurations % 2
        return [
            route(to(self._dead_port), recipients=("*@dead.test",), name="test/dead", retry=DEAD),
            route(to(self._ledger.port), name="test/ledger", retry=RETRY),
            *([route(to(self._ledger.port), recipients=("*@odd.test",), name="test/odd")] if odd else []),
        ]

    def _document(self) -> dict[str, object]:
        limits = Limits(max_sessions_per_client=1000)
        return {
            "listeners": (listener(self._relay.port, limits=limits),),
            "delivery": Delivery(messages_per_connection=50 + self._configurations % 7),
        }

    def _configure(self) -> None:
        self._configurations += 1
        self._relay.apply(*self._routes(), **self._document())

    def _watch(self, pid: int) -> None:
        begun = before = time.monotonic()
        accepted = 0
        while (now := time.monotonic()) < begun + self._seconds:
            time.sleep(min(self._every_s, begun + self._seconds - now))
            now, footprint = time.monotonic(), Footprint.of(pid)
            total = self._account.promised
            sample = Sample(
                at_s=now - begun,
                rss_mib=footprint.rss_bytes / MIB,
                fds=footprint.fds,
                queued=self._relay.queued(),
                wal_mib=_size(self._relay.data, "*-wal") / MIB,
                spool_mib=_size(self._relay.data, "**/*") / MIB,
                accepted=total,
                rate=(total - accepted) / (now - before),
            )
            self._samples.append(sample)
            accepted, before = total, now
            if sys.stdout.isatty() or len(self._samples) % 10 == 1:
                print(
                    f"{sample.at_s:6.0f} s  {sample.rss_mib:5.1f} MiB  {sample.fds:4d} descriptors  "
                    f"{sample.queued:5d} queued  {sample.wal_mib:5.1f} MiB WAL  {sample.rate:5.0f} a second",
                    flush=True,
                )

    def _drained(self) -> list[str]:
        """What is not accounted for when there was time enough."""
        deadline = time.monotonic() + DRAINED_WITHIN_S
        while (self._account.open or self._relay.queued()) and time.monotonic() < deadline:
            time.sleep(0.2)
        faults = []
        if left := self._account.open:
            some = dict(list(left.items())[:5])
            faults.append(f"{len(left)} messages with a 250 neither arrived nor came back: {some} …")
        if queued := self._relay.queued():
            faults.append(f"{queued} messages are still in the queue")
        if self._account.surprises:
            faults.append(f"arrived though nobody waited for it: {dict(self._account.surprises)}")
        return faults

    def _rested(self, pid: int, at_start: Footprint) -> Footprint:
        """When idle connections are closed."""
        deadline = time.monotonic() + 15
        while (found := Footprint.of(pid)).fds > at_start.fds + LEFT_OPEN and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


def _size(folder: Path, pattern: str) -> int:
    total = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # gone meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


def soak(minutes: float, rate: float, results: Path) -> Outcome:
    """Runs it, writes the files and prints the figures."""
    with tempfile.TemporaryDirectory(prefix="waystation-soak-") as folder:
        outcome = Soak(minutes, rate, Path(folder)).run()
    account = outcome.account
    write(outcome.samples, results / "soak.csv")
    drawn = plot(outcome.samples, results / "soak.png")
    print(
        f"{account.promised} messages to {account.recipients} recipients accepted; {account.arrived} copies "
        f"arrived, {account.put_off} of them put off once; {account.reports} reports; "
        f"{outcome.connections} idle connections, {outcome.configurations} configurations"
    )
    print(f"at the start {outcome.at_start}; at the end {outcome.at_end}")
    for trend in outcome.trends:
        print(trend)
    print(f"written: {results / 'soak.csv'}")
    print(f"drawn: {results / 'soak.png'}" if drawn else "no plot: matplotlib is missing")
    for fault in outcome.faults:
        print(f"FAULT {fault}")
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak", description="Soak a relay.")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rate", type=float, default=150, help="messages a second")
    parser.add_argument("--to", type=Path, default=RESULTS, help="where soak.csv and soak.png go")
    chosen = parser.parse_args()
    return 1 if soak(chosen.minutes, chosen.rate, chosen.to).faults else 0


if __name__ == "__main__":
    sys.exit(main())
