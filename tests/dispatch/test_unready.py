"""Routes that are not ready: their mail waits for them and goes nowhere else, whatever else matches it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dispatch.world import REFUSED, World
from tests.support.mail import message, route

from waystation_contract.model import Document, Listener, SmartHost, Unavailable
from waystation_relay.dispatch.assign import assign
from waystation_relay.dispatch.unready import Unready, retry
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.routing.table import Table

UP = SmartHost(host="up.test")
LACKING = Unavailable(reason="SecretNotFound: Secret shop/login")
CATCH_ALL = route("mail/all", backends=(UP,))


def corp(*backends):
    return route("shop/corp", recipients=("*@corp.test",), backends=backends)


async def test_mail_of_a_route_that_is_not_ready_waits(build):
    """Though a catch-all would take it, the mail waits, says why in general words, and is tried as usual."""
    world: World = await build(corp(LACKING), CATCH_ALL)
    await world.accept("ann@corp.test", "bob@else.test")
    (row,) = (await world.only()).pending
    assert (row.status, row.last_reason, row.attempts) == (Status.WAITING, Reason.UNAVAILABLE, 1)
    assert str(row.last_reply) == "451 4.3.5 the route for this recipient is not ready"
    assert [x.recipient for x in world.network["up.test"].taken] == ["bob@else.test"]
    (line,) = world.logged("message.deferred")
    assert (line["route"], line["reason"]) == ("shop/corp", "unavailable")
    await world.to_next_due()
    assert (await world.only()).pending[0].attempts == 2
    assert len(world.network["up.test"].taken) == 1


async def test_mail_goes_at_its_next_time_once_the_route_is_ready(build):
    """The usual schedule finds out by itself."""
    world: World = await build(corp(LACKING), CATCH_ALL)
    await world.accept("ann@corp.test")
    world.configure(corp(SmartHost(host="corp-up.test")), CATCH_ALL)
    await world.to_next_due()
    assert len(world.network["corp-up.test"].taken) == 1
    assert await world.queue() == []


async def test_mail_goes_at_once_when_the_route_becomes_ready(build):
    """Nobody waits out the rest of an hour because a Secret came late."""
    world: World = await build(corp(LACKING), CATCH_ALL)
    await world.accept("ann@corp.test")
    world.configure(corp(SmartHost(host="corp-up.test")), CATCH_ALL)
    await retry(world.people)
    await world.quiet()
    assert len(world.network["corp-up.test"].taken) == 1
    assert await world.queue() == []


async def test_other_deferred_mail_keeps_its_time(build):
    """What waits for another reason is left alone."""
    world: World = await build(route("mail/all", backends=(UP,)))
    world.network["up.test"].down = REFUSED
    await world.accept("ann@corp.test")
    await retry(world.people)
    await world.quiet()
    assert (await world.only()).pending[0].attempts == 1


async def test_another_backend_takes_over_from_one_that_is_not_ready(build):
    """As when no connection can be had: the next backend gets the mail within the same attempt."""
    world: World = await build(corp(LACKING, SmartHost(host="second.test", priority=1)))
    await world.accept("ann@corp.test")
    assert len(world.network["second.test"].taken) == 1
    assert world.logged("message.deferred") == []


async def test_a_backend_that_is_not_ready_is_the_last_resort_that_fails(build):
    """The only other backend is down: the mail waits, and takes whichever is back first."""
    world: World = await build(corp(UP, Unavailable(reason="x", priority=1)))
    world.network["up.test"].down = REFUSED
    await world.accept("ann@corp.test")
    assert (await world.only()).pending[0].last_reason == Reason.UNAVAILABLE
    world.network["up.test"].down = None
    await world.to_next_due()
    assert len(world.network["up.test"].taken) == 1


async def test_mail_of_a_route_that_never_gets_ready_comes_back(build):
    """At the end of its time the sender is told, in words that reveal no configuration."""
    world: World = await build(corp(LACKING), CATCH_ALL)
    await world.accept("ann@corp.test", sender="app@shop.test")
    while await world.queue():
        await world.to_next_due()
    (warning, failure) = world.network["up.test"].to("app@shop.test")
    assert (warning.groups[1]["Action"], failure.groups[1]["Action"]) == ("delayed", "failed")
    assert failure.groups[1]["Status"] == "5.4.7"
    assert b"Secret" not in failure.content


def document(*routes):
    listener = Listener(name="smtp", port=2525, service_port=25)
    return Document(version=1, pool="mail/relay", hostname="relay.test", listeners=(listener,), routes=routes)


@pytest.mark.parametrize(
    ("before", "after", "ready"),
    [
        pytest.param([corp(LACKING)], [corp(UP)], True, id="ready"),
        pytest.param([corp(LACKING)], [CATCH_ALL], True, id="gone"),
        pytest.param([corp(LACKING, LACKING)], [corp(LACKING, UP)], True, id="one backend of two"),
        pytest.param([corp(LACKING)], [corp(LACKING)], False, id="as it was"),
        pytest.param([corp(LACKING)], [corp(Unavailable(reason="x"))], False, id="for another reason"),
        pytest.param([corp(UP)], [corp(LACKING)], False, id="no longer ready"),
        pytest.param([CATCH_ALL], [corp(UP)], False, id="never anything"),
    ],
)
def test_when_waiting_mail_is_tried_at_once(before, after, ready):
    """Only a configuration in which something can be had that could not."""
    unready = Unready(Log())
    assert not unready.apply(document(*before))
    assert unready.apply(document(*after)) is ready


class Log:
    def __init__(self):
        self.lines = []

    def emit(self, event, /, **fields):
        self.lines.append((event, fields))


def test_the_log_names_the_cause_once():
    """Not with every configuration again, but again when it comes back."""
    log = Log()
    unready = Unready(log)
    for routes in ([corp(LACKING, LACKING), CATCH_ALL], [corp(LACKING)], [corp(UP)], [corp(LACKING)]):
        unready.apply(document(*routes))
    told = ("route.unavailable", {"route": "shop/corp", "reason": "SecretNotFound: Secret shop/login"})
    assert log.lines == [told, told]


PATTERNS = ["*", "ann@a.test", "*@a.test", "*@b.a.test", "*@*.a.test", "*@*.test"]
ADDRESSES = ["ann@a.test", "bob@a.test", "ann@b.a.test", "bob@c.b.a.test", "x@else.test"]
routes = st.lists(
    st.tuples(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS), st.booleans(), st.integers(0, 2)),
    min_size=1,
    max_size=6,
)


@given(routes)
def test_being_ready_or_not_decides_nothing_about_who_takes_mail(given_routes):
    """Whatever the routes: each recipient has the route that it would have if all were ready."""

    def names(*, all_ready):
        table = Table(
            [
                route(
                    f"mail/r{n}",
                    recipients=(to,),
                    senders=(sender,),
                    created=float(age),
                    backends=(UP if is_ready or all_ready else LACKING,),
                )
                for n, (to, sender, is_ready, age) in enumerate(given_routes)
            ]
        )
        found, homeless = assign(message(*ADDRESSES), range(len(ADDRESSES)), table, lambda: 0.0)
        return {n: part.route.name for part in found for n in part.numbers}, homeless

    assert names(all_ready=True) == names(all_ready=False)
