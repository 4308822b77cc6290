"""A sleeper is woken by the wakeup with its name, by no other, and no wakeup is lost on the way."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gateway.runtime.wakeups import Wakeups
from tests.exchange.scripted import now, play


def test_a_hint_ends_the_wait() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"):
            asyncio.get_running_loop().call_later(3, wakeups.give, "task-7")
            assert await wakeups.wait("task-7", 15)
            assert now() == 3
            assert not await wakeups.wait("task-7", 15), "one wakeup ends one wait"
            assert now() == 18

    play(story)


def test_without_a_hint_the_whole_time_passes() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"), wakeups.register("task-8"):
            asyncio.get_running_loop().call_later(1, wakeups.give, "task-8")
            assert not await wakeups.wait("task-7", 15)
            assert now() == 15

    play(story)


def test_hints_that_came_while_nobody_waited_end_the_next_wait_at_once() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"):
            assert wakeups.give("task-7")
            assert wakeups.give("task-7")
            assert await wakeups.wait("task-7", 15)
            assert now() == 0
            assert not await wakeups.wait("task-7", 15), "two wakeups at once are one"
            assert wakeups.give("task-7")
            await asyncio.sleep(5)
            assert await wakeups.wait("task-7", 15)
            assert now() == 20

    play(story)


def test_a_hint_for_a_waiter_that_is_cancelled_is_there_for_the_next() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"):
            waiting = asyncio.get_running_loop().create_task(wakeups.wait("task-7", 15))
            await asyncio.sleep(1)
            wakeups.give("task-7")
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            assert waiting.cancelled()
            assert await wakeups.wait("task-7", 15)
            assert now() == 1

    play(story)


def test_a_hint_at_the_very_moment_the_time_is_over_is_not_lost() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"):
            asyncio.get_running_loop().call_later(15, wakeups.give, "task-7")
            first = await wakeups.wait("task-7", 15)
            second = await wakeups.wait("task-7", 15)
            assert first != second, "it ended one of the two"
            assert now() <= 30

    play(story)


def test_nobody_is_told_of_names_that_are_not_registered_and_they_leave_nothing_behind() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        for number in range(1000):
            assert not wakeups.give(f"guess-{number}")
        with wakeups.register("task-7"):
            assert not wakeups.give("task-")
        assert not wakeups.give("task-7")
        assert not await wakeups.wait("task-7", 15)
        assert now() == 15
        assert wakeups._given == {}

    play(story)


def test_a_hint_does_not_outlive_its_registration() -> None:
    async def story() -> None:
        wakeups = Wakeups()
        with wakeups.register("task-7"):
            wakeups.give("task-7")
        with wakeups.register("task-7"):
            assert not await wakeups.wait("task-7", 15)
            assert now() == 15

    play(story)


def test_a_name_is_forgotten_whatever_happens_and_belongs_to_one() -> None:
    wakeups = Wakeups()
    with pytest.raises(ZeroDivisionError), wakeups.register("task-7"):
        with pytest.raises(ValueError, match="taken"), wakeups.register("task-7"):
            pass
        assert wakeups.give("task-7"), "the first one keeps it"
        raise ZeroDivisionError
    assert not wakeups.give("task-7")
