"""What is promised about speed and memory, and whether the latest figures keep it. Pure."""

import statistics
from typing import Any

from bench import tables

MIB = 2**20
CPU_US = 500.0
LATENCY_P99_MS = 250.0
BESIDE_BACKLOG = 0.80
Row = tables.Row
HEAD: Row = ("goal", "wanted", "measured", "met")


def rows(compare: dict[str, Any] | None, memory: dict[str, Any] | None) -> list[Row]:
    """One row for each goal of which there is a figure."""
    made = [HEAD]
    if compare is not None:
        made += _rates(compare) + _costs(compare) + _delays(compare) + _beside(compare)
    if memory is not None:
        made += _memory(memory)
    return made


def _rates(result: dict[str, Any]) -> list[Row]:
    found = []
    for key, workload in result["workloads"].items():
        times = tables.ratio(result, key)
        if workload["goal"] and times is not None:
            wanted = f"at least {workload['goal']:g} times Postfix"
            found.append(_row(workload["title"], wanted, f"{times:.2f}", times >= workload["goal"]))
    return found


def _costs(result: dict[str, Any]) -> list[Row]:
    found = []
    for key in ("new", "reused"):
        costs = tables.of(result, tables.OURS, key, "cpu_us")
        if costs:
            middle = statistics.median(costs)
            title = f"processor time, {result['workloads'][key]['title']}"
            found.append(_row(title, f"at most {CPU_US:g} µs", f"{middle:.0f} µs", middle <= CPU_US))
    return found


def _delays(result: dict[str, Any]) -> list[Row]:
    return [
        _row(
            "from 250 to delivered at half load, p99",
            f"below {LATENCY_P99_MS:g} ms",
            f"{one['p99']:.1f} ms",
            one["p99"] < LATENCY_P99_MS,
        )
        for one in result["latency"]
        if one["server"] == tables.OURS
    ]


def _beside(result: dict[str, Any]) -> list[Row]:
    found = []
    for row in tables.beside(result)[1:]:
        deferred, interval, _, part, _ = row
        if interval:
            title = f"live rate beside {deferred} deferred mails, retried every {interval}"
            kept = float(part.rstrip("%")) / 100
            found.append(_row(title, f"at least {BESIDE_BACKLOG:.0%}", part, kept >= BESIDE_BACKLOG))
    return found


def _memory(result: dict[str, Any]) -> list[Row]:
    goals = result["goals"]
    found = []
    for start in result["starts"]:
        if start["messages"] != goals["messages"]:
            continue
        state = f"{goals['messages']:,} messages, page cache {'dropped' if start['is_cold'] else 'warm'}"
        rss, seconds = start["rss_bytes"] / MIB, start["accept_s"]
        found += [
            _row(f"RSS at rest, {state}", f"at most {goals['rss_mib']} MiB", f"{rss:.0f} MiB",
                 rss <= goals["rss_mib"]),
            _row(f"start to first accept, {state}", f"below {goals['start_s']:g} s", f"{seconds:.1f} s",
                 seconds < goals["start_s"]),
        ]  # fmt: skip
    return found


def _row(title: str, wanted: str, measured: str, is_met: bool) -> Row:
    return title, wanted, measured, "yes" if is_met else "**no**"
