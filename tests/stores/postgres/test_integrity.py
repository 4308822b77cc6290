"""Books that are checked for what could have gone wrong: each thing that was planted is found, and named."""

from __future__ import annotations

from datetime import UTC

import pytest

from gateway.stores.postgres.folding import fold
from gateway.stores.postgres.pool import PostgresPool
from gateway.stores.postgres.usage import PostgresUsage
from gateway.stores.records import BookedPrice, Correction, Verification
from tests.stores.makers import intent, released, settlement, task

from .books import correct, record_tasks, reserve, settle, tamper

PRICE = BookedPrice("piapi", "gpt-4o", '{"input":2.5}')


@pytest.fixture
async def books(pool: PostgresPool) -> PostgresPool:
    """Requests of every ending, part of their sums folded."""
    ids = ("a1", "a2", "b1", "unknown", "corrected", "released", "open", "joined")
    await reserve(pool, [intent(id, paid_by="a1" if id == "joined" else None) for id in ids])
    await settle(pool, [settlement("a1", price=PRICE), settlement("a2", upstream="backup")])
    await fold(pool)
    free = {"charged": 0, "upstream_cost": 0, "attempts": ()}
    await settle(
        pool,
        [
            settlement("b1", images=2),
            settlement("unknown", state="unknown", **free),
            settlement("corrected", state="unknown"),
            released("released"),
            settlement("joined", **free),
        ],
    )
    await correct(pool, [Correction("corrected", 5, "settled", 7, 30, 1, "task completed", price=PRICE)])
    await record_tasks(pool, [task("task-1", "b1")])
    return pool


async def test_books_as_they_should_be(books: PostgresPool) -> None:
    assert await PostgresUsage(books).verify() == Verification(
        settled=5, released=1, unknown=1, open=1, problems=[], corrected=1
    )


@pytest.mark.parametrize(
    ("planted", "problem"),
    [
        ("DELETE FROM intents WHERE id = 'a1'", "settlement a1 has no intent"),
        ("DELETE FROM settlements WHERE id = 'a1'", "intent a1 is neither settled nor open"),
        ("DELETE FROM open_intents", "intent open is neither settled nor open"),
        ("INSERT INTO open_intents VALUES ('gone', 5, 'gw')", "intent gone is open, and settled or not there"),
        (
            "INSERT INTO open_intents SELECT id, at_ns, gateway FROM intents WHERE id = 'a1'",
            "intent a1 is open, and settled or not there",
        ),
        ("UPDATE settlements SET cached_input_tokens = 11 WHERE id = 'a1'", "settlement a1 has an amount or a count"),
        ("UPDATE settlements SET charged = 1 WHERE id = 'released'", "settlement released has an amount or a count"),
        ("UPDATE settlements SET upstream_cost = 31 WHERE id = 'a1'", "settlement a1 has attempts whose costs do not"),
        ("UPDATE settlements SET attempts = '[]' WHERE id = 'a1'", "settlement a1 has attempts whose costs do not"),
        ("UPDATE settlements SET price = 99 WHERE id = 'a1'", "settlement a1 was booked at a price that is not"),
        ("UPDATE corrections SET price = 99", "correction corrected was booked at a price that is not"),
        ("UPDATE settlements SET charged = 1 WHERE id = 'joined'", "request joined cost something, though another"),
        ("UPDATE tasks SET exchange = 'gone'", "task task-1 was bought for an exchange that has no intent"),
        ("UPDATE settlements SET state = 'settled' WHERE id = 'corrected'", "correction corrected is of an exchange"),
        ("INSERT INTO unbookable VALUES ('odd', 'text', 'why')", "settlement odd fitted no row and was set aside"),
        ("UPDATE settlements SET charged = 41 WHERE id = 'a1'", "the sum of key alice and model gpt-4o for the hour"),
        ("UPDATE spent SET requests = requests + 1 WHERE span = 3600", "the sum of key alice and model gpt-4o for the"),
        (
            "UPDATE spent SET charged = charged - 1 WHERE span = 86400",
            "the sum of key alice and model gpt-4o for the day",
        ),
        ("DELETE FROM spent_changes", "the sum of key alice and model gpt-4o for the hour"),
        ("DROP TRIGGER settlements_count ON settlements", "the trigger settlements_count is gone"),
        ("ALTER TABLE tasks DISABLE TRIGGER tasks_keep", "the trigger tasks_keep is gone"),
    ],
)
async def test_what_was_planted_is_found(books: PostgresPool, postgres_url: str, planted: str, problem: str) -> None:
    await tamper(postgres_url, planted)
    problems = (await PostgresUsage(books).verify()).problems
    assert problems
    assert problems[0].startswith(problem), problems


async def test_an_exchange_that_is_there_twice_is_found(books: PostgresPool, postgres_url: str) -> None:
    await tamper(
        postgres_url,
        "SELECT make_ledger_months(1800000000000000000, 1800000000000000000)",
        "INSERT INTO intents SELECT id, 1800000000000000000, key, team, route, model, request_id, reserved, paid, "
        "pieces, paid_by, gateway FROM intents WHERE id = 'a1'",
    )
    problems = (await PostgresUsage(books).verify()).problems
    assert problems == ["intent a1 is there more than once", "intent a1 is neither settled nor open"]


async def test_many_wrong_rows_are_summed_up(books: PostgresPool, postgres_url: str) -> None:
    await tamper(
        postgres_url,
        "INSERT INTO unbookable SELECT 'odd' || lpad(n::text, 2, '0'), 'text', 'why' FROM generate_series(0, 11) AS n",
    )
    problems = (await PostgresUsage(books).verify()).problems
    assert len(problems) == 11
    assert problems[-1] == "settlement … fitted no row and was set aside in 'unbookable': 2 more"


async def test_what_does_not_count_is_in_no_sum(books: PostgresPool) -> None:
    [row] = await PostgresUsage(books).usage(since_ns=0, until_ns=2**62, by=[], time_zone=UTC)
    assert (row.requests, row.cost_nano, row.images, row.unknown_requests) == (6, 40 * 4 - 40 + 7, 3, 1)
