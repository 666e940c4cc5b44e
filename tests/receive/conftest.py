"""uvloop as in the relay, for what transports do asyncio's own loop too; an authority that clients trust."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.receive.reception import Reception
from tests.support.certificates import Authority, Certificate

from waystation_relay.receive import receiver

ON_BOTH = {"test_tls", "test_places", "test_drain"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops = {"uvloop": uvloop.new_event_loop}
    return {**loops, "asyncio": asyncio.new_event_loop} if item.path.stem in ON_BOTH else loops


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens every second happens at once."""
    monkeypatch.setattr(receiver, "SWEEP_S", 0.005)
    monkeypatch.setattr(receiver, "RETRY_S", 0.02)


@pytest.fixture
async def new_reception(tmp_path: Path) -> AsyncIterator[Callable[..., Reception]]:
    """Makes receptions, not started, and closes them."""
    made: list[Reception] = []
    mistakes: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: mistakes.append(context))

    def make(**options: Any) -> Reception:
        made.append(Reception(tmp_path, **options))
        return made[-1]

    yield make
    for reception in made:
        await reception.close()
        assert reception.log.of("internal.error") == []
    assert mistakes == []


@pytest.fixture
async def reception(new_reception: Callable[..., Reception]) -> Reception:
    """One listener called ``smtp``, for clients of 127.0.0.0/8, and a route for everything."""
    return await new_reception().start()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("relay.test")


@pytest.fixture(scope="session")
def trusting(authority: Authority) -> ssl.SSLContext:
    """TLS as a client has it that believes the authority."""
    return ssl.create_default_context(cafile=str(authority.file))
