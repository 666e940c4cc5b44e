"""One relay process for all loads, begun with few descriptors, with limits raised for one client."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.load.ledger import Ledger
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.smtpsink import CountingSink

from waystation_contract.model import Limits

FEW = 512  # descriptors, as some systems begin with; the relay must help itself to more
LIMITS = Limits(
    max_message_bytes=60 * 2**20, max_recipients=10_000, max_sessions=3000, max_sessions_per_client=3000
)


class Begun(RelayProcess):
    """By a shell that lowers the soft limit of open files; it becomes the relay."""

    def command(self) -> list[str]:
        return ["sh", "-c", f'ulimit -Sn {FEW}; exec "$@"', "sh", *super().command()]


@pytest.fixture(scope="package", autouse=True)
def _descriptors() -> Iterator[None]:
    """The clients are here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="package")
def smtp_sink() -> Iterator[CountingSink]:
    with CountingSink() as running:
        yield running


@pytest.fixture(scope="package")
def ledger() -> Iterator[Ledger]:
    with Ledger() as running:
        yield running


@pytest.fixture(scope="package")
def relay(
    tmp_path_factory: pytest.TempPathFactory, smtp_sink: CountingSink, ledger: Ledger
) -> Iterator[Begun]:
    folder: Path = tmp_path_factory.mktemp("load")
    with Begun(folder) as running:
        running.configure(
            route(to(smtp_sink.port), recipients=("*@sink.test",), name="test/sink"),
            route(to(ledger.port), recipients=("*@ledger.test",), name="test/ledger"),
            listeners=(listener(running.port, limits=LIMITS),),
        )
        yield running.start()
        assert running.log("internal.error") == []
