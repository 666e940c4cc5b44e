"""A scripted API server and a client of it."""

from collections.abc import AsyncIterator

import pytest
from tests.cluster_client.apiserver import Server, serving

from waystation_operator.cluster.client import Client
from waystation_operator.cluster.metrics import Metrics


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as started:
        yield started


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def client(server: Server, metrics: Metrics) -> AsyncIterator[Client]:
    made = Client(server.configuration, metrics)
    yield made
    await made.close()
