"""docs/scheduling.md says what the code does; its table of waits is tested in tests/schedule."""

import pytest
from tests.support.tables import DOCS, table

from waystation_relay.dispatch.dispatcher import Limits
from waystation_relay.dispatch.lanes import LONGEST_USE_S, LONGEST_WAIT_S
from waystation_relay.dispatch.turns import SHARE
from waystation_relay.schedule import backoff, window

TEXT = " ".join((DOCS / "scheduling.md").read_text(encoding="utf-8").split())


def test_documented_bounds() -> None:
    """The bounds of the last table are the defaults."""
    limits = Limits()
    assert [row["value"] for row in table("scheduling.md", "bound", "value")] == [
        str(limits.connections),
        f"{limits.idle_s:g} seconds",
        f"{LONGEST_USE_S:g} seconds",
        str(limits.flights),
        f"{limits.warm_bytes // 2**20} MiB",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        f"no connection became free within {LONGEST_WAIT_S / 60:g} minutes",
        f"looked at again after {Limits().park_s:g} to {2 * Limits().park_s:g} seconds",
        {0.5: "takes up more than half of it"}[Limits().lane_share],
        f"({backoff.LONGEST_ASKED_S / 3600:g} hours at most are believed)",
        f"It starts at {window.INITIAL}, or at",
        f"after {window.FAILURES_TO_CLOSE} such failures",
        {1.0: "at most once a second"}[window.CUT_EVERY_S],
        f"for {window.FIRST_DELAY_S:g} seconds, give or take {window.JITTER * 100:g} %",
        f"up to {window.LONGEST_DELAY_S / 60:g} minutes",
        f"trouble for {window.MEMORY_S / 60:g} minutes",
        f"When all {Limits().connections} are taken",
        {5: f"A fifth, {Limits().connections // SHARE}, is"}[SHARE],
    ],
)
def test_documented_figure(sentence: str) -> None:
    """The figures in the text are those of the code."""
    assert sentence in TEXT
