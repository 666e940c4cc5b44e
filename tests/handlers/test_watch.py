"""What kopf is told: nothing of it writes, and nothing is asked for that needs further permissions."""

import asyncio
import getpass
import itertools
import threading

import kopf
import pytest
from kubernetes.aio.client import Configuration

from waystation_operator.cluster import access
from waystation_operator.cluster.access import AccessError
from waystation_operator.cluster.kinds import POOL_LABEL, Kind, Scope
from waystation_operator.handlers import watch

SCOPES = [Scope(), Scope(("mail", "shop"))]


@pytest.mark.parametrize("scope", SCOPES, ids=["cluster", "namespaces"])
def test_only_events_are_handled(scope: Scope) -> None:
    """Handlers of other kinds would put annotations and finalizers on other people's objects."""
    made = watch.registry(scope, lambda *_: None)
    assert len(made._watching.get_all_handlers()) == len(scope.watched())
    for other in (made._changing, made._spawning, made._indexing, made._webhooks):
        assert list(other.get_all_handlers()) == []


def test_who_may_not_look_at_the_cluster_watches_no_namespaces() -> None:
    """In the namespaced scope every watch is of one namespace."""
    assert [kind.kind for kind in Scope().watched() if not kind.namespaced] == ["Namespace"]
    assert [kind.kind for kind in Scope(("mail",)).watched() if not kind.namespaced] == []
    for kind in Scope(("mail", "shop")).watched():
        assert Scope(("mail", "shop")).places(kind) == ("mail", "shop")
        assert Scope().places(kind) == ("",)


@pytest.mark.parametrize("kind", Scope().watched(), ids=lambda kind: kind.kind)
def test_the_server_sends_our_objects_alone(kind: Kind) -> None:
    """Pods and Services of everybody else are not even sent to us."""
    made = watch.settings(Scope())
    resource = kopf.Resource(kind.group, kind.version, kind.plural, kind.kind)
    selectors = made.watching.label_selectors.collect(resource)
    ours = kind.kind in ("RelayPool", "MailRoute", "Namespace")
    assert selectors == ([] if ours else [POOL_LABEL])


def test_settings_that_matter() -> None:
    """No peering, no events, no scan of the cluster; a watch that is silent is begun anew."""
    made = watch.settings(Scope())
    assert made.scanning.disabled
    assert not made.posting.enabled
    assert made.networking.request_timeout == 30
    assert made.watching.inactivity_timeout > 60  # bookmarks come every minute
    pauses = list(itertools.islice(iter(made.networking.error_backoffs), 100))  # type: ignore[arg-type]
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == max(pauses) == watch.LONGEST_PAUSE_S


@pytest.mark.parametrize(("token", "expires"), [("abc", True), ("", False)], ids=["token", "certificate"])
def test_a_token_is_read_again_before_it_runs_out(token: str, expires: bool) -> None:
    """A ServiceAccount's token is replaced every hour; kopf asks for it anew well before."""
    configuration = Configuration(host="https://api")
    if token:
        configuration.api_key["BearerToken"] = f"bearer {token}"
    info = watch.connection(configuration)
    assert info.server == "https://api"
    assert info.token == (token or None)
    assert (info.expiration is not None) == expires


async def test_watching_that_breaks_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf ends for good on errors that pass by themselves; the watcher tells of it and starts it again."""
    starts, failures, again = itertools.count(1), [], asyncio.Event()

    async def operator(*, stop_flag: threading.Event, **_: object) -> None:
        if next(starts) == 1:
            raise RuntimeError("etcd has no leader")
        again_soon()
        await asyncio.to_thread(stop_flag.wait, 10)

    loop = asyncio.get_running_loop()

    def again_soon() -> None:
        loop.call_soon_threadsafe(again.set)

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(watch, "FIRST_PAUSE_S", 0.01)
    watcher = watch.Watcher(Scope(), lambda *_: None, failures.append)
    watcher.start()
    await asyncio.wait_for(again.wait(), 5)
    await watcher.stop()
    assert failures == ["RuntimeError: etcd has no leader"]


async def test_a_user_without_a_name_can_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod no /etc/passwd names the user; kopf itself, asked for its identity, would end over that."""
    failures: list[str] = []
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    async def load() -> Configuration:
        loop.call_soon_threadsafe(asked.set)
        raise AccessError("there is no API server here")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(access, "load", load)
    monkeypatch.setattr(watch, "STOP_S", 0.1)  # kopf waits five seconds before it asks again
    watcher = watch.Watcher(Scope(("mail",)), lambda *_: None, failures.append)
    watcher.start()
    try:
        await asyncio.wait_for(asked.wait(), 10)
    finally:
        await watcher.stop()
    assert failures == []
