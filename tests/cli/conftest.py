"""An admin interface for commands to speak to."""

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
