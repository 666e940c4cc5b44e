"""Relays and sinks for the end-to-end tests: started when asked for, gone when the test or module ends."""

import ctypes
import ctypes.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.privileges import refused
from tests.support.relay import RelayProcess
from tests.support.sink import Sink

SMALL_DISK_MIB = 12


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


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 12 MiB. Mounting takes the privilege to; without it there is nothing to test."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
    with tempfile.TemporaryDirectory() as folder:
        if libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={SMALL_DISK_MIB}m,mode=700".encode()):
            refused(f"mounting a small disk: {os.strerror(ctypes.get_errno())}")
        try:
            yield Path(folder)
        finally:
            libc.umount2(folder.encode(), 2)  # MNT_DETACH
