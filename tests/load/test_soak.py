"""The soak itself: what it calls a trend, and that a short one adds up."""

import csv
from pathlib import Path

import pytest
from tests.load.samples import LEAST_SAMPLES, Sample, trends
from tests.load.soak import soak
from tests.load.traffic import Account, Entry


def run_of(*values: tuple[float, int], queued: int = 0) -> list[Sample]:
    """Samples a second apart, with this memory and these descriptors; ``queued``: more each second."""
    return [Sample(n, rss, fds, n * queued, 0.0, 0.0, 0, 0.0) for n, (rss, fds) in enumerate(values)]


@pytest.mark.parametrize(
    ("samples", "upward"),
    [
        pytest.param(run_of(*[(60.0, 30)] * 40), [], id="level"),
        pytest.param(run_of(*[(40.0 + min(n, 10) * 2, 30) for n in range(40)]), [], id="warming up"),
        pytest.param(run_of(*[(200.0 if n == 35 else 60.0, 30) for n in range(40)]), [], id="a peak"),
        pytest.param(run_of(*[(60.0 + n * 0.5, 30) for n in range(40)]), ["memory, MiB"], id="a memory leak"),
        pytest.param(
            run_of(*[(60.0, 30 + 2 * n) for n in range(40)]), ["descriptors"], id="a descriptor leak"
        ),
        pytest.param(
            run_of(*[(60.0 + n, 30) for n in range(40)], queued=20), ["messages in the queue"], id="overload"
        ),
        pytest.param(run_of(*[(60.0 - n, 30) for n in range(40)]), [], id="downwards"),
        pytest.param(run_of(*[(60.0 + n * 100, 30) for n in range(LEAST_SAMPLES - 1)]), [], id="too few"),
    ],
)
def test_what_a_trend_is(samples: list[Sample], upward: list[str]) -> None:
    """A slow leak is found; warming up and single peaks are none."""
    assert [trend.name for trend in trends(samples) if trend.is_upward] == upward


def test_the_account_misses_what_is_lost_and_notices_duplicates() -> None:
    """A message that does not arrive stays open; a copy too many is a surprise."""
    account = Account()
    account.begin("n1", ["a@x.test", "b@x.test"])
    account.begin("n2", ["c@x.test"])
    account.note(Entry("n1", "s@shop.test", ("a@x.test",), 1, ""))
    assert account.open == {"n1": {"b@x.test"}, "n2": {"c@x.test"}}
    account.note(Entry("n1", "s@shop.test", ("a@x.test",), 1, ""))
    assert account.surprises == {"messages": 1}
    account.note(Entry("", "", ("s-n2@shop.test",), 1, ""))
    assert account.open == {"n1": {"b@x.test"}}


def test_a_short_soak(tmp_path: Path) -> None:
    """Two seconds of everything: all 250s are accounted for, and the figures are written."""
    outcome = soak(minutes=2 / 60, rate=80, results=tmp_path)
    assert outcome.faults == []
    assert outcome.account.promised > 20
    assert outcome.account.arrived + outcome.account.reports == outcome.account.recipients
    with (tmp_path / "soak.csv").open(encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(outcome.samples) >= 1
    assert float(rows[-1]["rss_mib"]) > 10
