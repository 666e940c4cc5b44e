"""Which pool is looked at next, in virtual time."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from waystation_operator.handlers.workqueue import FIRST_S, GAP_S, JITTER, MOST_S, Cause, WorkQueue


def queue(roll: float = 0.0) -> WorkQueue[str]:
    return WorkQueue(lambda: roll)


def failing(times: int) -> tuple[WorkQueue[str], float]:
    """A queue whose one key has failed this often, the last time now."""
    work, now = queue(), 0.0
    work.add("a", now)
    for _ in range(times):
        now = work.next_due() or now
        assert work.take(now) == "a"
        work.failed("a", now)
    return work, now


def test_a_key_added_many_times_is_given_out_once() -> None:
    """A hundred events about one pool are one look at it."""
    work = queue()
    for _ in range(100):
        work.add("a", 10.0)
    assert work.take(10.0) == "a"
    work.done("a", 11.0)
    assert work.take(99.0) is None


def test_a_key_being_worked_on_is_not_given_out() -> None:
    """No pool is ever reconciled twice at a time."""
    work = queue()
    work.add("a", 0.0)
    assert work.take(0.0) == "a"
    work.add("a", 1.0)
    assert work.take(50.0) is None
    assert work.next_due() is None


def test_what_happened_during_the_work_is_looked_at_afterwards() -> None:
    """A change that came while its pool was being reconciled is not lost, and is looked at once."""
    work = queue()
    work.add("a", 0.0)
    work.take(0.0)
    work.add("a", 1.0)
    work.add("a", 2.0)
    work.done("a", 3.0)
    assert work.take(3.0) == "a"
    work.done("a", 4.0)
    assert work.take(99.0) is None


def test_keys_are_given_out_in_the_order_they_were_due() -> None:
    """No pool waits because others speak more often."""
    work = queue()
    for now, key in enumerate("abcb"):
        work.add(key, float(now))
    assert [work.take(9.0) for _ in range(4)] == ["a", "b", "c", None]


def test_starts_of_a_key_are_apart() -> None:
    """A pool whose status flickers does not keep a worker to itself."""
    work = queue()
    work.add("a", 0.0)
    work.take(0.0)
    work.done("a", 0.01)
    work.add("a", 0.02)
    assert work.take(0.02) is None
    assert work.next_due() == GAP_S
    assert work.take(GAP_S) == "a"


def test_work_done_is_looked_at_again_when_asked() -> None:
    """A pass may say when to look again; an event before that comes first, and the later look is kept."""
    work = queue()
    work.add("a", 0.0)
    work.take(0.0)
    work.done("a", 1.0, again_after_s=30.0)
    assert work.next_due() == 31.0
    work.add("a", 5.0)
    assert work.take(5.0) == "a"
    work.done("a", 6.0, again_after_s=30.0)
    assert work.next_due() == 36.0


@pytest.mark.parametrize("roll", [0.0, 0.5, 0.999], ids=["longest", "middle", "shortest"])
def test_failures_wait_longer_and_longer_up_to_a_minute(roll: float) -> None:
    """A pool that cannot be reconciled is tried again after 1, 2, 4… seconds, never later than 60."""
    work, now = queue(roll), 0.0
    work.add("a", now)
    for wanted in [1, 2, 4, 8, 16, 32, 60, 60, 60]:
        assert work.take(now) == "a"
        delay = work.failed("a", now)
        assert delay == pytest.approx(wanted * (1 - JITTER * roll))
        assert work.take(now + delay - 0.001) is None
        now += delay
    assert (FIRST_S, MOST_S) == (1.0, 60.0)


def test_success_ends_the_back_off() -> None:
    """After a pass that went well the next failure waits a second again."""
    work, now = failing(3)
    now = work.next_due() or now
    work.take(now)
    work.done("a", now)
    work.add("a", 300.0)
    work.take(300.0)
    assert work.failed("a", 300.0) == 1.0


def test_an_echo_does_not_cut_the_back_off_short() -> None:
    """Our own writes about a failing pool come back as events, and must not make it fail in a tight loop."""
    work, now = failing(4)
    work.add("a", now + 1, Cause.ECHO)
    assert work.take(now + 7.9) is None
    assert work.take(now + 8.0) == "a"


def test_a_wish_is_looked_at_at_once() -> None:
    """Who corrects a mistake does not wait for the back-off it caused."""
    work, now = failing(7)
    work.add("a", now + 1, Cause.WISH)
    assert work.take(now + 1) == "a"


def test_a_wish_during_a_failing_pass_is_looked_at_at_once() -> None:
    """The correction may come while the pass that fails is under way."""
    work, now = failing(7)
    now = work.next_due() or now
    work.take(now)
    work.add("a", now + 1, Cause.WISH)
    work.failed("a", now + 2)
    assert work.take(now + 2) == "a"
    assert work.failed("a", now + 3) == MOST_S


def test_a_failing_key_holds_up_no_other() -> None:
    """One pool's failure never blocks another pool."""
    work = queue()
    work.add("bad", 0.0)
    work.add("good", 1.0)
    assert work.take(1.0) == "bad"
    work.failed("bad", 1.0)
    assert work.take(1.0) == "good"


def test_what_is_forgotten_leaves_nothing_behind_unless_it_was_added_meanwhile() -> None:
    """A deleted pool takes no room; one that comes back at that moment is not overlooked."""
    work = queue()
    work.add("a", 0.0)
    work.take(0.0)
    work.done("a", 1.0)
    work.forget_idle("a")
    assert work.next_due() is None
    work.add("a", 2.0)
    work.take(2.0)
    work.add("a", 3.0)
    work.done("a", 4.0)
    work.forget_idle("a")
    assert work.take(4.0) == "a"


def test_depth_and_age_are_of_what_waits_for_a_worker() -> None:
    """Figures for an alert: pools that are due and not looked at, and since when."""
    work = queue()
    work.add("a", 0.0)
    work.add("b", 4.0)
    work.add("later", 100.0)
    assert (work.depth(10.0), work.oldest_s(10.0)) == (2, 10.0)
    work.take(10.0)
    assert (work.depth(10.0), work.oldest_s(10.0), work.running()) == (1, 6.0, 1)


KEYS = st.sampled_from("abc")


class Machine(RuleBasedStateMachine):
    """Against a model: for each key, whether something is owed to it, and since when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.work: WorkQueue[str] = WorkQueue(lambda: 0.5)
        self.owed: set[str] = set()
        self.running: set[str] = set()

    @rule(key=KEYS, cause=st.sampled_from(Cause))
    def add(self, key: str, cause: Cause) -> None:
        self.work.add(key, self.now, cause)
        self.owed.add(key)

    @rule(step=st.floats(0.0, 100.0))
    def pass_time(self, step: float) -> None:
        self.now += step

    @rule()
    def take(self) -> None:
        due = self.work.next_due()
        key = self.work.take(self.now)
        assert (key is not None) == (due is not None and due <= self.now)
        if key is not None:
            assert key not in self.running
            self.running.add(key)
            self.owed.discard(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.booleans())
    def end(self, data: st.DataObject, fails: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(key)
        if fails:
            self.work.failed(key, self.now)
            self.owed.add(key)
        else:
            self.work.done(key, self.now)

    @invariant()
    def nothing_owed_is_lost(self) -> None:
        """Whatever is owed and not running comes up within the longest back-off."""
        waiting = self.owed - self.running
        assert self.work.depth(self.now + MOST_S + GAP_S) == len(waiting)
        assert (self.work.next_due() is None) == (not waiting)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40)
