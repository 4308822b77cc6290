"""Background tasks are held until they end, and their errors are told."""

from __future__ import annotations

import asyncio
import gc

import pytest

from gateway.runtime.tasks import TrackedTasks


class Trouble(Exception):
    pass


@pytest.fixture
def errors() -> list[tuple[str, BaseException]]:
    return []


@pytest.fixture
def tasks(errors: list[tuple[str, BaseException]]) -> TrackedTasks:
    return TrackedTasks(lambda name, error: errors.append((name, error)))


async def test_a_task_that_nobody_else_holds_runs_to_its_end(tasks: TrackedTasks) -> None:
    """The loop itself holds tasks weakly: one that waits for something only it knows would be collected."""
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    tasks.spawn(work(), "work")
    gc.collect()
    assert len(tasks) == 1
    async with asyncio.timeout(5):
        await done.wait()
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_an_error_is_told_with_the_task_s_name(
    tasks: TrackedTasks, errors: list[tuple[str, BaseException]]
) -> None:
    async def work() -> None:
        raise Trouble

    task = tasks.spawn(work(), "lag")
    await asyncio.wait({task})
    await asyncio.sleep(0)
    [(name, error)] = errors
    assert (name, type(error)) == ("lag", Trouble)
    assert len(tasks) == 0


async def test_cancelling_all_waits_for_their_ends_and_is_no_error(
    tasks: TrackedTasks, errors: list[tuple[str, BaseException]]
) -> None:
    ended = []

    async def work(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    for name in ("one", "two"):
        tasks.spawn(work(name), name)
    await asyncio.sleep(0)
    await tasks.cancel_all()
    assert sorted(ended) == ["one", "two"]
    assert errors == []
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_an_error_while_being_cancelled_is_told_and_does_not_stop_the_others(
    tasks: TrackedTasks, errors: list[tuple[str, BaseException]]
) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise Trouble from None

    other = tasks.spawn(asyncio.sleep(60), "other")
    tasks.spawn(clumsy(), "clumsy")
    await asyncio.sleep(0)
    await tasks.cancel_all()
    await asyncio.sleep(0)
    assert other.cancelled()
    assert [name for name, _ in errors] == ["clumsy"]


async def test_cancelling_nothing_is_fine(tasks: TrackedTasks) -> None:
    await tasks.cancel_all()


async def test_one_that_goes_on_when_it_is_cancelled_is_cancelled_again(
    tasks: TrackedTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.runtime.tasks.CANCEL_AGAIN", 0.01)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while swallowed < 2:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                swallowed += 1
        await asyncio.get_running_loop().create_future()

    task = tasks.spawn(deaf(), "deaf")
    await asyncio.sleep(0)
    await tasks.cancel_all()
    assert (swallowed, task.cancelled()) == (2, True)
