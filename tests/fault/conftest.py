"""The shim, compiled once a session; how long to try, and from which seed.

``DURABILITY_ROUNDS`` (1) repeats what is random so many times, each round
with its own seed; ``make durability`` sets it. ``DURABILITY_SEED`` is the first
one: in continuous integration always the same, elsewhere a new one for each
run. It is printed by whatever fails.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fault import library
from tests.fault.lab import Laboratory
from tests.support.effort import ROUNDS

SEED = int(os.environ.get("DURABILITY_SEED") or (1 if os.environ.get("CI") else random.randrange(10**6)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a ``seed`` runs once a round. Its name does not tell it: workers agree on names."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(ROUNDS), ids=lambda number: f"round{number + 1}", indirect=True)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return SEED + int(request.param)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def laboratory(shim: Path) -> Iterator[Laboratory]:
    laboratory = Laboratory(shim)
    yield laboratory
    laboratory.close()
