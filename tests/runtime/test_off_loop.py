"""Long documents are worked on in one thread, and what was begun there is waited for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gateway.runtime.off_loop import off_loop

PATIENCE = 10.0


def fail() -> None:
    raise ValueError("no JSON")


async def test_the_result_and_the_error_come_back() -> None:
    assert await off_loop(int, "7") == 7
    with pytest.raises(ValueError, match="no JSON"):
        await off_loop(fail)


async def test_it_is_done_elsewhere_one_after_the_other() -> None:
    at_once, most, threads = 0, 0, set[int]()

    def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        threads.add(threading.get_ident())
        at_once -= 1

    await asyncio.gather(*(off_loop(work) for _ in range(50)))
    assert most == 1
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_work_that_has_begun_is_waited_for_and_work_that_has_not_is_left_out() -> None:
    begun, go = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> None:
        begun.set()
        assert go.wait(PATIENCE)
        done.append("first")
        raise ValueError("of no interest any more")

    async with asyncio.TaskGroup() as group:
        running = group.create_task(off_loop(first))
        waiting = group.create_task(off_loop(done.append, "second"))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        running.cancel()
        waiting.cancel()
        await asyncio.wait({waiting})
        await asyncio.sleep(0)
        running.cancel()  # once more: it still waits
        await asyncio.sleep(0)
        assert not running.done()
        go.set()
    assert running.cancelled()
    assert waiting.cancelled()
    assert await off_loop(len, done) == 1
    assert done == ["first"]
