"""A real server on a free loopback port, and raw clients of it, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from gateway.server.dispatch import Dispatch, RouteHandler
from gateway.server.limits import ServerLimits
from gateway.server.listener import RunningServer, start_server
from gateway.server.state import Application
from tests.raw_client import RawClient


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if sys.platform != "win32":
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


class Serve(Protocol):
    async def __call__(
        self, app: Application, *, cors: Any = None, hostless: Any = None, **limits: Any
    ) -> RunningServer: ...


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers; they are closed at the end, and nothing of them may be left."""
    servers: list[RunningServer] = []

    async def start(app: Application, *, cors: Any = None, hostless: Any = None, **limits: Any) -> RunningServer:
        server = await start_server(
            app,
            "127.0.0.1",
            0,
            limits=ServerLimits(**limits),
            cors=cors,
            hostless=hostless or (lambda _: False),
        )
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close(0.05)
        assert server.connections == 0
        assert server.requests == 0


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[RawClient]]]:
    clients: list[RawClient] = []

    async def start(server: RunningServer, *, rcvbuf: int | None = None) -> RawClient:
        client = await RawClient.connect(server.port, rcvbuf=rcvbuf)
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.leave()


def front_door(endpoint: RouteHandler) -> Dispatch:
    """A gateway with one route, ``POST /``. A crash fails the test through the 500 that the client gets."""

    def crashed(request_id: str, error: Exception) -> None:
        print(f"{request_id}: {error!r}")

    return Dispatch({"/": {"POST": endpoint, "GET": endpoint}}, [], crashed)
