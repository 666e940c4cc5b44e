"""Which pools are looked at because of what is heard."""

from typing import Any

import pytest

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.client import Client
from waystation_operator.cluster.kinds import (
    CLAIM,
    KINDS,
    MAIL_ROUTE,
    NAMESPACE,
    POD,
    RELAY_POOL,
    SERVICE,
    Kind,
)
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.secrets import Secrets
from waystation_operator.cluster.store import Store
from waystation_operator.handlers.inbox import Inbox
from waystation_operator.handlers.latency import Latency
from waystation_operator.handlers.workqueue import WorkQueue

Body = dict[str, Any]


class Desk:
    def __init__(self) -> None:
        self.now, self.version, self.woken = 0.0, 0, 0
        self.metrics, store = Metrics(), Store()
        self.took: list[tuple[str, float]] = []
        self.latency = Latency(lambda kind, seconds: self.took.append((kind, seconds)))
        self.queue: WorkQueue[Identity] = WorkQueue(lambda: 0.0)

        async def nowhere() -> Any:
            raise AssertionError("nothing is asked for here")

        secrets = Secrets(Client(nowhere, self.metrics), lambda: self.now)
        self.inbox = Inbox(
            store,
            Routes(store),
            self.queue,
            secrets,
            self.latency,
            self.metrics,
            lambda: self.now,
            self.wake,
        )

    def wake(self) -> None:
        self.woken += 1

    def body(self, name: str, namespace: str = "mail", **more: Any) -> Body:
        self.version += 1
        metadata = {"namespace": namespace, "name": name, "uid": name, "generation": 1}
        metadata |= {"resourceVersion": str(self.version), **more.pop("metadata", {})}
        return {"metadata": metadata, **more}

    def hear(self, kind: Kind, body: Body, event: str | None = "ADDED") -> None:
        self.inbox.hear(kind, event, body)

    def looked_at(self) -> list[str]:
        """Takes everything that is due."""
        self.now += 100
        found = []
        while (pool := self.queue.take(self.now)) is not None:
            found.append(pool.key)
            self.queue.done(pool, self.now)
        return sorted(found)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def route(*parents: str, **status: Any) -> Body:
    refs = [{"namespace": parent.partition("/")[0], "name": parent.partition("/")[2]} for parent in parents]
    return {"spec": {"parentRefs": refs, "backends": [{"mx": {}}]}, "status": status}


def test_a_pool_concerns_itself(desk: Desk) -> None:
    """A changed pool is looked at; the same event twice is nothing new."""
    pool = desk.body("out")
    for _ in range(2):
        desk.hear(RELAY_POOL, pool, None)
    assert desk.looked_at() == ["mail/out"]
    desk.hear(RELAY_POOL, pool, None)
    assert desk.looked_at() == []
    desk.hear(RELAY_POOL, pool | {"metadata": pool["metadata"] | {"resourceVersion": "9"}}, "DELETED")
    assert desk.looked_at() == ["mail/out"]


def test_a_route_concerns_every_pool_it_names_now_or_was_reported_to(desk: Desk) -> None:
    """A route that moves to another pool is looked at with both: the old one takes its report back."""
    left = {"parentRef": {"namespace": "mail", "name": "old"}, "controllerName": "waystation.dev/operator"}
    desk.hear(MAIL_ROUTE, desk.body("r", "shop", **route("mail/new", "mail/other", parents=[left])))
    assert desk.looked_at() == ["mail/new", "mail/old", "mail/other"]


@pytest.mark.parametrize("kind", [SERVICE, POD, CLAIM], ids=lambda kind: kind.kind)
def test_an_object_concerns_the_pool_of_its_label(desk: Desk, kind: Kind) -> None:
    """Whatever happens to a pool's object, the pool is looked at; objects of nobody are nobody's business."""
    desk.hear(kind, desk.body("x", metadata={"labels": {"waystation.dev/pool": "out"}}))
    assert desk.looked_at() == ["mail/out"]
    desk.hear(kind, desk.body("y"))
    assert desk.looked_at() == []


def test_a_namespaces_labels_concern_the_pools_of_its_routes(desk: Desk) -> None:
    """A namespace that gets the label a listener asks for lets its routes in."""
    desk.hear(MAIL_ROUTE, desk.body("r", "shop", **route("mail/out")))
    desk.looked_at()
    desk.hear(NAMESPACE, desk.body("shop", "", metadata={"labels": {"mail": "on"}, "namespace": ""}))
    assert desk.looked_at() == ["mail/out"]
    desk.hear(NAMESPACE, desk.body("empty", "", metadata={"namespace": ""}))
    assert desk.looked_at() == []


def test_a_list_is_heard_like_events(desk: Desk) -> None:
    """What no watch told, a list does; and everything can be asked to be looked at."""
    named = desk.body("r", "shop", **route("mail/gone"))
    assert desk.inbox.take(MAIL_ROUTE, "", [named], 50) == 1
    assert desk.inbox.take(MAIL_ROUTE, "", [named], 51) == 0
    assert desk.looked_at() == ["mail/gone"]
    desk.hear(RELAY_POOL, desk.body("out"))
    desk.looked_at()
    woken = desk.woken
    desk.inbox.everything()
    assert desk.looked_at() == ["mail/gone", "mail/out"]
    assert desk.woken == woken + 1


def test_the_time_from_a_change_to_its_effect_is_measured_once(desk: Desk) -> None:
    """From noticing a new generation to the status that says every pod has it."""
    programmed = {"type": "Programmed", "status": "True", "observedGeneration": 1}
    body = desk.body("r", "shop", **route("mail/out"))
    desk.hear(MAIL_ROUTE, body)
    desk.now += 3
    pending = body | {"status": {"parents": [{"conditions": [programmed | {"status": "False"}]}]}}
    desk.latency.written(MAIL_ROUTE, pending, desk.now)
    desk.now += 1
    done = body | {"status": {"parents": [{"conditions": [programmed]}]}}
    for _ in range(2):
        desk.latency.written(MAIL_ROUTE, done, desk.now)
    assert desk.took == [("MailRoute", 4.0)]


def test_what_is_in_force_already_is_not_measured(desk: Desk) -> None:
    """A restart of the operator is no change of a route."""
    programmed = {"type": "Programmed", "status": "True", "observedGeneration": 1}
    body = desk.body("out", status={"conditions": [programmed]})
    desk.hear(RELAY_POOL, body, None)
    desk.latency.written(RELAY_POOL, body, 9.0)
    assert desk.took == []


def test_every_watched_kind_is_counted(desk: Desk) -> None:
    """A watch that tells nothing any more can be seen in the metrics."""
    for kind in KINDS:
        if kind.watched:
            desk.hear(kind, desk.body("x"))
            assert desk.metrics.value("watch_events_total", kind=kind.kind) == 1
