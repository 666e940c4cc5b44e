"""kill -9 of either relay at each step: all mail is somewhere at every moment, and once in the end.

``make test`` tries one of the steps, which one is random; ``make durability`` tries all.
"""

import random
import re
import signal
from pathlib import Path

import pytest
from tests.handoff.pair import drain, feed, ids, known, relay_in, wait_empty
from tests.support.effort import LONG
from tests.support.relay import RelayProcess
from tests.support.tables import table
from tests.support.waiting import until

from waystation_relay.spool import failpoints

SOURCE = Path(__file__).parents[2] / "relay" / "waystation_relay" / "handoff"
LEAVING = (
    "handoff.claimed",
    "handoff.sending",
    "handoff.sent",
    "handoff.answered",
    "index.settled",  # of the commit that lets go of them
    "handoff.settled",
)
STAYING = (
    "handoff.receiving",
    "stream.headed",
    "handoff.received",
    "index.added",
    "index.committed",
    "handoff.adopted",
)
CHANCE = ("both", "at random")
STEPS = [("leaving", step) for step in LEAVING] + [("staying", step) for step in STAYING] + [CHANCE]
SEED = random.randrange(10**6)
CHOSEN = STEPS if LONG else random.Random(SEED).sample(STEPS, 1)
LARGE = "0123456789abcdef\r\n" * 150_000  # a file of its own


def arm(relay: RelayProcess, step: str) -> None:
    relay.environment = {failpoints.VARIABLE: step} if step else {}


def dies(relay: RelayProcess, step: str) -> None:
    assert relay.process is not None
    assert relay.process.wait(20) == -signal.SIGKILL, f"{step} was not reached"


@pytest.mark.parametrize("place", range(len(CHOSEN)))  # the same names in every worker
def test_killed_at(place: int, tmp_path: Path) -> None:
    """Killed there and started again: nothing is lost, and draining anew leaves each message once."""
    who, step = CHOSEN[place]
    print(f"seed {SEED}: {who}, {step}")
    if (who, step) == CHANCE:
        killed_at_random(tmp_path)
        return
    with relay_in(tmp_path, "pool-1") as leaving, relay_in(tmp_path, "pool-0") as staying:
        leaving.start()
        feed(leaving, 12)
        feed(leaving, 1, content=LARGE, first=12)
        before = known(leaving)
        assert len(before) == 13
        killed = leaving if who == "leaving" else staying
        if killed is leaving:
            leaving.stop()
            arm(leaving, step)
            leaving.start()
        else:
            arm(staying, step)
        staying.start()
        drain(leaving, staying)
        dies(killed, step)
        arm(killed, "")
        killed.start()
        if killed is leaving:
            here, there = ids(leaving), ids(staying)
            assert set(here) | set(there) == before.keys(), "each is in one of the two at least"
            drain(leaving, staying)
        wait_empty(leaving)
        assert ids(leaving) == []
        assert sorted(ids(staying)) == sorted(before), "each once"
        assert known(staying) == before
        assert leaving.log("internal.error") == staying.log("internal.error") == []


def killed_at_random(tmp_path: Path) -> None:
    """Both are killed again and again while mail moves."""
    dice = random.Random(SEED)
    with relay_in(tmp_path, "pool-1") as leaving, relay_in(tmp_path, "pool-0") as staying:
        leaving.start()
        staying.start()
        feed(leaving, 300)
        feed(leaving, 2, content=LARGE, first=300)
        before = known(leaving)
        for _ in range(8 if LONG else 2):
            drain(leaving, staying)
            count = dice.randrange(1, 200)
            until(
                lambda count=count: staying.queued() >= count or leaving.queued() == 0,
                "some to be handed over",
                every_s=0.002,
            )
            victim = dice.choice((leaving, staying))
            victim.kill()
            victim.start()
            assert set(ids(leaving)) | set(ids(staying)) == before.keys()
        drain(leaving, staying)
        wait_empty(leaving)
        assert sorted(ids(staying)) == sorted(before)
        assert known(staying) == before


def test_every_step_has_a_kill() -> None:
    """Each step that the source names is killed at, and is on the page."""
    named = {
        step
        for path in SOURCE.glob("*.py")
        for step in re.findall(r'\breach\("([^"]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert {step for step in [*LEAVING, *STAYING] if step.startswith("handoff.")} == named
    told = {row["step"] for row in table("handoff.md", "step", "where", "the message is", "what follows")}
    assert told == named
