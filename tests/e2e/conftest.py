"""Relays and sinks for the end-to-end tests: started when asked for, gone when the test or module ends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.relay import RelayProcess
from tests.support.sink import Sink


@pytest.fixture
def new_relay(tmp_path: Path) -> Iterator[Callable[..., RelayProcess]]:
    """Makes relays in folders of this test, not yet configured or started."""
    made: list[RelayProcess] = []

    def make(name: str = "relay-0", **fields: object) -> RelayProcess:
        made.append(RelayProcess(tmp_path / name, pod=name, **fields))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for relay in made:
        relay.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture(scope="module")
def module_sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture(scope="module")
def module_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """One relay for the module, which configures and starts it in a fixture of its own."""
    relay = RelayProcess(tmp_path_factory.mktemp("relay"))
    yield relay
    relay.close()
