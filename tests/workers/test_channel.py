"""The channel between supervisor and worker: questions side by side, and an end that both notice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.errors import OperatorError
from gateway.workers.channel import Answering, Channel, ChannelError


async def nothing(what: str, value: Any) -> Any:
    raise OperatorError("nothing is asked here")


@asynccontextmanager
async def both(answer: Answering, told: Any = lambda what, value: None) -> AsyncIterator[tuple[Channel, Channel]]:
    """The end that asks, and the one that answers, both served."""
    ends = []
    for pair, does, hears in zip(socket.socketpair(), (nothing, answer), (told, lambda *_: None), strict=True):
        reader, writer = await asyncio.open_connection(sock=pair)
        ends.append(Channel(reader, writer, does, hears))
    async with asyncio.TaskGroup() as group:
        serving = [group.create_task(end.serve()) for end in ends]
        yield ends[0], ends[1]
        for one in serving:
            one.cancel()


async def test_questions_are_answered_side_by_side() -> None:
    go_on = asyncio.Event()

    async def answer(what: str, value: Any) -> Any:
        if what == "slow":
            await go_on.wait()
        return [what, value]

    async with both(answer) as (asking, _), asyncio.TaskGroup() as group:
        slow = group.create_task(asking.ask("slow", 1, timeout=10))
        assert await asking.ask("quick", {"a": "x" * 300_000}, timeout=10) == ["quick", {"a": "x" * 300_000}]
        assert not slow.done()
        go_on.set()
        assert await slow == ["slow", 1]


async def test_what_is_only_told_is_heard_in_order() -> None:
    heard: list[tuple[str, Any]] = []
    async with both(nothing, lambda what, value: heard.append((what, value))) as (asking, answering):
        for number in range(3):
            answering.tell("news", number)
        with pytest.raises(ChannelError, match="nothing is asked here"):
            await asking.ask("anything", timeout=10)
    assert heard == [("news", 0), ("news", 1), ("news", 2)]


async def test_a_mistake_at_the_other_end_is_told_and_ends_nothing() -> None:
    async def answer(what: str, value: Any) -> Any:
        return 1 // value

    async with both(answer) as (asking, _):
        with pytest.raises(ChannelError, match="it failed at 'divide'"):
            await asking.ask("divide", 0, timeout=10)
        assert await asking.ask("divide", 1, timeout=10) == 1


async def test_one_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async def answer(what: str, value: Any) -> Any:
        await asyncio.Event().wait()

    async with both(answer) as (asking, _):
        with pytest.raises(ChannelError, match=r"within 0.05 s"):
            await asking.ask("anything", timeout=0.05)


async def test_the_end_of_the_other_process_fails_what_waits_and_what_is_asked_after() -> None:
    asked = asyncio.Event()

    async def answer(what: str, value: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    channel = Channel(reader, writer, nothing)
    other_reader, other_writer = await asyncio.open_connection(sock=theirs)
    other = Channel(other_reader, other_writer, answer)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(channel.serve())
        group.create_task(other.serve())
        waiting = group.create_task(_fails(channel, "it has ended"))
        await asked.wait()
        other_writer.transport.abort()
        await serving
        await waiting
        assert channel.ended
        await _fails(channel, "it has ended")
        channel.tell("news")  # goes nowhere


async def _fails(channel: Channel, why: str) -> None:
    with pytest.raises(ChannelError, match=why):
        await channel.ask("anything", timeout=10)
