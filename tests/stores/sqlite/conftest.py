from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.stores.sqlite.ledger import SQLiteLedger

from .books import StoppedClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SQLiteLedger]:
    opened = await SQLiteLedger.open(path, clock=StoppedClock())
    yield opened
    await opened.close()
