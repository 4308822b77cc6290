"""Routes are tested behind the real server: its fixtures, on asyncio's loop and on uvloop's."""

from __future__ import annotations

from tests.server.conftest import connect, pytest_asyncio_loop_factories, serve

__all__ = ["connect", "pytest_asyncio_loop_factories", "serve"]
