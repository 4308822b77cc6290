"""One server of each kind for all tests of a worker that only use it; what is stopped or stalled is a test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .postgres import PostgresServer
from .valkey import ValkeyServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that is never stopped."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a new, empty database, which is gone after the test: the server's folder may lie in memory."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def _valkey_server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    yield server
    server.close()


@pytest.fixture
def valkey_url(_valkey_server: ValkeyServer) -> str:
    """The URL of a Valkey that holds nothing."""
    import redis

    with redis.Redis(port=_valkey_server.port) as client:
        client.flushall()
    return _valkey_server.url


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test alone."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def own_valkey() -> Iterator[ValkeyServer]:
    """A Valkey of this test alone."""
    server = ValkeyServer()
    yield server
    server.close()
