"""Fleets on real servers: Valkey, and another server of its protocol if the environment names one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.shared_state.valkey import calls
from tests.engines import ValkeyServer

from .fleets import OLD_REDIS, Fleet, old_redis


@pytest.fixture(scope="session")
def _old_server() -> Iterator[ValkeyServer]:
    program = old_redis()
    if program is None:
        pytest.skip(f"{OLD_REDIS} names no other server, such as the one of Redis 6.2")
    server = ValkeyServer(program=program)
    yield server
    server.close()


def url_of(engine: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty engine."""
    if engine == "memory":
        return "memory://"
    if engine == "valkey":
        found: str = request.getfixturevalue("valkey_url")
        return found
    import redis

    server: ValkeyServer = request.getfixturevalue("_old_server")
    with redis.Redis(port=server.port) as client:
        client.flushall()
    return server.url


SERVERS = [
    "valkey",
    pytest.param("redis", marks=pytest.mark.skipif(old_redis() is None, reason=f"{OLD_REDIS} names no other server")),
]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes nothing late: what is counted by gateways that are alone is for the tests of outages."""
    monkeypatch.setattr(calls, "LATEST", 10.0)
    monkeypatch.setattr(calls, "GIVEN_UP", 20.0)


@pytest.fixture(params=["memory", *SERVERS])
async def engine(request: pytest.FixtureRequest, patience: None) -> AsyncIterator[Fleet]:
    """Where one gateway counts, on every engine."""
    fleet = Fleet(url_of(request.param, request))
    yield fleet
    await fleet.close()


@pytest.fixture(params=SERVERS)
async def fleet(request: pytest.FixtureRequest, patience: None) -> AsyncIterator[Fleet]:
    """Where several gateways count together."""
    fleet = Fleet(url_of(request.param, request))
    yield fleet
    await fleet.close()


@pytest.fixture
async def own_fleet(own_valkey: ValkeyServer) -> AsyncIterator[Fleet]:
    """A fleet on a server that the test may stop."""
    fleet = Fleet(own_valkey.url)
    yield fleet
    own_valkey.resume()
    await fleet.close()
