"""A sandbox with all three hosts, and gateways in front of it, on the loop the gateway runs on in production."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from gateway.exchange.tokenizer import Tokenizer
from gateway.runtime.tls import client_context
from gateway.sandbox import Sandbox

from .harness import ROLES, Rig
from .node_sdk import Node, running_node


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if sys.platform == "win32":
        return {"asyncio": asyncio.new_event_loop}
    import uvloop

    return {"uvloop": uvloop.new_event_loop}


class StartGateway(Protocol):
    async def __call__(self, overrides: str = "", *, ask_for_models: bool = False) -> Rig: ...


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The real one; its vocabulary takes half a second to read, once is enough."""
    tokenizer = Tokenizer()
    tokenizer.load()
    return tokenizer


@pytest.fixture(scope="session")
def authorities() -> ssl.SSLContext:
    """The system's; they take longer to read than most tests last."""
    return client_context()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(roles=ROLES) as running:
        yield running


@pytest.fixture
async def gateway(
    sandbox: Sandbox,
    tmp_path: Path,
    tokenizer: Tokenizer,
    authorities: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[StartGateway]:
    """Starts gateways from YAML that is merged over ``harness.rig_config``. At the end each is closed and checked."""
    monkeypatch.setattr("gateway.app.assembly.Tokenizer", lambda _: tokenizer)
    monkeypatch.setattr(
        "gateway.upstream.tls.client_context", lambda *files: client_context(*files) if any(files) else authorities
    )
    rigs: list[Rig] = []

    async def start(overrides: str = "", *, ask_for_models: bool = False) -> Rig:
        folder = tmp_path / str(len(rigs))
        folder.mkdir()
        rigs.append(await Rig.start(sandbox, folder, overrides, ask_for_models=ask_for_models))
        return rigs[-1]

    yield start
    for rig in rigs:
        await rig.close()


@pytest.fixture
async def rig(gateway: StartGateway) -> Rig:
    """A gateway as it is without overrides."""
    return await gateway()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """The official SDK for JavaScript."""
    with running_node() as running:
        yield running
