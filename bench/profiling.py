"""Where the relay's time goes: ``make bench-profile``.

    python -m bench.profiling [--workloads new reused large] [--seconds 10]

Puts the relay under each workload and looks twice: first at the processor time
of each of its threads, undisturbed, which gives microseconds a message; then
through py-spy, which stops the process to look at its stacks, native frames
included, and tells which part of that time each step takes (``stacks``).
Results go to ``bench/results``, py-spy's raw stacks beside them (a flame graph
for whoever draws one: ``flamegraph.pl`` and speedscope read them).

Known limits
    py-spy slows the relay while it looks, which shifts time from waiting to working. A share under
    one percent is a handful of samples.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import record, rounds, stacks, tables
from bench.compare import certificate
from bench.servers import ENCRYPTED, PLAIN, Site, Waystation
from bench.sinks import Sink, ours, smtp_sink
from bench.usage import PROC, TICKS_A_SECOND
from bench.workloads import BY_KEY, Workload
from tests.support.waiting import until

SPY = Path(sys.executable).with_name("py-spy")
HZ = 200
SETTLE_S = 1.0
MARGIN_S = 6.0  # for the start of py-spy, and what it slows down
WARM_UP = 2000


def thread_seconds(pid: int) -> dict[str, tuple[float, float]]:
    """User and system time of each thread so far, by its number."""
    times = {}
    for task in (PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(OSError):
            fields = (task / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
            times[task.name] = (int(fields[11]) / TICKS_A_SECOND, int(fields[12]) / TICKS_A_SECOND)
    return times


@contextlib.contextmanager
def load(workload: Workload, port: int, messages: int) -> Iterator[None]:
    """The generator beside us; ended when we are done."""
    with subprocess.Popen(
        rounds.generator(workload, port, messages), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            time.sleep(SETTLE_S)
            yield
            if process.poll() is not None:
                raise RuntimeError("the load ended before the profile did: give fewer --seconds")
        finally:
            process.kill()


def spy(pid: int, seconds: int, raw: Path) -> str:
    run = subprocess.run(
        [
            str(SPY), "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(HZ),
            "--format", "raw", "--native", "--threads", "--idle", "--output", str(raw),
        ],
        check=False, capture_output=True, text=True, timeout=seconds * 3 + 60,
    )  # fmt: skip
    if run.returncode != 0:
        raise RuntimeError(f"py-spy ended with {run.returncode}: {run.stderr[-500:]}")
    return raw.read_text(encoding="utf-8")


def measure(relay: Waystation, sink: Sink, workload: Workload, seconds: int, raw: Path) -> dict[str, Any]:
    """Threads with their cost a message, waits, steps and functions."""
    rate = rounds.run(relay, sink, workload, round(WARM_UP * workload.share)).rate
    messages = round(2 * rate * (2 * seconds + SETTLE_S + MARGIN_S))
    with load(workload, relay.port, messages):
        begun, before, cpu = time.monotonic(), sink.messages, thread_seconds(relay.root)
        time.sleep(seconds)
        spent, done, elapsed = thread_seconds(relay.root), sink.messages - before, time.monotonic() - begun
        samples = stacks.parse(spy(relay.root, seconds, raw))
    until(lambda: _is_quiet(relay, sink), "the rest of the load", within_s=60)
    return {
        "title": workload.title,
        "messages": done,
        "rate": done / elapsed,
        "threads": threads(relay.root, samples, cpu, spent, done, elapsed),
    }


def _is_quiet(relay: Waystation, sink: Sink) -> bool:
    """What the generator left behind when it was ended has been delivered."""
    before = sink.messages
    time.sleep(0.3)
    return relay.queued() == 0 and sink.messages == before


def threads(
    pid: int,
    samples: list[stacks.Sample],
    cpu: dict[str, tuple[float, float]],
    spent: dict[str, tuple[float, float]],
    messages: int,
    elapsed: float,
) -> list[dict[str, Any]]:
    """The threads of which there are samples; py-spy's name of each is its Python name."""
    numbers = {sample.thread: sample.number for sample in samples}
    made = []
    for name, number in numbers.items():
        user, system = (
            (after - before) / messages * 1e6
            for after, before in zip(spent.get(number, (0, 0)), cpu.get(number, (0, 0)), strict=True)
        )
        these = [sample for sample in samples if sample.thread == name]
        made.append(
            {
                "name": "main" if number == str(pid) else name,
                "user_us": user,
                "system_us": system,
                "busy": (user + system) * messages / 1e6 / elapsed,
                "waits": stacks.waits(these),
                "steps": [
                    {"package": step.package, "doing": step.doing, "us": us}
                    for step, us in stacks.step_costs(these, user, system).items()
                ],
                "functions": [
                    {"function": function, "us": us}
                    for function, us in stacks.function_costs(these, user, system).items()
                ],
            }
        )
    return sorted(made, key=lambda thread: -thread["user_us"] - thread["system_us"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workloads", nargs="+", choices=BY_KEY, default=["new", "reused", "large"])
    parser.add_argument("--seconds", type=int, default=10, help="of each look (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the queue lies")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # everything started is stopped then too
    if not SPY.exists():
        print("error: py-spy is missing: pip install -e '.[bench]'", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="waystation-bench-", dir=options.folder))
    folder.chmod(0o755)
    try:
        facts = record.machine(folder)
        print("\n".join(record.machine_lines(facts)))
        profiles = run(folder, [BY_KEY[key] for key in options.workloads], options.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record.save("profile", facts, {"profiles": profiles})
    for profile in profiles.values():
        print(tables.profile_text(profile))
    return 0


def run(folder: Path, workloads: list[Workload], seconds: int) -> dict[str, Any]:
    issued = certificate(folder)
    record.FOLDER.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        sinks = {PLAIN: stack.enter_context(smtp_sink())}
        if issued is not None:
            sinks[ENCRYPTED] = stack.enter_context(ours(issued))
        site = Site(folder, {domain: sink.port for domain, sink in sinks.items()}, issued)
        relay = stack.enter_context(Waystation(site))
        return {
            w.key: measure(relay, sinks[w.domain], w, seconds, record.FOLDER / f"stacks-{w.key}.raw")
            for w in workloads
        }


if __name__ == "__main__":
    sys.exit(main())
