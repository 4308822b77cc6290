"""Old rows leave, hour by hour or as whole months; what is open, unknown or young stays, and so do all sums."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from gateway.core.errors import GatewayFault
from gateway.stores.postgres import pruning
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.pruning import prune
from gateway.stores.postgres.usage import PostgresUsage
from gateway.stores.records import Correction, Pruned
from tests.stores.makers import intent, released, settlement, task

from .books import correct, record_tasks, reserve, settle

HOUR_NS = 3_600 * 10**9
NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) * 10**9
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
DAY_NS = 24 * HOUR_NS
ENDINGS = ("settled", "released", "unknown", "corrected", "undone", "open")


async def exchanges(pool: PostgresPool, name: str, at_ns: int) -> None:
    """One of each ending at a moment, each with a task."""
    ids = {ending: f"{name}-{ending}" for ending in ENDINGS}
    await reserve(pool, [intent(id, at_ns=at_ns) for id in ids.values()])
    await settle(
        pool,
        [
            settlement(ids["settled"]),
            released(ids["released"]),
            *(settlement(ids[ending], state="unknown") for ending in ("unknown", "corrected", "undone")),
        ],
    )
    await correct(
        pool,
        [
            Correction(ids["corrected"], NOW, "settled", 7, 30, 1, "task completed"),
            Correction(ids["undone"], NOW, "released", 0, 0, 0, "not on the bill"),
        ],
    )
    await record_tasks(pool, [task(f"task-{id}", id, at_ns=at_ns + 1) for id in ids.values()])


@pytest.fixture
async def books(pool: PostgresPool) -> PostgresPool:
    """Exchanges of September, of October, of the first of November, and of today."""
    for name, at_ns in {
        "september": NOVEMBER - 40 * DAY_NS,
        "october": NOVEMBER - 1,
        "november": NOVEMBER,
        "today": NOW - 1,
    }.items():
        await exchanges(pool, name, at_ns)
    return pool


async def found(pool: PostgresPool, query: str) -> list[str]:
    async with pool.connection() as connection:
        return [row[0] for row in await connection.fetch(query)]


async def sums(pool: PostgresPool) -> object:
    reports = PostgresUsage(pool)
    return [
        await reports.usage(since_ns=0, until_ns=NOW, by=by, time_zone=UTC) for by in (["key", "day"], ["upstream"])
    ]


async def test_months_leave_as_tables_and_of_the_last_one_what_is_old(books: PostgresPool) -> None:
    reports, before = PostgresUsage(books), await sums(books)
    horizon = NOVEMBER + HOUR_NS
    assert await found(books, "SELECT month FROM ledger_months() ORDER BY 1") == ["2026_09", "2026_10", "2026_11"]
    planned = await reports.prunable(horizon)
    assert planned == Pruned(horizon, settled=6, released=6)
    assert await prune(books, horizon + 5, NOW) == planned
    assert await sums(books) == before
    left = {f"{month}-{ending}" for month in ("september", "october", "november") for ending in ("unknown", "open")}
    left |= {f"today-{ending}" for ending in ENDINGS}
    assert set(await found(books, "SELECT id FROM intents")) == left
    assert set(await found(books, "SELECT exchange FROM tasks")) == left
    assert set(await found(books, "SELECT id FROM settlements")) == {id for id in left if not id.endswith("open")}
    assert set(await found(books, "SELECT id FROM corrections")) == {"today-corrected", "today-undone"}
    assert await found(books, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(gone|kept)_'") == []
    verified = await reports.verify()
    assert verified.problems == []
    assert (verified.settled, verified.released, verified.unknown, verified.open) == (2, 2, 4, 4)
    assert (verified.pruned, verified.corrected) == (12, 2)
    assert await prune(books, horizon, NOW) == Pruned(horizon)


async def test_a_month_of_which_all_is_over_has_no_table_any_more(pool: PostgresPool) -> None:
    await reserve(pool, [intent("a", at_ns=NOVEMBER - 1), intent("b", at_ns=NOVEMBER)])
    await settle(pool, [settlement("a"), settlement("b")])
    assert await prune(pool, NOVEMBER, NOW) == Pruned(NOVEMBER, settled=1)
    assert await found(pool, "SELECT month FROM ledger_months()") == ["2026_11"]
    await reserve(pool, [intent("late", at_ns=NOVEMBER - 1)])
    assert await found(pool, "SELECT id FROM intents ORDER BY 1") == ["b", "late"]


async def test_what_was_left_of_a_month_can_be_settled_corrected_and_leave_then(books: PostgresPool) -> None:
    await prune(books, NOVEMBER, NOW)
    await settle(books, [settlement("october-open", charged=1_000)])
    await correct(books, [Correction("october-unknown", NOW, "settled", 9, 30, 0, "found on the bill")])
    reports = PostgresUsage(books)
    assert (await reports.verify()).problems == []
    before = await sums(books)
    assert await prune(books, NOVEMBER, NOW) == Pruned(NOVEMBER, settled=2)
    assert await sums(books) == before
    assert set(await found(books, f"SELECT id FROM intents WHERE at_ns < {NOVEMBER}")) == {
        "september-unknown",
        "september-open",
    }
    assert (await reports.verify()).problems == []


async def test_a_pruning_that_was_cut_short_is_ended_by_the_next(books: PostgresPool) -> None:
    before = await sums(books)
    async with books.transaction() as connection:
        await connection.execute("SELECT let_month_go('2026_10', $1, $2)", NOVEMBER, NOW)
    reports = PostgresUsage(books)
    assert (await reports.verify()).problems == []
    assert await sums(books) == before
    pruned = await prune(books, NOVEMBER, NOW)
    assert (pruned.settled, pruned.released) == (3, 3), "the two that were corrected in October had left before"
    verified = await reports.verify()
    assert (verified.problems, verified.pruned) == ([], 8)
    assert await sums(books) == before


async def test_a_month_that_is_in_use_leaves_row_by_row(
    books: PostgresPool, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "TRIES", 1)
    before, reader = await sums(books), await asyncpg.connect(postgres_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT id FROM intents")
            assert await prune(books, NOVEMBER, NOW) == Pruned(NOVEMBER, settled=4, released=4)
            assert await found(books, "SELECT month FROM ledger_months() ORDER BY 1") == [
                "2026_09",
                "2026_10",
                "2026_11",
            ]
    finally:
        await reader.close()
    assert await sums(books) == before
    assert (await PostgresUsage(books).verify()).problems == []


async def test_requests_are_booked_while_months_leave(books: PostgresPool) -> None:
    async def serve(number: int) -> None:
        for turn in range(20):
            await reserve(books, [intent(f"{number}-{turn}", at_ns=NOW)])
            await settle(books, [settlement(f"{number}-{turn}")])

    serving = asyncio.gather(*(serve(number) for number in range(3)))
    while not serving.done():
        await prune(books, NOVEMBER, NOW)
        await asyncio.sleep(0.01)
    await serving
    verified = await PostgresUsage(books).verify()
    assert (verified.problems, verified.settled) == ([], 60 + 4)


@pytest.mark.parametrize("table", ["intents", "settlements", "corrections", "tasks", "spent", "prunes", "audit"])
async def test_nothing_can_be_deleted_without_pruning_it(books: PostgresPool, table: str) -> None:
    await prune(books, NOVEMBER, NOW)
    for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(Exception, match="append-only"):
            async with books.connection() as connection:
                await connection.execute(statement)


async def test_a_store_that_is_gone_prunes_nothing(books: PostgresPool) -> None:
    await books.close()
    with pytest.raises(GatewayFault):
        await prune(books, NOVEMBER, NOW)
