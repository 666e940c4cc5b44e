"""A plan carried out: what is sent to the API server, and what is not."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.cluster_client.apiserver import Request, Server, status

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.act import Actor, Outcome, summary
from waystation_operator.cluster.announce import SERIES_S, Announcer, shortened
from waystation_operator.cluster.client import Client, Unreachable
from waystation_operator.cluster.kinds import CLAIM, MAIL_ROUTE, RELAY_POOL
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.relays import Relays
from waystation_operator.cluster.store import Store
from waystation_operator.plan.desired import (
    ClaimSize,
    Desired,
    Event,
    Finalizer,
    PodPatch,
    Reference,
    RouteStatus,
)
from waystation_operator.plan.observed import Meta

Body = dict[str, Any]


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def now(self) -> float:
        return self.time


class Office:
    """An actor with all it needs, before a scripted API server that takes every object as it comes."""

    def __init__(self, server: Server, client: Client, metrics: Metrics) -> None:
        self.server, self.clock, self.out = server, Clock(), io.StringIO()
        self.store, self.metrics = Store(), metrics
        log = Log("debug", self.out, self.clock.now)
        self.relays = Relays(metrics)
        self.announcer = Announcer(client, "me", self.clock, metrics, log, token=lambda: "0")
        self.actor = Actor(self.store, client, self.relays, self.announcer, metrics, log)
        self.version = 100
        server.answer = self.take

    def take(self, request: Request) -> tuple[int, Any]:
        self.version += 1
        name = request.path.removesuffix("/status").rpartition("/")[2]
        kept = request.body if isinstance(request.body, dict) else {}
        metadata = {"name": name, "namespace": "mail", **kept.get("metadata", {})}
        return 200, {**kept, "metadata": metadata | {"resourceVersion": str(self.version)}}

    async def act(
        self, desired: Desired, children: Mapping[tuple[str, str], Body] | None = None, **more: Any
    ) -> Outcome:
        meta = more.pop("meta", Meta(resource_version="7"))
        return await self.actor.act(
            "mail",
            "out",
            desired,
            meta=meta,
            children=children or {},
            addresses=more.pop("addresses", {}),
            token="t",
            **more,
        )

    def sent(self) -> list[str]:
        return [
            f"{request.method} {request.path.rpartition('/namespaces/mail/')[2]}"
            for request in self.server.seen
        ]

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.out.getvalue().splitlines()]


@pytest.fixture
async def office(server: Server, client: Client, metrics: Metrics) -> Office:
    return Office(server, client, metrics)


def service(**spec: Any) -> Body:
    metadata = {"namespace": "mail", "name": "out"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


async def test_what_is_as_planned_is_not_written(office: Office) -> None:
    """An object that is there with all that is wanted costs no request."""
    found = service(type="ClusterIP", clusterIP="198.19.0.1")
    await office.act(Desired(objects=(service(type="ClusterIP"),)), {("Service", "out"): found})
    assert office.sent() == []


async def test_what_is_missing_or_different_is_written_and_said(office: Office) -> None:
    """The log names the object and what was not as planned."""
    await office.act(Desired(objects=(service(type="ClusterIP"),)))
    await office.act(
        Desired(objects=(service(type="NodePort"),)), {("Service", "out"): service(type="ClusterIP")}
    )
    assert office.sent() == ["PATCH services/out"] * 2
    lines = [json.loads(line) for line in office.out.getvalue().splitlines()]
    assert [line["why"] for line in lines] == [["absent"], ["spec.type"]]
    assert office.metrics.value("objects_applied_total", kind="Service") == 2


async def test_what_the_server_writes_in_its_own_way_is_written_once(office: Office) -> None:
    """Where the API server never keeps what was applied, applying it over and over would help nobody."""
    office.server.answer = lambda request: (
        200,
        service(type="ClusterIP", mode="as I like") | {"metadata": {"name": "out", "namespace": "mail"}},
    )
    wanted = Desired(objects=(service(mode="as you like"),))
    found = service(type="ClusterIP", mode="as I like")
    for _ in range(3):
        await office.act(wanted, {("Service", "out"): found})
    assert office.sent() == ["PATCH services/out"]
    await office.act(wanted, {("Service", "out"): service(type="ClusterIP", mode="as he likes")})
    assert office.sent() == ["PATCH services/out"] * 2


async def test_one_refused_object_keeps_no_other_from_being_written(office: Office) -> None:
    """A quota on Services keeps no other object from being written, and is told on the pool."""
    take = office.server.answer
    office.server.answer = lambda request: (
        status(403, "Forbidden", "exceeded quota") if request.path.endswith("services/out") else take(request)
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "mail", "name": "out"}}
    outcome = await office.act(
        Desired(objects=(service(), account), pool_status={"conditions": []}, pool_version="7"),
        meta=Meta(uid="u", resource_version="7"),
    )
    assert office.sent() == [
        "PATCH services/out",
        "PATCH serviceaccounts/out",
        "PATCH relaypools/out/status",
        "POST events",
    ]
    told = office.server.seen[-1].body
    assert (told["reason"], told["regarding"]["name"]) == ("ObjectRefused", "out")
    assert "Service out was refused by the API server: exceeded quota" in told["note"]
    assert outcome.refusals == {("Service", "out"): "exceeded quota"}
    assert "object.refused" in office.events()


async def test_a_claim_that_may_not_grow_is_remembered_until_it_does(office: Office) -> None:
    """The next pass knows why, for the pool's status; once the storage class lets it, nothing is held against
    it."""
    take = office.server.answer
    office.server.answer = lambda _: status(403, "Forbidden", "must support resize")
    grown = Desired(claim_sizes=(ClaimSize("queue-out-0", "20Gi"),))
    outcome = await office.act(grown)
    assert outcome.refusals == {("PersistentVolumeClaim", "queue-out-0"): "must support resize"}
    assert office.store.refusals(CLAIM, "mail") == {"queue-out-0": "must support resize"}
    assert office.store.refusals(CLAIM, "elsewhere") == {}
    office.server.answer = take
    await office.act(grown)
    assert office.store.refusals(CLAIM, "mail") == {}
    assert "claim.grown" in office.events()


async def test_somebody_faster_at_a_claim_is_no_refusal(office: Office) -> None:
    """The pass is done again, and the pool's status says nothing of it."""
    office.server.answer = lambda request: (
        status(409, "Conflict", "changed") if request.method == "PATCH" else status(404, "NotFound", "gone")
    )
    office.store.refuse(CLAIM, "mail", "queue-out-0", "must support resize")
    outcome = await office.act(Desired(claim_sizes=(ClaimSize("queue-out-0", "20Gi"),)))
    assert (outcome.again, outcome.refusals) == (True, {})
    assert office.store.refusals(CLAIM, "mail") == {}


async def test_what_may_not_be_read_is_not_written(office: Office) -> None:
    """A Secret that may be written but not read would get a new token with every pass."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "mail", "name": "out-admin"}}
    outcome = await office.act(Desired(objects=(secret,)), unreadable=frozenset({("Secret", "out-admin")}))
    assert office.sent() == []
    assert ("Secret", "out-admin") in outcome.refusals


async def test_a_status_is_written_only_over_the_version_it_was_made_from(office: Office) -> None:
    """Two passes that write one route's status never undo each other: the slower one looks again."""
    newer = {"kind": "MailRoute", "metadata": {"namespace": "shop", "name": "r", "resourceVersion": "55"}}
    office.server.answer = lambda request: (
        status(409, "Conflict", "modified") if request.method == "PATCH" else (200, newer)
    )
    outcome = await office.act(Desired(route_statuses={"shop/r": RouteStatus("44", {"parents": []})}))
    assert outcome.again
    assert outcome.refusals == {}
    assert office.server.seen[0].body[0] == {
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": "44",
    }
    kept = office.store.get(MAIL_ROUTE, "shop", "r")
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == "55"


async def test_the_finalizer_comes_first_and_the_status_after_it(office: Office) -> None:
    """No object is made for a pool that could vanish unnoticed; the status goes over the new version."""
    meta = Meta(resource_version="7", finalizers=("other",))
    await office.act(
        Desired(finalizer=Finalizer.ADD, objects=(service(),), pool_status={}, pool_version="7"), meta=meta
    )
    assert office.sent() == ["PATCH relaypools/out", "PATCH services/out", "PATCH relaypools/out/status"]
    first, _, last = office.server.seen
    assert first.body[1]["value"] == ["other", "waystation.dev/drain"]
    assert last.body[0]["value"] == "101"


async def test_nothing_is_done_when_the_finalizer_cannot_be_set(office: Office) -> None:
    """Somebody changed the pool just now: look again before making anything."""
    office.server.answer = lambda request: (
        status(409, "Conflict", "modified") if request.method == "PATCH" else status(404, "NotFound", "gone")
    )
    outcome = await office.act(Desired(finalizer=Finalizer.ADD, objects=(service(),)))
    assert outcome.again
    assert office.sent() == ["PATCH relaypools/out", "GET relaypools/out"]


async def test_a_pool_that_is_let_go_gets_no_status(office: Office) -> None:
    """With the last finalizer the pool is gone, and nobody is there to be told anything."""
    office.store.put(RELAY_POOL, {"metadata": {"namespace": "mail", "name": "out", "resourceVersion": "7"}})
    meta = Meta(resource_version="7", deleting=True, finalizers=("waystation.dev/drain",))
    await office.act(Desired(finalizer=Finalizer.REMOVE, pool_status={"x": 1}, pool_version="7"), meta=meta)
    assert office.sent() == ["PATCH relaypools/out"]
    assert office.store.get(RELAY_POOL, "mail", "out") is None


async def test_an_api_server_that_goes_away_ends_the_pass_where_it_is(office: Office) -> None:
    """Nothing further is tried: the next pass begins with what is then there."""
    office.server.answer = lambda _: (503, "")
    with pytest.raises(Unreachable):
        await office.act(Desired(objects=(service(), service()), pool_status={}, pool_version="7"))
    assert office.sent() == ["PATCH services/out"]


async def test_deletions_name_what_they_mean(office: Office) -> None:
    """An object that is no longer wanted is deleted by its uid."""
    gone = Reference("networking.k8s.io/v1", "NetworkPolicy", "mail", "out", "u")
    await office.act(Desired(deletions=(gone,)))
    assert office.sent() == ["DELETE networkpolicies/out"]
    assert office.server.seen[0].body["preconditions"] == {"uid": "u"}


async def test_a_pod_that_does_not_answer_holds_up_nothing(office: Office) -> None:
    """A relay that cannot be poked loads its configuration a little later by itself."""
    await office.act(
        Desired(pokes=("out-0",), drains=("out-1",), pod_patches=(PodPatch("out-0", labels={"a": "b"}),)),
        addresses={"out-0": "127.0.0.1"},
    )
    assert office.sent() == ["PATCH pods/out-0"]
    assert office.server.seen[0].body == {"metadata": {"labels": {"a": "b"}}}
    assert office.events() == ["pod.marked", "relay.silent", "relay.silent"]
    await office.relays.close()


def event(message: str = "said") -> Event:
    return Event(Identity("RelayPool", "mail", "out"), "u", "Warning", "SomeReason", message)


async def test_the_same_event_again_counts_up(office: Office) -> None:
    """kubectl describe shows one line with a count, not a hundred lines."""
    for _ in range(3):
        await office.announcer.announce(event())
    assert office.sent() == ["POST events", "PATCH events/out.0", "PATCH events/out.0"]
    assert [request.body["series"]["count"] for request in office.server.seen[1:]] == [2, 3]
    made = office.server.seen[0].body
    assert (made["regarding"]["uid"], made["reason"], made["type"]) == ("u", "SomeReason", "Warning")
    assert made["reportingController"] == "waystation.dev/operator"
    office.clock.time += SERIES_S + 1
    await office.announcer.announce(event())
    assert office.sent()[-1] == "POST events"


async def test_an_event_that_cannot_be_written_is_no_failure(office: Office) -> None:
    """Events are a courtesy; conditions tell the same."""
    office.server.answer = lambda _: status(403, "Forbidden", "no")
    outcome = await office.act(Desired(events=(event(),)))
    assert outcome == Outcome()
    assert office.events() == ["event.refused"]


def test_a_long_message_is_cut_at_a_character() -> None:
    """The API server takes 1024 bytes."""
    assert shortened("short") == "short"
    assert len(shortened("ä" * 2000).encode()) <= 1024
    assert shortened("ä" * 2000).endswith("ä…")


def test_conditions_in_a_line() -> None:
    """The log says what a status says, of a route by parent."""
    bad = {"type": "Programmed", "status": "False", "reason": "Pending"}
    assert summary({"conditions": [{"type": "Ready", "status": "True"}, bad]}) == {
        "Ready": "True",
        "Programmed": "False (Pending)",
    }
    parents = [{"parentRef": {"namespace": "mail", "name": "out"}, "conditions": [bad]}]
    assert summary({"parents": parents}) == {"mail/out: Programmed": "False (Pending)"}
