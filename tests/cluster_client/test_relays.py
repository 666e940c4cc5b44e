"""Calls of relays' admin ports: whatever goes wrong is an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.cluster_client.apiserver import Server, serving
from tests.support.ports import free_port

from waystation_operator.cluster import relays as module
from waystation_operator.cluster.metrics import Metrics
from waystation_operator.cluster.relays import Relays
from waystation_operator.plan.report import RelayReport

STATUS = {"pod": "out-0", "config": {"hash": "h"}, "ready": True, "queue": {"messages": 3}}
HERE = "127.0.0.1"


@pytest.fixture
async def relay() -> AsyncIterator[Server]:
    async with serving() as started:
        started.answer = lambda _: (200, STATUS)
        yield started


@pytest.fixture
async def relays(relay: Server, metrics: Metrics) -> AsyncIterator[Relays]:
    made = Relays(metrics, int(relay.url.rpartition(":")[2]))
    yield made
    await made.close()


async def test_a_relay_is_asked_with_the_pools_token(relay: Server, relays: Relays) -> None:
    """Its report is read; the token is in the header."""
    found = await relays.statuses({"out-0": HERE, "out-1": ""}, "secret")
    report = found["out-0"]
    assert isinstance(report, RelayReport)
    assert (report.config.hash, report.queue.messages) == ("h", 3)
    assert found["out-1"] == "the pod has no address yet"
    assert relay.seen[0].headers["Authorization"] == "Bearer secret"


async def test_calls_that_change_something(relay: Server, relays: Relays) -> None:
    """Looking at the configuration, draining, and not draining after all."""
    for call in (relays.reload, relays.drain, relays.undrain):
        assert await call(HERE, "t") == ""
    assert [(request.method, request.path) for request in relay.seen] == [
        ("POST", "/config/reload"),
        ("POST", "/drain"),
        ("DELETE", "/drain"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            401,
            "the call does not carry this relay's admin token",
            "was answered 401: the call does not carry",
        ),
        (302, "elsewhere", "was answered 302"),
        (500, "", "was answered 500"),
        (200, "no JSON", "what this operator cannot read"),
        (200, {"pod": 7}, "what this operator cannot read"),
    ],
    ids=["token", "redirect", "broken", "no-json", "other-json"],
)
async def test_an_odd_answer_is_a_text(
    relay: Server, relays: Relays, metrics: Metrics, status: int, body: object, said: str
) -> None:
    """What a relay answers, however odd, ends up in the pool's status and nowhere else."""
    relay.answer = lambda _: (status, body)
    answer = await relays.status(HERE, "t")
    assert isinstance(answer, str)
    assert said in answer
    assert metrics.value("relay_requests_total", call="status", result="failed") == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "no address"], ids=["refused", "ipv6", "nonsense"])
async def test_nobody_there_is_a_text(metrics: Metrics, address: str) -> None:
    """A pod that is gone is said to be gone."""
    relays = Relays(metrics, free_port())
    answer = await relays.status(address, "t")
    assert isinstance(answer, str)
    assert "GET /status failed" in answer
    await relays.close()


async def test_a_relay_that_hangs_is_given_up(
    relay: Server, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds for an answer, for all pods at once, and then the pass goes on without it."""
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, HERE, 0)
    relays = Relays(metrics, server.sockets[0].getsockname()[1])
    answer = await relays.status(HERE, "t")
    assert isinstance(answer, str)
    assert "was not answered within" in answer
    await relays.close()
    server.close()
