"""Everything listed anew, from time to time: what is said while it cannot be, and what it finds."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.cluster_client.apiserver import Request, Server, serving, status
from tests.handlers.test_inbox import Desk

from waystation_operator.cluster.client import Client
from waystation_operator.cluster.kinds import MAIL_ROUTE, NAMESPACE, RELAY_POOL, Scope
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.secrets import Secrets
from waystation_operator.cluster.store import Store
from waystation_operator.handlers.resync import EVERY_S, LONGEST_S, Resync

Body = dict[str, Any]


class Gatherer:
    async def look_around(self) -> None:
        """Not of interest here."""


class Office:
    """A resync whose sleeps are counted, before a scripted API server that has ``there``."""

    def __init__(self, server: Server, scope: Scope) -> None:
        desk = Desk()
        self.desk, self.out, self.slept, self.restarts, self.beats = desk, io.StringIO(), [], 0, 0
        self.there: dict[str, list[Body]] = {}
        self.refusals: dict[str, tuple[int, Any]] = {}
        self.rounds = 0
        self.store: Store = desk.inbox._store
        client = Client(server.configuration, desk.metrics)
        self.client = client
        server.answer = self.answer
        self.resync = Resync(
            scope,
            client,
            self.store,
            desk.inbox,
            Gatherer(),  # type: ignore[arg-type]
            Secrets(client, lambda: 0.0),
            desk.metrics,
            Log("debug", self.out),
            lambda: 0.0,
            self.restart,
            self.beat,
            self.sleep,
        )

    def answer(self, request: Request) -> tuple[int, Any]:
        plural = request.path.rpartition("/")[2]
        if plural in self.refusals:
            return self.refusals[plural]
        if plural == "mail":
            return 200, {"metadata": {"name": "mail", "resourceVersion": "3"}}
        return 200, {"metadata": {"resourceVersion": "1000"}, "items": self.there.get(plural, [])}

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > self.rounds:
            raise asyncio.CancelledError
        self.next_round(len(self.slept))

    def next_round(self, number: int) -> None:
        """Replaced by tests: what happens meanwhile."""

    async def restart(self) -> None:
        self.restarts += 1

    def beat(self) -> None:
        self.beats += 1

    def said(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [(line["event"], line.get("problem", "")) for line in lines]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


@pytest.fixture
async def office(server: Server) -> AsyncIterator[Office]:
    made = Office(server, Scope(("mail",)))
    yield made
    await made.client.close()


def route(name: str, version: int, generation: int = 1) -> Body:
    metadata = {
        "namespace": "mail",
        "name": name,
        "uid": name,
        "generation": generation,
        "resourceVersion": str(version),
    }
    return {"metadata": metadata, "spec": {"parentRefs": [{"name": "out"}], "backends": [{"mx": {}}]}}


async def test_missing_definitions_are_waited_for_and_said_once(office: Office) -> None:
    """Without the CRDs the operator says what to apply, and begins when it is there; it never crashes."""
    office.refusals["relaypools"] = status(
        404, "NotFound", "the server could not find the requested resource"
    )
    office.rounds = 5
    office.next_round = lambda number: office.refusals.clear() if number == 5 else None  # type: ignore[method-assign]
    await office.resync.begin()
    ((event, problem),) = office.said()
    assert event == "start.waiting"
    assert "kubectl apply -f crds/" in problem
    assert office.slept == [2, 4, 8, 16, LONGEST_S]
    assert office.beats == 6


async def test_each_reason_to_wait_is_said(office: Office) -> None:
    """When what is missing changes, the log says so."""
    office.refusals["relaypools"] = status(403, "Forbidden", "may not list")
    office.rounds = 2

    def next_round(number: int) -> None:
        office.refusals = {"mailroutes": status(403, "Forbidden", "may not list")} if number == 1 else {}

    office.next_round = next_round  # type: ignore[method-assign]
    await office.resync.begin()
    problems = [problem for _, problem in office.said()]
    assert [problem.partition(" ")[0] for problem in problems] == ["relaypools", "mailroutes"]
    assert all("docs/operator.md" in problem for problem in problems)


async def test_what_a_watch_missed_is_found_and_a_watch_that_stays_silent_is_begun_anew(
    office: Office,
) -> None:
    """A change that no watch told is acted on within a minute; if it is silent still, all begin anew."""
    office.there["mailroutes"] = [route("r", 10)]
    await office.resync.begin()
    office.desk.looked_at()
    office.rounds = 3

    def next_round(number: int) -> None:
        if number == 1:
            office.there["mailroutes"] = [route("r", 20, generation=2)]

    office.next_round = next_round  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await office.resync.run()
    assert office.slept == [EVERY_S] * 4
    assert office.restarts == 1
    assert [event for event, _ in office.said()] == ["watch.stalled"]
    assert office.desk.metrics.value("watch_missed_total", kind=MAIL_ROUTE.kind) == 2


async def test_a_watch_that_told_in_the_meantime_is_left_alone(office: Office) -> None:
    """A list may be a moment ahead of a watch; that is no stall."""
    await office.resync.begin()
    office.rounds = 3

    def told(number: int) -> None:
        if number == 1:
            office.there["mailroutes"] = [route("r", 20)]
        if number == 2:
            office.desk.inbox.hear(MAIL_ROUTE, "ADDED", route("r", 20))

    office.next_round = told  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await office.resync.run()
    assert office.restarts == 0


async def test_an_api_server_that_is_away_during_a_resync_is_no_failure(office: Office) -> None:
    """The operator goes on with what it knows; nothing it knows is thrown away."""
    office.there["relaypools"] = [{"metadata": {"namespace": "mail", "name": "out", "resourceVersion": "5"}}]
    await office.resync.begin()
    office.rounds = 2
    office.next_round = lambda _: office.refusals.update(relaypools=(503, "starting"))  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await office.resync.run()
    assert office.store.get(RELAY_POOL, "mail", "out") is not None
    assert office.beats == 3


async def test_labels_of_watched_namespaces_are_read_by_name(office: Office) -> None:
    """A Role may allow its own namespace to be read, though none to be listed; if not, nothing breaks."""
    office.refusals["mail"] = (
        200,
        {"metadata": {"name": "mail", "labels": {"a": "b"}, "resourceVersion": "3"}},
    )
    await office.resync.begin()
    found = office.store.get(NAMESPACE, "", "mail")
    assert found is not None
    assert found["metadata"]["labels"] == {"a": "b"}
    office.refusals["mail"] = status(403, "Forbidden", "no")
    await office.resync.begin()
