"""``migrate`` without --from and --to: the schema of the configuration's PostgreSQL, brought up to date."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.stores.postgres.migrating import migrations
from tests.engines import PostgresServer
from tests.process.running import write

from .in_process import NOWHERE, command, done, one_line

VERSIONS = "SELECT string_agg(version::text, ',' ORDER BY version) FROM schema_version"

Told = Callable[[str], str]


@pytest.fixture
def database(postgres_url: str, postgres_server: PostgresServer, folder: Path) -> Told:
    write(folder, {"admin": NOWHERE, "store": postgres_url})
    name = postgres_url.rpartition("/")[2]
    return lambda statement: postgres_server.execute(statement, name)


async def test_a_new_database_gets_the_schema_and_nothing_is_done_twice(database: Told) -> None:
    latest = max(migrations())
    assert f"has the schema of this version ({latest})." in await done("migrate")
    assert json.loads(await done("migrate", "--json"))["schema"] == latest
    assert database(VERSIONS) == ",".join(map(str, migrations()))


async def test_a_newer_schema_is_refused(database: Told) -> None:
    await done("migrate")
    database("INSERT INTO schema_version VALUES (9999, 0)")
    assert "was written by a newer version" in one_line(await command("migrate"), 1)


async def test_a_migration_that_fails_changes_nothing_and_is_told_of(database: Told) -> None:
    database("CREATE TABLE intents (id TEXT)")
    said = one_line(await command("migrate"), 1)
    assert "holds something else already" in said
    assert database("SELECT count(*) FROM pg_tables WHERE tablename = 'schema_version'") == "0"


async def test_a_server_that_is_not_there_is_told_of_without_the_password(folder: Path) -> None:
    write(folder, {"admin": NOWHERE, "store": "postgresql://gateway:hunter2@127.0.0.1:1/gateway"})
    said = one_line(await command("migrate"), 1)
    assert "cannot be reached" in said
    assert "hunter2" not in said
