"""A running sandbox with all three roles. Closing it raises the first error inside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from gateway.sandbox import Sandbox

_BOTH_LOOPS = (
    "test_connection",
    "test_connection_faults",
    "test_event_faults",
    "test_sandbox",
    "test_stream_faults",
)


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What depends on transports runs on both loops: the demo serves on uvloop, tests mostly on asyncio's."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.module.__name__.rpartition(".")[2] in _BOTH_LOOPS:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running
