"""A sandbox and a client for every test that wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.sandbox import Sandbox

from .running import new_client


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_client() as running:
        yield running
