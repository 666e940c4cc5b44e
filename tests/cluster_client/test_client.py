"""Requests to the API server, and what becomes of them when it is in trouble."""

import asyncio

import pytest
from tests.cluster_client.apiserver import Request, Server, status

from waystation_operator.cluster.client import PAGE, Client, NotLeading, Refused, Unreachable
from waystation_operator.cluster.kinds import KINDS, POD, RELAY_POOL, SECRET, STATEFUL_SET, Kind
from waystation_operator.cluster.metrics import Metrics

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "mail", "name": "a"}}


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        (SECRET, ("mail", "a"), "/api/v1/namespaces/mail/secrets/a"),
        (STATEFUL_SET, ("", ""), "/apis/apps/v1/statefulsets"),
        (
            RELAY_POOL,
            ("mail", "a", "status"),
            "/apis/waystation.dev/v1alpha1/namespaces/mail/relaypools/a/status",
        ),
        (next(k for k in KINDS if k.kind == "Namespace"), ("", "mail"), "/api/v1/namespaces/mail"),
    ],
    ids=["core", "all", "status", "cluster"],
)
def test_path(kind: Kind, arguments: tuple[str, ...], path: str) -> None:
    """Every kind has its place at the API server."""
    assert kind.path(*arguments) == path


async def test_apply_says_who_it_is(server: Server, client: Client) -> None:
    """Server-side apply names our manager and insists: what the plan says is so."""
    server.answer = lambda request: (200, request.body)
    await client.apply(dict(SERVICE))
    (request,) = server.seen
    assert (request.method, request.path) == ("PATCH", "/api/v1/namespaces/mail/services/a")
    assert request.query == {"fieldManager": "waystation-operator", "force": "true"}
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert request.headers["User-Agent"] == "waystation-operator"


async def test_a_list_is_read_page_by_page(server: Server, client: Client) -> None:
    """Ten thousand pods are not asked for at once; every one is known in the end, with its kind."""

    def answer(request: Request) -> tuple[int, object]:
        first = "continue" not in request.query
        metadata = {"resourceVersion": "7"} | ({"continue": "next"} if first else {})
        return 200, {"metadata": metadata, "items": [{"metadata": {"name": "a" if first else "b"}}]}

    server.answer = answer
    items, version = await client.list(POD, "mail")
    assert [(item["kind"], item["metadata"]["name"]) for item in items] == [("Pod", "a"), ("Pod", "b")]
    assert version == 7
    assert server.seen[0].query == {"limit": str(PAGE), "labelSelector": "waystation.dev/pool"}


async def test_absent_is_no_error(server: Server, client: Client) -> None:
    """What is not there is an answer; deleting it again does no harm."""
    server.answer = lambda _: status(404, "NotFound", "not found")
    assert await client.get(SECRET, "mail", "a") is None
    assert not await client.delete(SECRET, "mail", "a", uid="u")
    assert not await client.exists("/apis/monitoring.coreos.com/v1")


async def test_a_successor_is_not_deleted(server: Server, client: Client) -> None:
    """A deletion names the object by its uid; another of the same name stays."""
    server.answer = lambda _: status(409, "Conflict", "the UID in the precondition does not match")
    assert not await client.delete(SECRET, "mail", "a", uid="u")
    assert server.seen[0].body["preconditions"] == {"uid": "u"}


@pytest.mark.parametrize("code", [429, 500, 503, 504])
async def test_a_server_that_cannot_now_is_as_good_as_away(
    server: Server, client: Client, metrics: Metrics, code: int
) -> None:
    """An API server that is overloaded or starting is asked again later, not taken at its word."""
    server.answer = lambda _: (code, "<html>try later</html>")
    with pytest.raises(Unreachable, match=str(code)):
        await client.get(SECRET, "mail", "a")
    assert metrics.value("api_requests_total", verb="get", resource="secrets", result="unreachable") == 1


@pytest.mark.parametrize(
    ("code", "reason"), [(403, "Forbidden"), (422, "Invalid"), (409, "Conflict"), (400, "")]
)
async def test_a_refusal_has_the_servers_words(
    server: Server, client: Client, code: int, reason: str
) -> None:
    """What the API server says is what the log says."""
    server.answer = lambda _: status(code, reason, "because")
    with pytest.raises(Refused, match="because") as raised:
        await client.apply(dict(SERVICE))
    assert (raised.value.status, raised.value.reason) == (code, reason)


async def test_a_refused_login_is_tried_once_more_with_what_the_files_say_now(
    server: Server, client: Client
) -> None:
    """A rotated token is taken up at the first refusal; a wrong one is not tried for ever."""
    server.answer = lambda request: (
        (200, {})
        if request.headers["Authorization"] == "Bearer second"
        else status(401, "Unauthorized", "no")
    )
    with pytest.raises(Refused):
        await client.get(SECRET, "mail", "a")
    assert len(server.seen) == 2
    server.token = "second"
    assert await client.get(SECRET, "mail", "a") == {}


async def test_nothing_is_sent_by_who_may_have_lost_the_lease(server: Server, metrics: Metrics) -> None:
    """Reading is allowed to everybody, writing to the leader."""
    client = Client(server.configuration, metrics, may_write=lambda: False)
    assert await client.get(SECRET, "mail", "a") == {}
    for write in (
        client.apply(dict(SERVICE)),
        client.patch(POD, "mail", "a", []),
        client.delete(POD, "mail", "a"),
    ):
        with pytest.raises(NotLeading):
            await write
    assert [request.method for request in server.seen] == ["GET"]
    await client.close()


async def test_away_and_back_is_told(server: Server, metrics: Metrics) -> None:
    """Whoever logs hears of every answer and every silence."""
    told: list[str] = []
    client = Client(server.configuration, metrics, told=told.append)
    await client.get(SECRET, "mail", "a")
    url, server.url = server.url, "http://127.0.0.1:1"
    await client.close()
    with pytest.raises(Unreachable):
        await client.get(SECRET, "mail", "a")
    server.url = url
    await client.close()
    await client.get(SECRET, "mail", "a")
    assert [bool(problem) for problem in told] == [False, True, False]
    await client.close()


async def test_many_calls_share_one_client(server: Server, client: Client) -> None:
    """Calls at once are answered each with its own."""
    server.answer = lambda request: (200, {"path": request.path})
    names = [f"s{n}" for n in range(50)]
    answers = await asyncio.gather(*(client.get(SECRET, "mail", name) for name in names))
    assert [(answer or {})["path"].rpartition("/")[2] for answer in answers] == names
