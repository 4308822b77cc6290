"""The roll-up: whatever happened, in whatever order, it says what the rows say, for any period, zone and grouping."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, tzinfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.stores.postgres.folding import fold
from gateway.stores.postgres.migrating import migrate
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.pruning import prune
from gateway.stores.postgres.usage import PostgresUsage
from gateway.stores.records import BookedPrice, Correction
from tests.stores.makers import intent, settlement
from tests.stores.stories import DAY_NS, FIRST, HOUR_NS, ZONES, Story, groupings, moments, on_paper, stories

from .books import correct, empty, reserve, settle

EXAMPLES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresPool]:
    """New books, in a loop of their own."""
    pool = await PostgresPool.open(url, "test", 2)
    try:
        async with pool.connection() as connection:
            await migrate(connection, 1, pool.name)
        await empty(url)
        yield pool
    finally:
        await pool.close()


async def tell(pool: PostgresPool, told: list[Story], folds: int) -> None:
    """Write the stories: half of them in each statement, corrections at the very end. ``folds``: a bit for each pause
    between these, whether sums are folded in it.
    """
    ids = [f"x{number}" for number in range(len(told))]
    await reserve(
        pool,
        [
            intent(identity, at_ns=story.at_ns, key=story.key, team=story.team, model=story.model)
            for identity, story in zip(ids, told, strict=True)
        ],
    )
    settled = [
        settlement(
            identity, state=story.state, upstream=story.upstream, images=story.amounts[0], charged=story.amounts[1],
            upstream_cost=story.amounts[2], attempts=(), confidence=story.confidence,
            price=None if story.corrected else story.price,
        )
        for identity, story in zip(ids, told, strict=True)
    ]  # fmt: skip
    half = len(settled) // 2 + 1
    corrections = []
    for identity, story in zip(ids, told, strict=True):
        if story.corrected == "settled":
            images, charged, cost = story.figures
            corrections.append(
                Correction(
                    identity, 1, "settled", charged, cost, images, "asked", story.found_at,
                    confidence=story.confidence, price=story.price,
                )
            )  # fmt: skip
        elif story.corrected == "released":
            corrections.append(Correction(identity, 1, "released", 0, 0, 0, "asked"))
    await settle(pool, settled[:half])
    if folds & 1:
        await fold(pool)
    await settle(pool, settled)
    if folds & 2:
        await fold(pool)
    await correct(pool, corrections)
    if folds & 4:
        await fold(pool)


def without_attempts(problems: list[str]) -> list[str]:
    """The stories have no attempts, so that only these do not add up."""
    return [problem for problem in problems if "attempts whose costs" not in problem]


@given(stories, moments, moments, groupings, st.sampled_from(ZONES), st.integers(0, 7))
@settings(EXAMPLES, max_examples=60)
def test_usage_is_what_the_rows_add_up_to(
    postgres_url: str, told: list[Story], since: int, until: int, by: list[str], zone: tzinfo, folds: int
) -> None:
    async def tried() -> None:
        async with opened(postgres_url) as pool:
            await tell(pool, told, folds)
            reports = PostgresUsage(pool)
            found = await reports.usage(since_ns=since, until_ns=until, by=by, time_zone=zone)
            assert [replace(row, prices=()) for row in found] == on_paper(told, since, until, by, zone)
            listed: Counter[BookedPrice] = Counter()
            for row in found:
                listed.update({use.booked: use.requests for use in row.prices})
            assert listed == Counter(
                story.price
                for story in told
                if since <= story.at_ns < until and story.ends != "released" and story.price is not None
            )
            expected: dict[tuple[str, str | None, str], int] = defaultdict(int)
            for story in told:
                if since <= story.at_ns < until:
                    expected[story.key, story.team, story.model] += story.figures[1]
            charged = await reports.charged_since(since, until)
            assert {who: amount for who, amount in charged.items() if amount} == {
                who: amount for who, amount in expected.items() if amount
            }
            if not any(story.amounts[2] for story in told):
                assert (await reports.verify()).problems == []

    asyncio.run(tried())


@given(stories, st.integers(0, 4 * DAY_NS), st.sampled_from(ZONES), st.integers(0, 7))
@settings(EXAMPLES, max_examples=40)
def test_pruning_changes_no_sum_of_whole_hours(
    postgres_url: str, told: list[Story], age: int, zone: tzinfo, folds: int
) -> None:
    """And leaves what is unknown, what is young, and books that verify."""
    horizon = FIRST + age - age % HOUR_NS
    windows = [(0, 2**62), (FIRST + 7 * HOUR_NS, FIRST + 40 * HOUR_NS), (horizon, 2**62), (0, horizon)]
    costless = [replace(story, amounts=(*story.amounts[:2], 0)) for story in told]

    async def sums(pool: PostgresPool) -> list[object]:
        reports = PostgresUsage(pool)
        return [
            await reports.usage(since_ns=since, until_ns=until, by=by, time_zone=zone)
            for since, until in windows
            for by in (["key", "team"], ["model", "upstream"])
        ]

    async def tried() -> None:
        async with opened(postgres_url) as pool:
            await tell(pool, costless, folds)
            before, reports = await sums(pool), PostgresUsage(pool)
            would = await reports.prunable(horizon)
            assert await prune(pool, horizon, 2**62) == would
            assert await sums(pool) == before
            days = await reports.usage(since_ns=0, until_ns=2**62, by=["day"], time_zone=UTC)
            assert sum(row.cost_nano for row in days) == sum(story.figures[1] for story in told)
            async with pool.connection() as connection:
                left = {row[0] for row in await connection.fetch("SELECT id FROM intents")}
            assert left == {
                f"x{number}"
                for number, story in enumerate(told)
                if story.at_ns >= horizon or story.ends == "unknown"
            }  # fmt: skip
            books = await reports.verify()
            assert without_attempts(books.problems) == []
            assert books.pruned == would.settled + would.released

    asyncio.run(tried())


async def test_sums_that_no_column_of_rows_holds_are_told_all_the_same(pool: PostgresPool) -> None:
    await reserve(pool, [intent("a"), intent("b")])
    await settle(pool, [settlement("a", charged=2**63 - 1), settlement("b", charged=2**63 - 1)])
    for _ in range(2):
        [row] = await PostgresUsage(pool).usage(since_ns=0, until_ns=2**62, by=["key"], time_zone=UTC)
        assert row.cost_nano == 2 * (2**63 - 1)
        await fold(pool)


async def test_one_folds_at_a_time_and_nothing_is_folded_twice(pool: PostgresPool) -> None:
    for number in range(20):
        await reserve(pool, [intent(str(number))])
        await settle(pool, [settlement(str(number))])
    folded = await asyncio.gather(*(fold(pool) for _ in range(5)))
    assert sum(folded) == 20
    async with pool.connection() as connection:
        sums = await connection.fetch("SELECT span, requests, charged::bigint FROM spent ORDER BY span")
    assert [tuple(row) for row in sums] == [(3600, 20, 800), (86400, 20, 800)]
    assert (await PostgresUsage(pool).verify()).problems == []
