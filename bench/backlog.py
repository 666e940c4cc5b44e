"""Live mail beside a backlog: does a relay with many deferred mails still take and deliver at its rate?

Two relays alike but for their queues, started in turn: one empty, one with the
backlog, whose destination answers every RCPT with 4xx. The deferred mails are
due evenly over the retry interval and put off by the same again, so the relay
attempts ``backlog / interval`` of them each second all the while. Measured for
each interval: an hour, which is what a relay retries at after a few attempts
by default, and five minutes, Postfix's interval.

Only rounds that begin with nothing overdue count: mails that came due while
the relay was stopped are attempted first.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from bench import rounds
from bench.fill import Plan, fill
from bench.servers import PLAIN, Site, Waystation
from bench.sinks import Sink, deferring, smtp_sink
from bench.workloads import NEW
from tests.support.waiting import until

from waystation_contract.model import Retry

LATER = "later.test"
INTERVALS_S = (3600.0, 300.0)
LEAD_S = 5.0  # from the making of the backlog to its first mail due
CATCH_UP_WITHIN_S = 300.0
OVERDUE_S = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Live:
    """A round of live mail; ``interval_s`` 0 is the relay without a backlog."""

    interval_s: float
    backlog: int
    number: int
    messages: int
    seconds: float
    cpu_us: float
    rss_bytes: int

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


class Beside:
    """One relay over its own queue; started and stopped for each round."""

    def __init__(self, folder: Path, sink: Sink, later: Sink, interval_s: float, size: int) -> None:
        self.interval_s, self._size, self._sink = interval_s, size, sink
        site = Site(folder, {PLAIN: sink.port, LATER: later.port})
        retry = Retry(first_s=interval_s or 60.0, factor=1.0, max_s=interval_s or 60.0, jitter_percent=10)
        self._relay = Waystation(site, label=f"beside-{interval_s:g}", retry=retry)
        if interval_s:
            seconds = fill(self._relay.data, Plan(size, 4096, LATER, (LEAD_S, LEAD_S + interval_s)))
            print(f"  made a backlog of {size:,} in {seconds:.0f} s", flush=True)

    def round(self, messages: int, number: int) -> Live:
        with self._relay as relay:
            until(self._has_caught_up, "what came due meanwhile", within_s=CATCH_UP_WITHIN_S, every_s=0.5)
            if number:
                rounds.run(relay, self._sink, NEW, max(100, messages // 10), rest=self._rest)  # warm again
            figure = rounds.run(relay, self._sink, NEW, messages, number, rest=self._rest)
            left = relay.queued()
            assert left == self._rest, f"{left} of {self._rest} deferred mails are still queued"
            relay.stop()
        return Live(
            self.interval_s, self._rest, number, messages, figure.seconds, figure.cpu_us, figure.rss_bytes
        )

    @property
    def _rest(self) -> int:
        return self._size if self.interval_s else 0

    def _has_caught_up(self) -> bool:
        return self._relay.metric("waystation_queue_oldest_due_seconds") < OVERDUE_S


def run(folder: Path, size: int, messages: int, count: int) -> Sequence[Live]:
    """Interleaved rounds; the first of each only tells how many messages the others need."""
    figures: list[Live] = []
    with smtp_sink() as sink, deferring() as later:
        sides = [Beside(folder, sink, later, interval_s, size) for interval_s in (0.0, *INTERVALS_S)]
        rate = sides[0].round(max(100, messages // 10), 0).rate
        for number in range(1, count + 1):
            for side in sides:
                figure = side.round(NEW.messages(messages, rate), number)
                figures.append(figure)
                print(
                    f"  round {number}, backlog {figure.backlog:,}, every {figure.interval_s:g} s: "
                    f"{figure.rate:,.0f}/s, {figure.cpu_us:,.0f} µs of CPU",
                    flush=True,
                )
    return figures
