"""One destination's jobs and connections, with a desk that only writes down what it is asked."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.support.mail import message, route

from waystation_contract.model import SmartHost
from waystation_relay.aio.clock import ManualClock
from waystation_relay.delivery.target import Protocol, Target
from waystation_relay.dispatch.flight import Flight, Job
from waystation_relay.dispatch.lane import Lane
from waystation_relay.mail.outcome import Deferred, Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import FAILURES_TO_CLOSE, FIRST_DELAY_S, INITIAL, Phase, Verdict, Window

DOWN = Deferred(reply(451, "4.4.1", "connection refused"), Reason.CONNECT)


class Link:
    """A connection, as far as a lane cares."""


class Desk:
    def __init__(self, slots=100):
        self.slots = slots
        self.may = True
        self.opening = 0
        self.begun = []
        self.away = []
        self.unwanted = set()

    def open(self, lane):
        self.opening += 1
        self.slots -= 1

    def begin(self, lane, job, connection):
        self.begun.append((job, connection))

    def turned_away(self, job, outcome):
        self.away.append((job, outcome))

    def has_slot(self, lane):
        return self.slots > 0

    def may_begin(self):
        return self.may

    def wants(self, job):
        return job not in self.unwanted


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def lane(desk, clock):
    target = Target(Protocol.SMTP, "up.test", 25)
    return Lane(target, Window(20), desk, monotonic=clock.monotonic, roll=lambda: 0.5)


def job():
    mail = message()
    return Job(Flight(mail, {}), (0,), route(backends=(SmartHost(host="up.test"),)), (), "")


def test_the_first_job_opens_a_connection_and_begins_on_it(lane, desk):
    """A job waits for its connection, then starts at once."""
    first = job()
    lane.add(first)
    assert desk.opening == 1
    assert not desk.begun
    link = Link()
    lane.opened(link)
    assert desk.begun == [(first, link)]


def test_a_finished_connection_takes_the_next_job(lane, desk):
    """Reuse comes before opening: one connection serves jobs one after the other."""
    first, second = job(), job()
    lane.add(first)
    link = Link()
    lane.opened(link)
    lane.finished(link, Verdict.GOOD, reusable=True)
    lane.add(second)
    assert [begun for begun, _ in desk.begun] == [first, second]
    assert desk.opening == 1


def test_no_more_connections_than_the_window_allows(lane, desk):
    """A burst of jobs does not become a burst of connections."""
    for _ in range(50):
        lane.add(job())
    assert desk.opening == INITIAL


def test_no_more_connections_than_jobs(lane, desk):
    """Two jobs never open three connections."""
    lane.add(job())
    lane.add(job())
    assert desk.opening == 2


def test_a_refusal_turns_waiting_jobs_away_when_nothing_else_serves_them(lane, desk):
    """When the only connection cannot be had, everybody who waits hears why."""
    first = job()
    lane.add(first)
    lane.refused(DOWN)
    assert desk.away == [(first, DOWN)]
    assert lane.is_empty


def test_a_refusal_beside_a_working_connection_costs_no_job(lane, desk):
    """A host that limits us to one connection still gets all mail, over that one."""
    first, second = job(), job()
    lane.add(first)
    lane.add(second)
    link = Link()
    lane.opened(link)
    lane.refused(DOWN)
    assert not desk.away
    lane.finished(link, Verdict.GOOD, reusable=True)
    assert [begun for begun, _ in desk.begun] == [first, second]


def test_a_dead_destination_is_not_knocked_at_for_each_message(lane, desk, clock):
    """After a few refusals in a row new mail is turned away at once, until one probe may try."""
    for _ in range(FAILURES_TO_CLOSE):
        lane.add(job())
        lane.refused(DOWN)
    tried = desk.opening
    lane.add(job())
    assert desk.opening == tried
    assert len(desk.away) == FAILURES_TO_CLOSE + 1
    clock.advance(FIRST_DELAY_S * 1.2)
    lane.add(job())
    lane.add(job())
    assert desk.opening == tried + 1


def test_unwanted_jobs_are_dropped_without_using_a_connection(lane, desk):
    """Thousands of deleted messages in a lane cost one connection nothing, and no recursion."""
    jobs = [job() for _ in range(5000)]
    desk.unwanted = set(jobs[:-1])
    for each in jobs:
        lane.add(each)
    lane.opened(Link())
    assert [begun for begun, _ in desk.begun] == [jobs[-1]]


def test_a_lost_connection_gives_its_slot_back(lane, desk):
    """What the other side closes while idle is replaced when needed."""
    lane.add(job())
    link = Link()
    lane.opened(link)
    lane.finished(link, Verdict.GOOD, reusable=True)
    lane.lost(link)
    assert lane.is_empty
    assert lane.window.in_flight == 0
    lane.add(job())
    assert desk.opening == 2


def test_without_a_free_slot_jobs_wait(lane, desk):
    """The relay's total of connections is a bound for every lane."""
    desk.slots = 0
    lane.add(job())
    assert desk.opening == 0
    desk.slots = 1
    lane.pump()
    assert desk.opening == 1


def test_nothing_begins_while_outcomes_cannot_be_recorded(lane, desk):
    """With a failing disk mail waits: what was delivered unrecorded would be delivered twice."""
    desk.may = False
    lane.add(job())
    assert desk.opening == 0
    desk.may = True
    lane.pump()
    assert desk.opening == 1


def test_a_job_put_back_is_first_again(lane, desk):
    """A connection that went away under a job costs it its connection, not its turn."""
    first, second = job(), job()
    lane.add(first)
    link = Link()
    lane.opened(link)
    lane.add(second)
    lane.lost(link)
    lane.put_back(first)
    lane.opened(Link())
    lane.opened(Link())
    assert [begun for begun, _ in desk.begun] == [first, first, second]


def test_the_impatient_are_those_who_waited_longest(lane, desk, clock):
    """Only jobs older than the limit are taken out, in their order."""
    desk.slots = 0
    old = [job(), job()]
    for each in old:
        lane.add(each)
    clock.advance(100)
    lane.add(job())
    assert lane.impatient(clock.monotonic() - 50) == old
    assert len(lane.jobs) == 1
    assert lane.impatient(clock.monotonic() - 50) == []


def test_a_final_refusal_closes_nothing(lane, desk):
    """A domain that takes no mail is asked about again for the next message."""
    gone = Failed(reply(556, "5.1.10", "null MX"), Reason.ADDRESS)
    for _ in range(FAILURES_TO_CLOSE + 2):
        lane.add(job())
        lane.refused(gone)
    assert desk.opening == FAILURES_TO_CLOSE + 2
    assert lane.window.phase is Phase.OPEN


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: every job comes out once, and the window's books are right."""

    @initialize(slots=st.integers(1, 8), limit=st.integers(1, 10))
    def begin(self, slots: int, limit: int) -> None:
        self.desk, self.clock = Desk(slots), ManualClock()
        target = Target(Protocol.SMTP, "up.test", 25)
        self.lane = Lane(target, Window(limit), self.desk, monotonic=self.clock.monotonic, roll=lambda: 0.5)
        self.jobs: list[Job] = []
        self.out: list[Job] = []  # impatient, or begun and done
        self.seen = 0  # of desk.begun
        self.busy: dict[Link, Job] = {}

    def notice(self) -> None:
        for begun, link in self.desk.begun[self.seen :]:
            assert link not in self.busy, "one job at a time"
            self.busy[link] = begun
        self.seen = len(self.desk.begun)

    @rule()
    def add(self) -> None:
        self.jobs.append(job())
        self.lane.add(self.jobs[-1])

    @rule(seconds=st.sampled_from((0.5, 40.0, 1000.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.lane.pump()

    @rule()
    def lose_patience(self) -> None:
        self.out += self.lane.impatient(self.clock.monotonic() - 20)

    @precondition(lambda self: self.lane.opening)
    @rule(how=st.sampled_from(("opened", "refused", "final", "unwanted")))
    def connect(self, how: str) -> None:
        if how == "opened":
            self.lane.opened(Link())
            return
        self.desk.slots += 1
        if how == "unwanted":
            self.lane.unwanted()
        else:
            self.lane.refused(DOWN if how == "refused" else Failed(DOWN.reply, Reason.ADDRESS))

    @precondition(lambda self: self.busy)
    @rule(verdict=st.sampled_from(Verdict), reusable=st.booleans(), data=st.data())
    def finish(self, verdict: Verdict, reusable: bool, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from(list(self.busy)))
        self.out.append(self.busy.pop(link))
        trouble = None if verdict is Verdict.GOOD else DOWN
        reusable = reusable and verdict is not Verdict.BROKEN
        if not self.lane.finished(link, verdict, reusable=reusable, trouble=trouble):
            self.desk.slots += 1

    @precondition(lambda self: self.lane.idle)
    @rule(slammed=st.booleans())
    def lose_an_idle_one(self, slammed: bool) -> None:
        link = self.lane.idle[0]
        self.desk.slots += 1
        if slammed:
            self.lane.slammed(link, DOWN)
        else:
            self.lane.lost(link)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def lose_a_busy_one_before_it_began(self, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from(list(self.busy)))
        self.desk.slots += 1
        self.lane.lost(link)
        self.lane.put_back(self.busy.pop(link))

    @invariant()
    def books(self) -> None:
        if not hasattr(self, "lane"):
            return
        self.notice()
        lane, away = self.lane, [turned for turned, _ in self.desk.away]
        assert lane.window.in_flight == lane.opening + len(lane.connections)
        assert lane.busy == len(self.busy)
        assert self.desk.slots >= 0
        where = [*lane.jobs, *self.busy.values(), *self.out, *away]
        assert len(where) == len(set(map(id, where))) == len(self.jobs)
        if lane.jobs and lane.idle:
            raise AssertionError("a job waits beside a connection without work")


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
