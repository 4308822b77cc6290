"""A PostgreSQL store read by a command: only if it is there and of this version, and never made or changed."""

from __future__ import annotations

import pytest

from gateway.core.errors import StoreError
from gateway.stores.engines import accept_loss, back_up, put_back, read_store, require_store
from gateway.stores.postgres.migrating import migrations
from gateway.stores.postgres.pool import PostgresPool
from tests.engines import PostgresServer
from tests.stores.makers import intent, settlement

from .books import reserve, settle, tamper


async def tables(url: str, server: PostgresServer) -> str:
    return server.execute(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace", url.rsplit("/", 1)[1]
    )


async def test_a_database_without_books_is_told_of_and_left_alone(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    reader = read_store(postgres_url)
    assert not await reader.exists()
    assert await reader.keys.page() == []
    assert await reader.teams.seen() == {}
    for asked in (reader.usage.verify(), reader.usage.audit(0), require_store(postgres_url)):
        with pytest.raises(StoreError, match="does not exist"):
            await asked
    assert await tables(postgres_url, postgres_server) == "0"


async def test_a_store_is_read_beside_others_and_by_one_name(pool: PostgresPool, postgres_url: str) -> None:
    await reserve(pool, [intent("a")])
    await settle(pool, [settlement("a")])
    reader = read_store(postgres_url)
    assert await reader.exists()
    await require_store(postgres_url)
    assert reader.name == pool.name
    assert reader.pepper_file is None
    assert (await reader.usage.verify()).settled == 1
    assert await reader.keys.page() == []
    assert await reader.teams.seen() == {}
    async with pool.connection() as connection:
        names = await connection.fetch(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend'"
        )
    assert [name for (name,) in names if name != "test"] == [], "nothing stays open behind a command"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("INSERT INTO schema_version VALUES (9999, 1)", "newer version"),
        (f"DELETE FROM schema_version WHERE version = {max(migrations())}", "no books of this version yet"),
    ],
)
async def test_a_store_of_another_version_is_not_read(
    pool: PostgresPool, postgres_url: str, change: str, said: str
) -> None:
    await tamper(postgres_url, change)
    for asked in (read_store(postgres_url).usage.verify(), require_store(postgres_url)):
        with pytest.raises(StoreError, match=said):
            await asked


async def test_a_server_that_is_not_there_is_told_of_without_its_password() -> None:
    url = "postgresql://gateway:hunter2@127.0.0.1:1/books"
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        await read_store(url).usage.verify()
    assert "hunter2" not in str(caught.value)


def test_what_only_files_have_is_refused_without_its_password(tmp_path) -> None:  # type: ignore[no-untyped-def]
    url = "postgresql://gateway:hunter2@127.0.0.1:1/books"
    for refused in (
        lambda: accept_loss(url, 1, "me", "why"),
        lambda: back_up(url, tmp_path, 1),
        lambda: put_back(tmp_path, url, 1),
    ):
        with pytest.raises(StoreError, match="is a PostgreSQL database, not a file") as caught:
            refused()
        assert "hunter2" not in str(caught.value)
