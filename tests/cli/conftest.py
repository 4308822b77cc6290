"""A folder of its own for every test of a command, and what gateways in the test's process need not load."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.exchange.tokenizer import Tokenizer
from gateway.runtime.tls import client_context
from gateway.sandbox import Sandbox

ENVIRONMENT = ("PIAPI_API_KEY", "BACKUP_API_KEY", "GATEWAY_ADMIN_KEY", "GATEWAY_KEY_PEPPER")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are called, with nothing set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def authorities() -> ssl.SSLContext:
    """The system's; they take longer to read than most tests last."""
    return client_context()


@pytest.fixture
async def sandbox(authorities: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Upstreams, for gateways that load no vocabulary: every answer of the sandbox says its tokens."""
    monkeypatch.setattr(
        "gateway.upstream.tls.client_context", lambda *files: client_context(*files) if any(files) else authorities
    )
    monkeypatch.setattr(Tokenizer, "load", lambda _: None)
    async with Sandbox(roles=("api", "proxy", "backup")) as running:
        yield running
