"""One destination's jobs and connections, with a desk that only writes down what it is asked."""

import pytest
from tests.support.mail import message, route

from waystation_contract.model import SmartHost
from waystation_relay.aio.clock import ManualClock
from waystation_relay.delivery.target import Protocol, Target
from waystation_relay.dispatch.flight import Flight, Job
from waystation_relay.dispatch.lane import Lane
from waystation_relay.mail.outcome import Deferred, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.schedule.window import FAILURES_TO_CLOSE, FIRST_DELAY_S, INITIAL, Verdict, Window

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
