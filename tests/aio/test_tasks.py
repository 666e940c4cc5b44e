"""Tasks that belong to somebody."""

import asyncio

import pytest

from waystation_relay.aio.tasks import Tasks

DEADLINE_S = 10.0


@pytest.fixture
def crashes() -> list[BaseException]:
    return []


@pytest.fixture
def tasks(crashes: list[BaseException]) -> Tasks:
    return Tasks(crashes.append)


async def test_a_crash_is_reported_and_costs_nobody_else(tasks: Tasks, crashes: list[BaseException]) -> None:
    """One task fails: the owner hears why, the others go on."""
    go = asyncio.Event()
    done = []

    async def fails() -> None:
        raise ValueError("unforeseen")

    async def works() -> None:
        await go.wait()
        done.append(True)

    other = tasks.start(works(), "works")
    await asyncio.wait({tasks.start(fails(), "fails")}, timeout=DEADLINE_S)
    assert [str(error) for error in crashes] == ["unforeseen"]
    go.set()
    await asyncio.wait_for(other, DEADLINE_S)
    assert done == [True]


async def test_closing_ends_them_all(tasks: Tasks, crashes: list[BaseException]) -> None:
    """After close nothing runs any more, and being ended is no crash."""
    ended = []

    async def waits(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    for name in ("one", "two"):
        tasks.start(waits(name), name)
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.close(), DEADLINE_S)
    assert sorted(ended) == ["one", "two"]
    assert crashes == []


async def test_a_task_that_fails_while_it_is_ended_is_reported(
    tasks: Tasks, crashes: list[BaseException]
) -> None:
    """Cleaning up may go wrong too; closing goes on regardless."""

    async def cleans_badly() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("cannot clean up")

    tasks.start(cleans_badly(), "bad")
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.close(), DEADLINE_S)
    assert [str(error) for error in crashes] == ["cannot clean up"]


async def test_finished_tasks_are_forgotten(tasks: Tasks) -> None:
    """A relay opens connections for years: none of the tasks that did it stays in memory."""

    async def nothing() -> None:
        pass

    for _ in range(10):
        await asyncio.wait_for(tasks.start(nothing(), "nothing"), DEADLINE_S)
    assert tasks._tasks == set()
