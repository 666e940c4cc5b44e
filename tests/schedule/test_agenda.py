"""What is due soon."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from waystation_relay.schedule.agenda import Agenda


def test_earliest_first_ties_by_id() -> None:
    """Messages leave in the order they are due; of one moment, in the order they arrived."""
    agenda = Agenda(10)
    for due, id_ in [(3.0, 1), (1.0, 9), (1.0, 2), (2.0, 5)]:
        assert agenda.add(due, id_)
    assert agenda.pop_due(2.0, 10) == [2, 9, 5]
    assert agenda.next_due() == 3.0


def test_pop_is_limited() -> None:
    """Who asks for two gets two; the rest stays."""
    agenda = Agenda(10)
    for id_ in range(5):
        agenda.add(1.0, id_)
    assert agenda.pop_due(1.0, 2) == [0, 1]
    assert len(agenda) == 3


def test_full_agenda_refuses_new_but_moves_held() -> None:
    """What has no room waits on disk; what is held can always be put off."""
    agenda = Agenda(2)
    assert agenda.add(1.0, 1)
    assert agenda.add(2.0, 2)
    assert not agenda.has_room()
    assert not agenda.add(0.0, 3)
    assert agenda.add(5.0, 1)
    assert agenda.pop_due(9.0, 9) == [2, 1]
    assert agenda.has_room(2)
    assert not agenda.has_room(3)


@pytest.mark.parametrize("rounds", [10_000])
def test_garbage_is_bounded(rounds: int) -> None:
    """Putting one message off again and again, or adding and forgetting, takes no memory."""
    agenda = Agenda(10)
    worst = 0
    for n in range(rounds):
        agenda.add(float(n), 1)
        agenda.add(float(n), 2 + n)
        agenda.forget(2 + n)
        worst = max(worst, agenda.garbage)
    assert worst <= 100
    assert agenda.pop_due(float(rounds), 10) == [1]


class AgainstModel(RuleBasedStateMachine):
    """The agenda does what a plain dict would."""

    @initialize(capacity=st.integers(1, 8))
    def begin(self, capacity: int) -> None:
        self.agenda = Agenda(capacity)
        self.model: dict[int, float] = {}

    @rule(due=st.integers(0, 5), id_=st.integers(0, 10))
    def add(self, due: int, id_: int) -> None:
        has_place = id_ in self.model or len(self.model) < self.agenda.capacity
        assert self.agenda.add(float(due), id_) is has_place
        if has_place:
            self.model[id_] = float(due)

    @rule(id_=st.integers(0, 10))
    def forget(self, id_: int) -> None:
        self.agenda.forget(id_)
        self.model.pop(id_, None)

    @rule(now=st.integers(0, 5), limit=st.integers(0, 4))
    def pop(self, now: int, limit: int) -> None:
        expected = [id_ for due, id_ in sorted((d, i) for i, d in self.model.items()) if due <= now][:limit]
        assert self.agenda.pop_due(float(now), limit) == expected
        for id_ in expected:
            del self.model[id_]

    @invariant()
    def agrees(self) -> None:
        assert len(self.agenda) == len(self.model)
        assert all(id_ in self.agenda for id_ in self.model)
        assert self.agenda.next_due() == min(self.model.values(), default=None)
        assert self.agenda.has_room() is (len(self.model) < self.agenda.capacity)


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
