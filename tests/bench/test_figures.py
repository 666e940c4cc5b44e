"""How figures are derived: numbers of messages, delays, extrapolation, tables and goals."""

from pathlib import Path
from typing import Any

import pytest
from bench import goals, latency, memory, record, tables
from bench.workloads import BY_KEY, WORKLOADS, Workload

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:5 / /dev rw,nosuid - devtmpfs devtmpfs rw
41 22 8:1 / /var/tmp rw,noatime - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("workload", "base", "rate", "messages"),
    [
        pytest.param(Workload("w", "w"), 5000, 300.0, 5000, id="slow server"),
        pytest.param(Workload("w", "w"), 5000, 50.0, 1000, id="very slow server"),
        pytest.param(Workload("w", "w"), 5000, 0.0, 5000, id="rate unknown"),
        pytest.param(Workload("w", "w"), 5000, 4000.0, 20_000, id="fast server"),
        pytest.param(Workload("w", "w", share=0.2), 5000, 300.0, 1000, id="costly mails"),
        pytest.param(Workload("w", "w"), 100, 1e9, 2000, id="never more than twenty times"),
        pytest.param(Workload("w", "w", sessions=200), 100, 300.0, 200, id="one for each session"),
    ],
)
def test_faster_servers_are_sent_more_and_slower_ones_fewer(
    workload: Workload, base: int, rate: float, messages: int
) -> None:
    """No round is over before it has begun, and none goes on for ever."""
    assert workload.messages(base, rate) == messages


def test_workloads_have_names_of_their_own() -> None:
    """A figure is found by its workload's name."""
    assert len(BY_KEY) == len(WORKLOADS)


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (75, 3.0), (99, 4.0), (100, 4.0)])
def test_percentile_is_a_figure_that_was_measured(percent: float, expected: float) -> None:
    """The smallest figure that so many percent of all do not exceed."""
    assert latency.percentile([1.0, 2.0, 3.0, 4.0], percent) == expected


def test_delays_run_from_the_250_to_the_arrival() -> None:
    """A mail that was delivered before the client had read its 250 was delivered at once."""
    sent, arrived = {0: 1_000_000, 1: 5_000_000}, {0: 3_500_000, 1: 4_000_000}
    assert latency.delays_ms(sent, arrived) == [0.0, 2.5]


def test_a_mail_that_never_arrived_is_no_figure() -> None:
    """A percentile over the mails that came would hide those that did not."""
    with pytest.raises(AssertionError, match="1 mails never reached the sink"):
        latency.delays_ms({0: 1, 1: 1}, {0: 2})


def test_extrapolation_follows_the_last_two_points() -> None:
    """What grew before does not bend the line."""
    assert memory.extrapolate([(0, 0.0), (100, 50.0), (200, 60.0)], 1000) == pytest.approx(140.0)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/var/tmp/x", "xfs on /dev/sdb (rw,noatime)"),
        ("/var/tmpfoo", "ext4 on /dev/vda (rw,relatime)"),
        ("/home", "ext4 on /dev/vda (rw,relatime)"),
    ],
)
def test_the_filesystem_is_the_one_that_holds_the_folder(folder: str, said: str) -> None:
    """The innermost mount point counts, whole names only."""
    assert record.filesystem(MOUNTS, Path(folder)) == said


def figure(server: str, workload: str, rate: float, cpu_us: float) -> dict[str, Any]:
    return {
        "server": server, "workload": workload, "rate": rate, "cpu_us": cpu_us,
        "rss_bytes": 2**20, "pss_bytes": 2**20, "processes": 1,
    }  # fmt: skip


def result(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """A comparison with one workload."""
    return {
        "servers": {"waystation": {}, "postfix": {}},
        "workloads": {"new": {"title": "4 KiB, new connections", "goal": 5.0}},
        "figures": [
            *(figure("waystation", "new", rate, 400) for rate in ours),
            *(figure("postfix", "new", rate, 1500) for rate in theirs),
        ],
        "latency": [{"server": "waystation", "rate": 10.0, "p50": 1.0, "p99": 249.9, "worst": 300.0}],
        "backlog": [
            {"interval_s": 0.0, "backlog": 0, "rate": 1000.0, "rss_bytes": 1},
            {"interval_s": 300.0, "backlog": 100_000, "rate": 790.0, "rss_bytes": 1},
        ],
    }


def test_the_ratio_is_of_medians() -> None:
    """One lucky or unlucky round does not make the ratio."""
    assert tables.ratio(result([900, 1000, 5000], [90, 200, 210]), "new") == 5.0


def test_goals_are_judged_by_the_figures() -> None:
    """Each goal is shown with what was measured, those that were missed as well."""
    rows = {row[0]: row[1:] for row in goals.rows(result([1000], [201]), None)}
    assert rows["4 KiB, new connections"] == ("at least 5 times Postfix", "4.98", "**no**")
    assert rows["processor time, 4 KiB, new connections"] == ("at most 500 µs", "400 µs", "yes")
    assert rows["from 250 to delivered at half load, p99"] == ("below 250 ms", "249.9 ms", "yes")
    beside = rows["live rate beside 100,000 deferred mails, retried every 5 min"]
    assert beside == ("at least 80%", "79%", "**no**")


def test_memory_goals_count_at_their_queue_size_only() -> None:
    """Little memory with a short queue meets no goal."""
    start = {"is_cold": True, "rss_bytes": 151 * 2**20, "accept_s": 10.0}
    measured = {
        "goals": {"messages": 1000, "rss_mib": 150, "start_s": 10.0},
        "starts": [{**start, "messages": 10, "rss_bytes": 1}, {**start, "messages": 1000}],
    }
    assert [row[2:] for row in goals.rows(None, measured)[1:]] == [
        ("151 MiB", "**no**"),
        ("10.0 s", "**no**"),
    ]


def test_a_server_that_dropped_out_has_a_dash() -> None:
    """A peer that failed a workload leaves an empty place, not a wrong column."""
    left = result([1000], [])
    assert tables.rates(left)[1] == ("4 KiB, new connections", "1,000", "-", "-", "5")


def test_tables_have_as_many_cells_in_each_row() -> None:
    """What is printed lines up, and Markdown shows every cell."""
    for rows in tables.all_of(result([1000, 1100], [200])):
        assert len({len(row) for row in rows}) == 1
        assert len({line.count("|") for line in tables.markdown(rows).splitlines()}) == 1
