"""The figures of a comparison as rows: for the terminal here, for docs/performance.md in ``report``. Pure."""

import statistics
from collections.abc import Sequence
from typing import Any

from bench.record import spread

Row = tuple[str, ...]
BASE, OURS = "postfix", "waystation"
TITLES = {"waystation": "Waystation", "postfix": "Postfix", "exim": "Exim", "haraka": "Haraka"}


def of(result: dict[str, Any], server: str, workload: str, field: str) -> list[float]:
    return [
        figure[field]
        for figure in result["figures"]
        if (figure["server"], figure["workload"]) == (server, workload)
    ]


def ratio(result: dict[str, Any], workload: str) -> float | None:
    """Our median rate as a multiple of Postfix's."""
    ours, base = (of(result, server, workload, "rate") for server in (OURS, BASE))
    return statistics.median(ours) / statistics.median(base) if ours and base else None


def rates(result: dict[str, Any]) -> list[Row]:
    """Messages a second: one row a workload, one column a server, the ratio and its goal."""
    names = list(result["servers"])
    rows: list[Row] = [("messages a second", *(TITLES[name] for name in names), "times Postfix", "goal")]
    for key, workload in result["workloads"].items():
        cells = [of(result, name, key, "rate") for name in names]
        times = ratio(result, key)
        rows.append(
            (
                workload["title"],
                *(spread(cell) if cell else "-" for cell in cells),
                f"{times:.1f}" if times else "-",
                f"{workload['goal']:g}" if workload["goal"] else "",
            )
        )
    return rows


def costs(result: dict[str, Any]) -> list[Row]:
    """Microseconds of processor time a message, all processes of a server together."""
    names = list(result["servers"])
    rows: list[Row] = [("µs of CPU a message", *(TITLES[name] for name in names))]
    for key, workload in result["workloads"].items():
        cells = [of(result, name, key, "cpu_us") for name in names]
        rows.append((workload["title"], *(spread(cell) if cell else "-" for cell in cells)))
    return rows


def held(result: dict[str, Any]) -> list[Row]:
    """The most memory seen after any round, in MiB."""
    rows: list[Row] = [("memory after a round", "processes", "RSS, MiB", "PSS, MiB")]
    for name in result["servers"]:
        these = [figure for figure in result["figures"] if figure["server"] == name]
        if these:
            most = max(these, key=lambda figure: figure["pss_bytes"])
            rows.append(
                (
                    TITLES[name],
                    str(most["processes"]),
                    f"{most['rss_bytes'] / 2**20:,.0f}",
                    f"{most['pss_bytes'] / 2**20:,.0f}",
                )
            )
    return rows


def delays(result: dict[str, Any]) -> list[Row]:
    rows: list[Row] = [("ms from 250 to delivered", "messages a second", "p50", "p99", "worst")]
    rows += [
        (
            TITLES[one["server"]],
            f"{one['rate']:,.0f}",
            f"{one['p50']:,.1f}",
            f"{one['p99']:,.1f}",
            f"{one['worst']:,.1f}",
        )
        for one in result["latency"]
    ]
    return rows


def beside(result: dict[str, Any]) -> list[Row]:
    """Live rate beside a backlog, in percent of the rate without one."""
    by_interval: dict[float, list[dict[str, Any]]] = {}
    for one in result["backlog"]:
        by_interval.setdefault(one["interval_s"], []).append(one)
    rows: list[Row] = [
        ("deferred mails", "retried every", "messages a second", "of the rate without", "RSS, MiB")
    ]
    alone = statistics.median([one["rate"] for one in by_interval.get(0.0, [])] or [1.0])
    for interval_s, these in by_interval.items():
        found = [one["rate"] for one in these]
        rows.append(
            (
                f"{these[0]['backlog']:,}",
                f"{interval_s / 60:g} min" if interval_s else "",
                spread(found),
                f"{statistics.median(found) / alone:.0%}",
                f"{max(one['rss_bytes'] for one in these) / 2**20:,.0f}",
            )
        )
    return rows


def growth(result: dict[str, Any]) -> list[Row]:
    """Memory and start-up time for each queue size, and the line drawn on beyond the last."""
    rows: list[Row] = [
        ("messages", "page cache", "first 220, s", "first 250, s", "RSS at rest, MiB", "PSS, MiB")
    ]
    rows += [
        (
            f"{start['messages']:,}",
            "dropped" if start["is_cold"] else "warm",
            f"{start['greeting_s']:.1f}",
            f"{start['accept_s']:.1f}",
            f"{start['rss_bytes'] / 2**20:.0f}",
            f"{start['pss_bytes'] / 2**20:.0f}",
        )
        for start in result["starts"]
    ]
    beyond = result["extrapolated"]
    for kind, cache in (("cold", "dropped"), ("warm", "warm")):
        if kind in beyond:
            line = beyond[kind]
            rows.append(
                (
                    f"{beyond['target']:,} (extrapolated)",
                    cache,
                    "-",
                    f"{line['accept_s']:.0f}",
                    f"{line['rss_bytes'] / 2**20:.0f}",
                    "-",
                )
            )
    return rows


def all_of(result: dict[str, Any]) -> list[list[Row]]:
    """Every table that has more than its head."""
    made = (rates(result), costs(result), held(result), delays(result), beside(result))
    return [rows for rows in made if len(rows) > 1]


def aligned(rows: Sequence[Row]) -> str:
    """For a terminal: columns of figures to the right, columns of words to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = _figures(rows)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    )


def markdown(rows: Sequence[Row]) -> str:
    head, *body = rows
    line = "|" + "|".join("---:" if is_right else "---" for is_right in _figures(rows)) + "|"
    return "\n".join(["| " + " | ".join(head) + " |", line, *("| " + " | ".join(row) + " |" for row in body)])


def _figures(rows: Sequence[Row]) -> list[bool]:
    """Which columns hold figures: not the first, and every cell begins with a digit or is empty."""
    columns = list(zip(*rows[1:], strict=True))[1:]
    return [False, *(all(cell[:1].isdigit() or cell in ("", "-") for cell in column) for column in columns)]


def threads(profile: dict[str, Any]) -> list[Row]:
    """What each thread costs, and how it spends its time."""
    rows: list[Row] = [("thread", "µs a message", "of it system", "of a processor", "how it spends its time")]
    for thread in profile["threads"]:
        cost = thread["user_us"] + thread["system_us"]
        waits = ", ".join(f"{what} {share:.0%}" for what, share in thread["waits"].items() if share >= 0.005)
        rows.append(
            (thread["name"], f"{cost:.0f}", f"{thread['system_us']:.0f}", f"{thread['busy']:.0%}", waits)
        )
    return rows


def steps(profile: dict[str, Any], least_us: float = 1.0) -> list[Row]:
    """What each step costs, all threads together, down to a microsecond."""
    summed: dict[tuple[str, str, str], float] = {}
    for thread in profile["threads"]:
        for step in thread["steps"]:
            key = (step["package"], step["doing"], thread["name"])
            summed[key] = summed.get(key, 0.0) + step["us"]
    rows: list[Row] = [("step", "doing", "thread", "µs a message")]
    ranked = sorted(summed.items(), key=lambda item: -item[1])
    return rows + [(*key, f"{us:.0f}") for key, us in ranked if us >= least_us]


def functions(profile: dict[str, Any], most: int = 20) -> list[Row]:
    """The functions that cost most, with what they call outside this project."""
    found = [(f["us"], f["function"], t["name"]) for t in profile["threads"] for f in t["functions"]]
    rows: list[Row] = [("function", "thread", "µs a message")]
    return rows + [(name, thread, f"{us:.1f}") for us, name, thread in sorted(found, reverse=True)[:most]]


def profile_text(profile: dict[str, Any]) -> str:
    made = (threads(profile), steps(profile), functions(profile))
    head = f"\n{profile['title']}: {profile['rate']:,.0f} messages a second"
    return head + "".join(f"\n\n{aligned(rows)}" for rows in made)


def text(result: dict[str, Any]) -> str:
    return "".join(f"\n{aligned(rows)}\n" for rows in all_of(result))
