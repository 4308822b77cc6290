"""Pausing either direction, waiting for room, and clients that take nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from gateway.server.flow import FlowControl
from tests.virtual_time import VirtualTime

STALL = 60.0
"""Seconds of virtual time."""


def play(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.run(story())


class Transport:
    """Counts pauses; its client takes what the test says."""

    def __init__(self) -> None:
        self.unsent = 100
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def stalls() -> list[float]:
    return []


@pytest.fixture
def flow(transport: Transport, stalls: list[float]) -> FlowControl:
    return FlowControl(transport, STALL, lambda: stalls.append(asyncio.get_running_loop().time()))  # type: ignore[arg-type]


def test_a_transport_is_asked_only_for_what_changes(flow, transport):
    flow.resume_reading()
    flow.pause_reading()
    flow.pause_reading()
    flow.resume_reading()
    flow.resume_reading()
    assert transport.calls == ["pause", "resume"]


async def test_all_who_wait_for_room_go_on_together(flow):
    await flow.drain()
    flow.pause_writing()
    assert flow.writing_paused
    waiting = [asyncio.get_running_loop().create_task(flow.drain()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    flow.resume_writing()
    assert not flow.writing_paused
    await asyncio.gather(*waiting)
    await flow.drain()


def test_a_lost_connection_ends_every_wait(flow, stalls):
    async def story() -> None:
        flow.pause_writing()
        waiting = asyncio.get_running_loop().create_task(flow.drain())
        await asyncio.sleep(0)
        flow.lost()
        await waiting
        await asyncio.sleep(2 * STALL)
        assert stalls == []

    play(story)


def test_a_client_that_takes_nothing_has_stalled_and_that_is_told_once(flow, stalls):
    async def story() -> None:
        flow.pause_writing()
        flow.pause_writing()
        await asyncio.sleep(4 * STALL)
        assert stalls == [pytest.approx(STALL)]

    play(story)


def test_a_client_that_takes_a_little_has_not_stalled(flow, transport, stalls):
    async def story() -> None:
        flow.pause_writing()
        for _ in range(10):
            await asyncio.sleep(STALL / 2)
            transport.unsent -= 1
        assert stalls == []
        flow.resume_writing()
        await asyncio.sleep(2 * STALL)
        assert stalls == []

    play(story)
