"""A dispatcher over a real spool in a folder of its own, in time that the test turns."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from tests.dispatch.world import World


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Worlds for the asking; afterwards each must add up, and is stopped."""
    worlds: list[World] = []

    async def make(
        *routes: object, network: Callable[[World], object] | None = None, **options: object
    ) -> World:
        world = World(tmp_path / f"spool{len(worlds)}", *routes, **options)  # type: ignore[arg-type]
        if network is not None:
            world.network = network(world)  # type: ignore[assignment] # a connector of the test's own
        worlds.append(world)
        return await world.start()

    yield make
    for world in worlds:
        await world.close()
