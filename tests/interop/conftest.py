"""The relay of a test module, and a sink where the far end needs no more than a mailbox.

The module says in fixtures of its own what stands around them; all of it is
gone when the module ends.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.dovecot import Dovecot
from tests.support.relay import RelayProcess
from tests.support.sink import Sink


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def new_relay(folder: Path) -> Iterator[RelayProcess]:
    """A relay that is neither configured nor started."""
    with RelayProcess(folder / "relay") as relay:
        yield relay


@pytest.fixture(scope="module")
def dovecot(folder: Path) -> Iterator[Dovecot]:
    with Dovecot(folder) as running:
        yield running


@pytest.fixture(scope="module")
def module_sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


@pytest.fixture
def sink(module_sink: Sink) -> Sink:
    """The module's sink, emptied."""
    module_sink.received.clear()
    module_sink.answers.clear()
    return module_sink
