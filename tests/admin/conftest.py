"""An admin interface that runs while the test does."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.office import Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    await made.open()
    yield made
    await made.close()
