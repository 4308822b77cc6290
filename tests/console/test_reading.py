"""Reads of the store for pages: a few at a time, told as failed after a while, and kept for a moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.console import reading
from gateway.console.reading import AT_LEAST, AT_MOST, AT_ONCE, SHARE, Reading, Recent, aside
from gateway.core.errors import StoreError
from gateway.runtime.tasks import TrackedTasks


@pytest.fixture
async def tasks() -> AsyncIterator[TrackedTasks]:
    crashes: list[BaseException] = []
    running = TrackedTasks(lambda _, error: crashes.append(error))
    yield running
    await running.cancel_all()
    assert crashes == []


class Disk:
    """A store whose reads end when the test says so."""

    def __init__(self) -> None:
        self.works = asyncio.Event()
        self.reading = 0
        self.most = 0

    async def read(self) -> str:
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            await self.works.wait()
            return "read"
        finally:
            self.reading -= 1


async def test_what_the_store_says_is_returned_and_what_it_refuses_is_raised(tasks: TrackedTasks) -> None:
    async def refuse() -> str:
        raise StoreError("the disk is gone")

    async def read() -> str:
        return "read"

    reads = Reading(tasks)
    assert await reads.of(read) == "read"
    with pytest.raises(StoreError, match="the disk is gone"):
        await reads.of(refuse)


async def test_however_many_look_on_a_disk_that_hangs_holds_two_readers_and_the_rest_are_told(
    tasks: TrackedTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WITHIN", 0.05)
    disk, reads = Disk(), Reading(tasks)
    told = await asyncio.gather(*(reads.of(disk.read) for _ in range(9)), return_exceptions=True)
    assert all(isinstance(one, StoreError) and "did not answer" in str(one) for one in told)
    assert (disk.reading, disk.most) == (AT_ONCE, AT_ONCE), "those that began go on; no other began"
    disk.works.set()
    await asyncio.sleep(0)
    assert await reads.of(disk.read) == "read", "their places are free again"


async def test_a_page_that_is_left_takes_its_place_with_it_only_until_the_read_has_ended(tasks: TrackedTasks) -> None:
    disk, reads = Disk(), Reading(tasks)
    leaving = [asyncio.create_task(reads.of(disk.read)) for _ in range(AT_ONCE)]  # noqa: TID251  # a client's own
    while disk.reading < AT_ONCE:
        await asyncio.sleep(0)
    for one in leaving:
        one.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert disk.reading == AT_ONCE
    disk.works.set()
    assert await reads.of(disk.read) == "read"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asking(clock: Clock, takes: float) -> tuple[Callable[[], Any], list[int]]:
    """A question that takes so long, and how often it was asked."""
    asked: list[int] = []

    async def ask() -> int:
        asked.append(len(asked))
        clock.now += takes
        await asyncio.sleep(0)
        return len(asked)

    return ask, asked


@pytest.mark.parametrize(("takes", "kept"), [(0.0, AT_LEAST), (0.5, SHARE * 0.5), (100.0, AT_MOST)])
async def test_an_answer_is_kept_for_many_times_as_long_as_it_took(
    tasks: TrackedTasks, takes: float, kept: float
) -> None:
    clock = Clock()
    ask, _ = asking(clock, takes)
    recent: Recent[int] = Recent(tasks, clock)
    assert await recent.of("today", ask) == 1
    clock.now += kept - 0.01
    assert await recent.of("today", ask) == 1
    clock.now += 0.01
    assert await recent.of("today", ask) == 2


async def test_all_who_ask_at_once_share_one_answer_and_another_day_has_its_own(tasks: TrackedTasks) -> None:
    ask, asked = asking(Clock(), 0.1)
    recent: Recent[int] = Recent(tasks, Clock())
    assert set(await asyncio.gather(*(recent.of("today", ask) for _ in range(9)))) == {1}
    assert await recent.of("tomorrow", ask) == 2
    assert len(asked) == 2


async def test_what_the_store_refuses_is_kept_for_a_moment_too(tasks: TrackedTasks) -> None:
    clock, asked = Clock(), 0
    recent: Recent[int] = Recent(tasks, clock)

    async def fail() -> int:
        nonlocal asked
        asked += 1
        raise StoreError("gone")

    for _ in range(3):
        with pytest.raises(StoreError, match="gone"):
            await recent.of("today", fail)
    assert asked == 1
    clock.now += AT_LEAST
    ask, _ = asking(clock, 0.0)
    assert await recent.of("today", ask) == 1


async def test_a_store_that_takes_longer_than_all_wait_is_asked_once_and_shown_in_the_end(tasks: TrackedTasks) -> None:
    disk, reads = Disk(), Reading(tasks)
    recent: Recent[str] = Recent(tasks, Clock())
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await recent.of("today", lambda: reads.whole(disk.read))
    assert (disk.reading, disk.most) == (1, 1)
    disk.works.set()
    assert await recent.of("today", lambda: reads.whole(disk.read)) == "read"


async def test_pages_are_made_in_a_thread_of_the_consoles_own() -> None:
    threads = {await aside(threading.get_ident) for _ in range(5)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    with pytest.raises(ZeroDivisionError):
        await aside(lambda: 1 // 0)
