"""Processor time and memory of a tree of processes, from lines as /proc has them."""

import subprocess
import sys
from pathlib import Path

import pytest
from bench import usage
from bench.usage import Process, descendants, parse_rollup, parse_stat
from tests.support.waiting import until

REAPER = Path(usage.__file__).with_name("reaper.py")
STAT = (
    "{pid} ({name}) S {parent} 1 1 0 -1 4194304 0 0 0 0 {user} {system} {gone_user} {gone_system} 20 0 1 0 5"
)


@pytest.mark.parametrize("name", ["smtpd", "two words", "a) R 1 (b", ""])
def test_stat_is_read_whatever_the_process_is_called(name: str) -> None:
    """A process may call itself anything, even something that looks like the fields behind its name."""
    line = STAT.format(pid=7, name=name, parent=3, user=10, system=5, gone_user=2, gone_system=1)
    assert parse_stat(line) == Process(7, 3, 15, 3)


def test_descendants_are_the_root_and_all_below_it() -> None:
    """Children of children count, strangers and parents do not."""
    table = [Process(pid, parent, 0, 0) for pid, parent in ((1, 0), (9, 5), (5, 2), (2, 1), (3, 1), (6, 2))]
    assert {process.pid for process in descendants(2, table)} == {2, 5, 6, 9}


def test_a_root_that_is_gone_has_no_descendants() -> None:
    """A server that ended has no processes left to count."""
    assert descendants(4, [Process(1, 0, 0, 0)]) == []


def test_rollup_gives_rss_and_pss_in_bytes() -> None:
    """Only the two totals are taken, not the lines whose names begin alike."""
    text = "55d0-7ffc ---p 0 00:00 0 [rollup]\nRss:   100 kB\nPss:    40 kB\nPss_Dirty:  7 kB\n"
    assert parse_rollup(text) == (100 * 1024, 40 * 1024)


def test_the_reaper_leaves_no_process_behind() -> None:
    """What a server's processes leave running, in sessions of their own too, ends with the benchmark."""
    script = "setsid sleep 60 & setsid sh -c 'sleep 61 & sleep 62' & sleep 63"
    with subprocess.Popen([sys.executable, "-I", str(REAPER), "sh", "-c", script]) as reaper:

        def below() -> set[int]:
            return {process.pid for process in descendants(reaper.pid, usage.processes())} - {reaper.pid}

        pids = until(lambda: found if len(found := below()) >= 6 else None, "all of the processes")
        reaper.terminate()
        assert reaper.wait(10) == 128 + 15
    assert [pid for pid in pids or () if Path(f"/proc/{pid}").exists()] == []


def test_time_of_processes_that_ended_is_counted() -> None:
    """A server that forks for every mail is charged for the forks that are gone, orphans included."""
    busy = f"{sys.executable} -c 'while __import__(\"time\").process_time() < 0.2: pass'"
    with subprocess.Popen(
        [sys.executable, "-I", str(REAPER), "sh", "-c", f"(({busy}) &); sleep 60"]
    ) as reaper:
        try:
            until(lambda: usage.cpu_seconds(reaper.pid) >= 0.2, "the orphan at work")
            until(lambda: len(descendants(reaper.pid, usage.processes())) == 3, "its end")
            assert usage.cpu_seconds(reaper.pid) >= 0.2
        finally:
            reaper.terminate()
