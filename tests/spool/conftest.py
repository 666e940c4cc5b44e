"""Spools that end with the test, on the event loop that the relay runs on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.spools import SpoolUser

OpenSpool = Callable[..., SpoolUser]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_spool(tmp_path: Path) -> AsyncIterator[OpenSpool]:
    """Opens ``tmp_path/spool``, or another directory; what is still open at the end is closed."""
    users: list[SpoolUser] = []

    def opened(directory: Path | None = None, **options: Any) -> SpoolUser:
        user = SpoolUser(directory or tmp_path / "spool", **options)
        users.append(user)
        return user

    yield opened
    for user in users:
        await user.close()


@pytest.fixture
async def user(open_spool: OpenSpool) -> SpoolUser:
    """A fresh spool."""
    return open_spool()
