"""Every engine there is, one after the other. A new engine adds itself to ENGINES and has to pass what stands here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.app.assembly import new_gateway_id
from gateway.stores.base import Store, StoreReader
from gateway.stores.engines import open_store, read_store
from tests.stores.makers import StoppedClock


@dataclass
class Engine:
    """A place for one store of one engine: ``open`` it to serve, ``read`` beside that; ``close`` lets go of all."""

    url: str
    folder: Path
    opened: list[Store] = field(default_factory=list)

    async def open(self) -> Store:
        store = await open_store(self.url, StoppedClock(), new_gateway_id(), self.folder / "spill")
        self.opened.append(store)
        return store

    def read(self) -> StoreReader:
        return read_store(self.url)

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()


def sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a store that does not exist yet."""
    return f"sqlite:///{folder / 'gateway.db'}"


def postgres(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a database that holds nothing yet."""
    url: str = request.getfixturevalue("postgres_url")
    return url


ENGINES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {"sqlite": sqlite, "postgres": postgres}

ON_POSTGRES: set[str] = {
    # The suites that PostgreSQL passes, one a line.
    "test_audit_and_alerts",
    "test_balances",
    "test_deliveries",
    "test_durations",
    "test_jobs",
    "test_keys",
    "test_latest",
    "test_ledger",
    "test_response_places",
    "test_responses",
    "test_gateways",
    "test_teams",
    "test_usage",
}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    if request.param == "postgres" and request.module.__name__.rsplit(".", 1)[-1] not in ON_POSTGRES:
        pytest.skip("not built yet")
    made = Engine(ENGINES[request.param](request, tmp_path), tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(engine: Engine) -> Store:
    return await engine.open()


Reopen = Callable[[], Awaitable[Store]]


@pytest.fixture
def reopen(engine: Engine) -> Reopen:
    """Close the store and open it again, as a restart does."""

    async def again() -> Store:
        await engine.close()
        return await engine.open()

    return again
