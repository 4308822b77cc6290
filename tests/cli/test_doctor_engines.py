"""``doctor`` and the engines of a fleet: a PostgreSQL before and after its first gateway, a Valkey."""

from __future__ import annotations

import json
import time
from pathlib import Path

from gateway.sandbox import Sandbox
from gateway.stores.engines import open_store
from tests.process.running import settings, write
from tests.stores.makers import intent

from .in_process import NOWHERE, command


class Clock:
    def monotonic(self) -> float:
        return 0.0

    def wall_ns(self) -> int:
        return time.time_ns()


async def found(name: str) -> list[tuple[str, str]]:
    """State and words of the rows of that name; a password is in none."""
    finished = await command("doctor", "--offline", "--json")
    assert finished.err == ""
    assert "Traceback" not in finished.out
    return [(row["state"], row["found"]) for row in json.loads(finished.out) if row["name"] == name]


async def test_a_database_before_and_after_its_first_gateway(
    folder: Path, sandbox: Sandbox, postgres_url: str, valkey_url: str
) -> None:
    write(folder, settings(sandbox, folder, admin=NOWHERE, store=postgres_url, shared_state=valkey_url))
    [(state, words)] = await found("store")
    assert (state, "the first start makes it" in words) == ("ok", True)
    assert [state for state, _ in await found("extras")] == ["ok"]
    [(state, words)] = await found("shared state")
    assert (state, "answers in" in words) == ("ok", True)
    store = await open_store(postgres_url, Clock(), "gw_0123456789abcdef", folder / "spill")
    await store.ledger.reserve(intent("one", at_ns=time.time_ns()))
    [(state, words)] = await found("store")
    assert (state, "PostgreSQL 1" in words) == ("ok", True)
    [(state, words)] = await found("books")
    assert (state, words.startswith("requests open: 1, ")) == ("ok", True)
    await store.close()
