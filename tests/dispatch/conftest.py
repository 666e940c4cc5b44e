"""Worlds that end by themselves, after checking that nothing was left behind."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.dispatch.world import World

Build = Callable[..., Awaitable[World]]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """``await build(*routes, …)``: a started world (see ``World``)."""
    worlds: list[World] = []

    async def make(*routes: object, **settings: object) -> World:
        world = World(tmp_path / f"spool{len(worlds)}", *routes, **settings)  # type: ignore[arg-type]
        worlds.append(await world.start())
        return world

    yield make
    for world in worlds:
        await world.close()
