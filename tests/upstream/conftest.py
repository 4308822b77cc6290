"""What the upstream's tests share: both event loops, a pool, and short ways to ask and read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from gateway.core.types import Endpoint
from gateway.upstream.dialer import SystemDialer
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.response import Response

from .fetching import fetcher as fetcher
from .fetching import pauses as pauses

Ask = Callable[..., Coroutine[Any, Any, Response]]

DIALER = SystemDialer()
"""One for all: reading the system's certificates takes longer than most tests."""


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test here runs on both loops: transports differ in when they call back."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    made = ConnectionPool(DIALER)
    yield made
    await made.close()
    assert made.open_count == 0


@pytest.fixture
def ask(pool: ConnectionPool) -> Ask:
    """``await ask(endpoint, …)``: a small POST through the pool."""

    async def ask(endpoint: Endpoint, method: str = "POST", body: bytes = b"{}", *, fresh: bool = False) -> Response:
        return await pool.request(
            endpoint, method, "/v1/chat", [(b"accept", b"*/*")], body, connect_timeout=5, fresh=fresh
        )

    return ask


async def read_all(response: Response) -> bytes:
    """The whole body; closes the response."""
    try:
        pieces = []
        while piece := await response.receive():
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        response.close()
