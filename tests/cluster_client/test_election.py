"""Who leads: candidates over one conditional store, in virtual time."""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from waystation_operator.cluster import election
from waystation_operator.cluster.client import Refused, Unreachable
from waystation_operator.cluster.election import DURATION_S, RENEW_WITHIN_S, RETRY_S
from waystation_operator.cluster.kinds import Kind
from waystation_operator.cluster.lease import Elector

Body = dict[str, Any]


class Leases:
    """The API server's promise about one object: a write counts only over the version it was made from."""

    def __init__(self) -> None:
        self.body: Body | None = None
        self.version = 0
        self.away = False
        self.deaf: set[str] = set()  # writes of these holders are lost

    async def get(self, kind: Kind, namespace: str, name: str) -> Body | None:
        self._answer("")
        return copy.deepcopy(self.body)

    async def create(self, body: Body) -> Body:
        self._answer(body["spec"]["holderIdentity"])
        if self.body is not None:
            raise Refused(409, "AlreadyExists", "already exists")
        return self._keep(body)

    async def replace(self, body: Body) -> Body:
        self._answer(body["spec"]["holderIdentity"])
        if self.body is None:
            raise Refused(404, "NotFound", "not found")
        if body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified")
        return self._keep(body)

    def _answer(self, holder: str) -> None:
        if self.away or (holder and holder in self.deaf):
            raise Unreachable("no answer")

    def _keep(self, body: Body) -> Body:
        self.version += 1
        self.body = copy.deepcopy(body)
        self.body["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.body)

    @property
    def holder(self) -> str:
        return str(self.body["spec"]["holderIdentity"]) if self.body else ""


class World:
    """Candidates that sleep in virtual time; ``turn`` lets it pass."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def now(self) -> float:
        return 1_800_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, future))
        await future

    def candidate(self, name: str) -> Elector:
        elector = Elector(self.leases, "system", "lease", name, self, self.sleep)

        async def live() -> None:
            await elector.acquire()
            await elector.hold()

        self.tasks[name] = asyncio.create_task(live())
        return elector

    async def turn(self, seconds: float) -> None:
        end = self.time + seconds
        await self._settle()
        while due := [at for at, _ in self._sleepers if at <= end]:
            self.time = max(self.time, min(due))
            for sleeper in [x for x in self._sleepers if x[0] <= self.time]:
                self._sleepers.remove(sleeper)
                if not sleeper[1].done():
                    sleeper[1].set_result(None)
            await self._settle()
        self.time = end
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def kill(self, name: str) -> None:
        """As kill -9: it does nothing any more, and gives nothing back."""
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks[name]])


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    for task in made.tasks.values():
        task.cancel()


async def test_one_of_two_leads(world: World) -> None:
    """However many candidates there are, one leads, and goes on leading."""
    a, b = world.candidate("a"), world.candidate("b")
    for _ in range(60):
        await world.turn(RETRY_S)
        assert [a.leads(), b.leads()] == [True, False]
    assert b.holder() == "a"


async def test_another_takes_over_when_the_leader_dies(world: World) -> None:
    """After kill -9 of the leader another leads within the lease's 15 seconds and one more try."""
    world.candidate("a")
    await world.turn(1)
    b = world.candidate("b")
    await world.turn(20)
    await world.kill("a")
    await world.turn(DURATION_S - 2 * RETRY_S)
    assert not b.leads()
    await world.turn(3 * RETRY_S)
    assert b.leads()
    assert world.leases.body is not None
    assert world.leases.body["spec"]["leaseTransitions"] == 1


async def test_another_takes_over_at_once_when_the_leader_leaves(world: World) -> None:
    """A leader that is stopped gives the lease back: nobody waits for it to run out."""
    a = world.candidate("a")
    await world.turn(1)
    b = world.candidate("b")
    await world.turn(5)
    await world.kill("a")
    await a.release()
    assert not a.leads()
    await world.turn(RETRY_S)
    assert b.leads()


async def test_a_leader_that_cannot_renew_leads_no_longer_before_another_does(world: World) -> None:
    """Cut off from the API server, the old leader has stopped before the new one begins."""
    a = world.candidate("a")
    await world.turn(1)
    b = world.candidate("b")
    await world.turn(9)
    world.leases.deaf.add("a")
    while not b.leads():
        assert not (a.leads() and b.leads())
        await world.turn(0.5)
    assert not a.leads()
    assert world.tasks["a"].done()  # so that its process can end


async def test_a_leader_survives_an_api_server_that_is_away_for_a_moment(world: World) -> None:
    """A restart of the API server that is over in a few seconds changes no leader."""
    a, b = world.candidate("a"), world.candidate("b")
    await world.turn(5)
    world.leases.away = True
    await world.turn(RENEW_WITHIN_S - 2 * RETRY_S)
    assert a.leads()
    world.leases.away = False
    await world.turn(60)
    assert [a.leads(), b.leads()] == [True, False]


async def test_nobody_leads_while_the_api_server_is_away_for_long(world: World) -> None:
    """Nobody can be told apart from nobody then; afterwards one of those that are left takes the lease."""
    a, b = world.candidate("a"), world.candidate("b")
    await world.turn(5)
    world.leases.away = True
    await world.turn(RENEW_WITHIN_S + RETRY_S)
    assert [a.leads(), b.leads()] == [False, False]
    world.leases.away = False
    await world.turn(DURATION_S + 2 * RETRY_S)
    assert b.leads()


async def test_a_process_that_was_stopped_knows_that_it_leads_no_longer(world: World) -> None:
    """Whoever wakes up after a long stop must not write first and look afterwards."""
    a = world.candidate("a")
    await world.turn(5)
    world.time += 60  # nothing of it ran
    assert not a.leads()
    await world.turn(RETRY_S)
    assert world.tasks["a"].done()


async def test_clocks_of_machines_are_never_compared(world: World) -> None:
    """A lease written by a machine whose clock is a year off is neither stolen early nor kept too long."""
    spec = election.spec(None, "other", "2001-01-01T00:00:00.000000Z")
    await world.leases.create({"metadata": {"name": "lease", "namespace": "system"}, "spec": spec})
    b = world.candidate("b")
    await world.turn(DURATION_S - 2 * RETRY_S)
    assert not b.leads()
    await world.turn(3 * RETRY_S)
    assert b.leads()


async def test_a_lease_that_somebody_deleted_is_made_again(world: World) -> None:
    """kubectl delete lease costs nothing."""
    a = world.candidate("a")
    await world.turn(1)
    world.leases.body = None
    await world.turn(3 * RETRY_S)
    assert a.leads()
    assert world.leases.holder == "a"


@pytest.mark.parametrize(
    "spec",
    [None, {}, {"holderIdentity": None}, {"holderIdentity": "x"}],
    ids=["none", "empty", "null", "no-duration"],
)
async def test_a_lease_without_sense_is_free(world: World, spec: Body | None) -> None:
    """A Lease that somebody made by hand keeps nobody from leading."""
    await world.leases.create({"metadata": {}, "spec": {"holderIdentity": ""}})
    assert world.leases.body is not None
    world.leases.body["spec"] = spec
    a = world.candidate("a")
    await world.turn(1)
    assert a.leads()


def test_the_leader_stops_before_others_may_begin() -> None:
    """The order of the three times is what makes it safe."""
    assert RETRY_S < RENEW_WITHIN_S < DURATION_S
