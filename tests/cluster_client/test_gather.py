"""A pool's world put together from what was listed, what is read by name, and what relays say."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.cluster_client.apiserver import Request, Server, status

from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.cluster.client import Client
from waystation_operator.cluster.gather import Gatherer
from waystation_operator.cluster.kinds import CLAIM, MAIL_ROUTE, NAMESPACE, POD, RELAY_POOL, SERVICE
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.relays import Relays
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.secrets import FRESH_S, Missing, Secrets
from waystation_operator.cluster.store import Store
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.observed import Settings
from waystation_operator.plan.report import RelayReport

Body = dict[str, Any]
LABEL = "waystation.dev/pool"


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Prober:
    def __init__(self) -> None:
        self.wanted: list[tuple[str, int, int]] = []
        self.forgotten: list[str] = []

    def want(
        self,
        pool: RelayPool,
        routes: Sequence[MailRoute],
        namespaces: Mapping[str, Mapping[str, str]],
        secrets: Mapping[str, Secret],
        reports: Sequence[RelayReport] = (),
    ) -> None:
        self.wanted.append((pool.identity.key, len(routes), len(secrets)))

    def forget(self, pool_key: str) -> None:
        self.forgotten.append(pool_key)

    def findings_for(self, pool_key: str) -> tuple[Finding, ...]:
        return ()


def made(kind: str, name: str, namespace: str = "mail", pool: str = "", **more: Any) -> Body:
    metadata = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1"}
    if pool:
        metadata["labels"] = {LABEL: pool}
    versions = {"RelayPool": "waystation.dev/v1alpha1", "MailRoute": "waystation.dev/v1alpha1"}
    return {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": metadata, **more}


LISTENER = {"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}}
SMART = {"smartHost": {"host": "smtp.example.net", "authSecretName": "login"}}


@pytest.fixture
def store() -> Store:
    store = Store()
    spec = {"hostname": "relay.example.com", "listeners": [LISTENER]}
    store.put(RELAY_POOL, made("RelayPool", "out", spec=spec))
    store.put(RELAY_POOL, made("RelayPool", "other", spec=spec))
    for name, parent, backend in [("a", "out", SMART), ("b", "other", {"mx": {}}), ("c", "out", {"odd": {}})]:
        route = {"parentRefs": [{"name": parent}], "backends": [backend]}
        store.put(MAIL_ROUTE, made("MailRoute", name, spec=route))
    left = [{"parentRef": {"name": "out"}, "controllerName": "waystation.dev/operator"}]
    route = {"parentRefs": [{"name": "other"}], "backends": [{"mx": {}}]}
    store.put(MAIL_ROUTE, made("MailRoute", "moved", spec=route, status={"parents": left}))
    for kind, name in [
        (SERVICE, "out"),
        (SERVICE, "out-pods"),
        (CLAIM, "queue-out-1"),
        (CLAIM, "queue-out-0"),
    ]:
        store.put(kind, made(kind.kind, name, pool="out"))
    store.put(SERVICE, made("Service", "other", pool="other"))
    store.put(SERVICE, made("Service", "out", namespace="elsewhere", pool="out"))
    store.put(POD, made("Pod", "out-1", pool="out", status={"phase": "Running", "podIP": ""}))
    store.put(POD, made("Pod", "out-0", pool="out", status={"phase": "Failed", "podIP": "10.0.0.9"}))
    store.put(NAMESPACE, {"metadata": {"name": "mail", "labels": {"team": "mail"}, "resourceVersion": "1"}})
    return store


def secret(name: str, **data: str) -> Body:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return made("Secret", name, data=encoded)


class Desk:
    def __init__(self, server: Server, client: Client, metrics: Metrics, store: Store) -> None:
        self.clock, self.prober = Clock(), Prober()
        self.secrets = Secrets(client, self.clock.monotonic)
        self.gatherer = Gatherer(
            store,
            Routes(store),
            client,
            self.secrets,
            Relays(metrics),
            Settings("image"),
            self.clock,
            self.prober,
        )
        self.there = {
            "out-admin": secret("out-admin", token="tok"),
            "login": secret("login", username="u", password="p"),
        }
        self.forbidden: set[str] = set()
        server.answer = self.answer

    def answer(self, request: Request) -> tuple[int, Any]:
        name = request.path.rpartition("/")[2]
        if name in self.forbidden:
            return status(403, "Forbidden", "not yours")
        found = self.there.get(name)
        return (200, found) if found else status(404, "NotFound", "none")


@pytest.fixture
async def desk(server: Server, client: Client, metrics: Metrics, store: Store) -> Desk:
    return Desk(server, client, metrics, store)


async def test_a_pool_gets_what_is_its_own_and_nothing_else(desk: Desk, store: Store) -> None:
    """Objects of other pools, and of other namespaces with the same name, are not this pool's."""
    store.refuse(CLAIM, "mail", "queue-out-0", "must support resize")
    store.refuse(CLAIM, "elsewhere", "queue-out-1", "must support resize")
    gathered = await desk.gatherer.gather("mail", "out")
    assert gathered is not None
    seen = gathered.observed
    assert sorted(seen.children) == [("Secret", "out-admin"), ("Service", "out"), ("Service", "out-pods")]
    assert seen.children["Service", "out"]["metadata"]["namespace"] == "mail"
    assert [pod.name for pod in seen.pods] == ["out-0", "out-1"]
    assert [claim.ordinal for claim in seen.claims] == [0, 1]
    assert seen.ungrown == {"queue-out-0": "must support resize"}
    assert sorted(route.identity.name for route in seen.routes) == ["a", "c", "moved"]
    assert seen.namespaces == {"mail": {"team": "mail"}}
    assert seen.admin_token == "tok"
    assert {key: value.data for key, value in seen.secrets.items()} == {
        "mail/login": {"username": b"u", "password": b"p"}
    }
    assert desk.prober.wanted == [("mail/out", 2, 1)]


async def test_pods_without_an_address_are_said_to_have_none(desk: Desk) -> None:
    """A pod that starts or has ended is not called, and is reported as what it is."""
    gathered = await desk.gatherer.gather("mail", "out")
    assert gathered is not None
    assert gathered.addresses == {"out-0": "", "out-1": ""}
    assert set(gathered.observed.relays.values()) == {"the pod has no address yet"}


async def test_there_is_no_such_pool(desk: Desk) -> None:
    """What is gone is not probed any more."""
    assert await desk.gatherer.gather("mail", "gone") is None
    assert desk.prober.forgotten == ["mail/gone"]


async def test_forbidden_secrets_are_a_finding(desk: Desk) -> None:
    """A namespace that grants nothing makes a condition, not a crash; our own Secrets are then left alone."""
    desk.forbidden = {"login", "out-admin", "out-config"}
    gathered = await desk.gatherer.gather("mail", "out")
    assert gathered is not None
    assert gathered.observed.forbidden == {"mail/login", "mail/out-admin", "mail/out-config"}
    assert gathered.unreadable == {("Secret", "out-admin"), ("Secret", "out-config")}
    assert gathered.observed.relays == {}


async def test_a_token_is_made_once(desk: Desk) -> None:
    """Without the Secret there is a fresh token for it; no two are alike."""
    del desk.there["out-admin"]
    first, second = [await desk.gatherer.gather("mail", "out") for _ in range(2)]
    assert first is not None
    assert second is not None
    assert len(first.observed.admin_token) >= 32
    assert first.observed.admin_token != second.observed.admin_token
    assert first.observed.relays == {}


async def test_a_secret_is_read_again_when_it_is_old_or_somebody_changed_something(
    desk: Desk, server: Server
) -> None:
    """A rotated Secret counts with the first pass after a while; in between nobody asks for it."""

    def asked() -> int:
        return sum(request.path.endswith("/login") for request in server.seen)

    await desk.secrets.get("mail", "login")
    await desk.secrets.get("mail", "login")
    assert asked() == 1
    desk.clock.time += FRESH_S
    del desk.there["login"]
    assert await desk.secrets.get("mail", "login") is Missing.ABSENT
    desk.there["login"] = secret("login", username="u2")
    assert await desk.secrets.get("mail", "login") is Missing.ABSENT
    desk.secrets.expire("mail")
    found = await desk.secrets.get("mail", "login")
    assert isinstance(found, Secret)
    assert found.data == {"username": b"u2"}
    desk.clock.time += FRESH_S
    desk.secrets.prune()
    await desk.secrets.get("mail", "login")
    assert asked() == 4


async def test_pod_monitors_are_asked_for_where_there_are_any(desk: Desk, server: Server) -> None:
    """A cluster without the Prometheus operator is never asked for its objects."""
    await desk.gatherer.look_around()
    assert not desk.gatherer.settings.has_pod_monitors
    await desk.gatherer.gather("mail", "out")
    assert not [request for request in server.seen if "podmonitors" in request.path]
    desk.there["v1"] = {"kind": "APIResourceList"}
    await desk.gatherer.look_around()
    await desk.gatherer.gather("mail", "out")
    assert [request for request in server.seen if "podmonitors" in request.path]
