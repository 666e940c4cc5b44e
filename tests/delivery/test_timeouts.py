"""How long a server may take."""

import dataclasses

import pytest
from tests.support.tables import table

from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.wire.client import Stage


def test_documented_timeouts_are_the_defaults() -> None:
    """docs/delivery.md lists every timeout with its seconds, and no other."""
    rows = table("delivery.md", "timeout", "seconds", "for")
    assert {row["timeout"]: float(row["seconds"]) for row in rows} == dataclasses.asdict(Timeouts())


@pytest.mark.parametrize(
    ("stage", "sending", "seconds"),
    [
        (Stage.RESET, False, 1),
        (Stage.MAIL, False, 1),
        (Stage.RCPT, False, 2),
        (Stage.DATA, False, 3),
        (Stage.END, True, 4),
        (Stage.END, False, 5),
        (Stage.DATA, True, 4),
    ],
)
def test_each_stage_has_its_own(stage: Stage, sending: bool, seconds: float) -> None:
    """Each command is given its own time, and content on its way that of a block."""
    timeouts = Timeouts(mail_s=1, rcpt_s=2, data_s=3, block_s=4, end_s=5)
    assert timeouts.of(stage, sending=sending) == seconds


def test_every_stage_has_one() -> None:
    """There is no waiting without a deadline."""
    assert all(Timeouts().of(stage, sending=False) > 0 for stage in Stage)
