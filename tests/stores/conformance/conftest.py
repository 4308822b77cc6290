"""Every engine there is, one after the other. A new engine adds itself to ENGINES and has to pass what stands here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.stores.base import Store, StoreReader
from gateway.stores.engines import open_store, read_store
from tests.stores.makers import StoppedClock


@dataclass
class Engine:
    """A place for one store of one engine: ``open`` it to serve, ``read`` beside that; ``close`` lets go of all."""

    url: str
    opened: list[Store] = field(default_factory=list)

    async def open(self) -> Store:
        store = await open_store(self.url, StoppedClock())
        self.opened.append(store)
        return store

    def read(self) -> StoreReader:
        return read_store(self.url)

    async def close(self) -> None:
        while self.opened:
            await self.opened.pop().close()


def sqlite(folder: Path) -> Iterator[str]:
    """The URL of a store that does not exist yet."""
    yield f"sqlite:///{folder / 'gateway.db'}"


ENGINES: dict[str, Callable[[Path], Iterator[str]]] = {"sqlite": sqlite}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    for url in ENGINES[request.param](tmp_path):
        made = Engine(url)
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
