"""Waystation beside Postfix and every other server that can run here: ``make bench``.

    python -m bench.compare [--messages 5000] [--rounds 3] [--servers waystation postfix]
                            [--workloads new tls] [--backlog 100000] [--folder /var/tmp] [--docs]

The same mails to the same sinks through every server in turn, their queues on
the same disk, in several interleaved rounds, so that whatever else the machine
does hits all. Then the delay from a 250 to the delivery at half of each
server's rate, and Waystation's rate beside a backlog. Results go to
``bench/results`` and as a table to the terminal.

Known limits
    Generators and sinks share the processors with what they measure, and
    nothing here says anything of networks or DNS.
"""

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import backlog, latency, plot, record, rounds, tables
from bench.cache import Absent, tool
from bench.peers import ALWAYS, OPTIONAL
from bench.servers import ENCRYPTED, PLAIN, TIMED, Server, Site
from bench.sinks import Sink, ours, smtp_sink
from bench.workloads import BY_KEY, NEW, WORKLOADS, Workload
from tests.support.certificates import Authority, Certificate
from tests.support.programs import find

NEEDED = ("postfix", "smtp-source", "smtp-sink")
WARM_UP = 0.1  # of a round
BACKLOG_TIMES = 20  # the backlog is so many times the messages of a round, unless it is given


@dataclasses.dataclass(slots=True)
class Bench:
    """What runs, and the figures so far."""

    servers: dict[str, Server]
    stacks: dict[str, contextlib.ExitStack]
    sinks: dict[str, Sink]
    folder: Path
    figures: list[rounds.Figure] = dataclasses.field(default_factory=list)
    rates: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)

    def drop(self, name: str, why: object) -> None:
        """A server that fails is out, and what it still has in its queue with it."""
        print(f"  {name} is out: {why}", flush=True)
        self.stacks[name].close()
        del self.servers[name]

    def round(self, workload: Workload, server: Server, messages: int, number: int) -> rounds.Figure:
        return rounds.run(server, self.sinks[workload.domain], workload, messages, number)


def certificate(folder: Path) -> Certificate | None:
    """For everybody's STARTTLS; ``None``, and a line that says why, without our generator and sink."""
    try:
        for name in ("source", "sink"):
            tool(name)
    except Absent as absent:
        print(f"without TLS and delays: {absent}")
        return None
    issued = Authority(folder).issue("localhost", "127.0.0.1")
    for path in (issued.chain, issued.key):
        path.chmod(0o644)  # each server has a user of its own
    return issued


@contextlib.contextmanager
def prepared(folder: Path, wanted: Sequence[str] | None) -> Iterator[Bench]:
    """Sinks and servers, started; gone when it ends."""
    issued = certificate(folder)
    with contextlib.ExitStack() as stack:
        sinks = {PLAIN: stack.enter_context(smtp_sink())}
        if issued is not None:
            sinks[ENCRYPTED] = stack.enter_context(ours(issued))
            sinks[TIMED] = stack.enter_context(ours(times=folder / "arrived"))
        site = Site(folder, {domain: sink.port for domain, sink in sinks.items()}, issued)
        bench = Bench({}, {}, sinks, folder)
        for make in (*ALWAYS, *OPTIONAL):
            if wanted and make.name not in wanted:
                continue
            try:
                server = make(site)
                bench.stacks[make.name] = stack.enter_context(contextlib.ExitStack())
                bench.stacks[make.name].enter_context(server)
            except Absent as absent:
                print(f"without {make.name}: {absent}")
            except AssertionError as error:
                if make in ALWAYS:
                    raise
                print(f"without {make.name}, which did not start: {error}")
            else:
                bench.servers[make.name] = server
        yield bench


def measure(bench: Bench, workloads: Sequence[Workload], messages: int, count: int) -> None:
    """A short round of each first, which warms up and tells how many messages a real one needs."""
    for number in range(count + 1):
        for workload in workloads:
            names = list(bench.servers)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                base = messages if number else max(100, round(messages * WARM_UP))
                sent = workload.messages(base, bench.rates.get((name, workload.key), 0.0) if number else 0.0)
                try:
                    figure = bench.round(workload, bench.servers[name], sent, number)
                except rounds.RoundFailed as failed:
                    if any(make.name == name for make in ALWAYS):
                        raise
                    bench.drop(name, failed)
                    continue
                if not number:
                    bench.rates[name, workload.key] = figure.rate
                    continue
                bench.figures.append(figure)
                print(
                    f"  round {number}, {workload.title}, {name}: {figure.rate:,.0f}/s, "
                    f"{figure.cpu_us:,.0f} µs of CPU",
                    flush=True,
                )


def delays(bench: Bench, messages: int) -> list[latency.Latency]:
    """At half of what each server did on new connections."""
    found = []
    for name, server in bench.servers.items():
        rates = [f.rate for f in bench.figures if (f.server, f.workload) == (name, NEW.key)]
        if TIMED in bench.sinks and rates:
            half = statistics.median(rates) / 2
            found.append(latency.measure(server, bench.sinks[TIMED], half, messages * 4, bench.folder))
    return found


def compare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    keys = options.workloads or list(BY_KEY)
    with prepared(folder, options.servers) as bench:
        workloads = [w for w in WORKLOADS if w.key in keys and w.domain in bench.sinks]
        described = {
            name: {"version": server.version(), "settings": server.settings}
            for name, server in bench.servers.items()
        }
        measure(bench, workloads, options.messages, options.rounds)
        found = delays(bench, options.messages)
    size = BACKLOG_TIMES * options.messages if options.backlog is None else options.backlog
    live = backlog.run(folder, size, options.messages, options.rounds) if size else []
    return {
        "options": {"messages": options.messages, "rounds": options.rounds, "backlog": size},
        "servers": described,
        "workloads": {w.key: {"title": w.title, "goal": w.goal} for w in workloads},
        "figures": [{**dataclasses.asdict(f), "rate": f.rate} for f in bench.figures],
        "latency": [dataclasses.asdict(one) for one in found],
        "backlog": [{**dataclasses.asdict(one), "rate": one.rate} for one in live],
    }


def main() -> int:
    names = [make.name for make in (*ALWAYS, *OPTIONAL)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5000, help="messages a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: %(default)s)")
    parser.add_argument("--servers", nargs="+", choices=names, help="only these")
    parser.add_argument("--workloads", nargs="+", choices=BY_KEY, help="only these")
    parser.add_argument(
        "--backlog", type=int, help=f"deferred mails; 0: none (default: {BACKLOG_TIMES} times messages)"
    )
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where all keep their queues")
    parser.add_argument("--docs", action="store_true", help="draw the plot for docs/images too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything started is stopped then too
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
    tempfile.tempdir = str(folder)  # servers that make folders of their own make them on this disk too
    try:
        facts = record.machine(folder)
        print("\n".join(record.machine_lines(facts)))
        figures = compare(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = record.save("compare", facts, figures)
    result = record.load(path)
    print(tables.text(result))
    plot.draw(result, docs=options.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
