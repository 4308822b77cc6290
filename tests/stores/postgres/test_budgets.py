"""Budgets counted in PostgreSQL: admitted, settled, begun with the books, whichever gateway it is."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from gateway.core.pricing.budget_errors import Holder
from gateway.core.pricing.budgets import UNKNOWN_HELD_NS
from gateway.stores.engines import open_store
from gateway.stores.postgres.admitting import admit
from gateway.stores.records import Correction
from tests.stores.makers import StoppedClock, nothing_pending

from .budget_books import ALICE, DAY, DAY_START, GROWTH, NOW, Books, claim, intent

GPT: Holder = ("key", "alice", "gpt*")


@pytest.fixture
async def books(postgres_url: str) -> AsyncIterator[Books]:
    made = await Books.open(postgres_url)
    yield made
    assert await made.problems() == []
    await made.close()


@pytest.fixture
async def others(books: Books, postgres_url: str) -> AsyncIterator[list[Books]]:
    """Three gateways at one database."""
    made = [books, await Books.open(postgres_url, "gw_two"), await Books.open(postgres_url, "gw_three")]
    yield made
    for one in made[1:]:
        await one.close()


class TestARequest:
    async def test_reserves_on_its_key_and_its_team_and_is_charged_on_both(self, books: Books) -> None:
        both = [claim(ALICE, 100), claim(GROWTH, 500, "day")]
        await books.prepare(*both)
        assert await books.admit(intent("a", both, 40)) == {}
        assert await books.used(ALICE) == await books.used(GROWTH, "day") == (0, 40, 0)
        await books.settle(("a", "settled", 30))
        assert await books.used(ALICE) == await books.used(GROWTH, "day") == (30, 0, 0)

    async def test_of_which_nothing_was_bought_is_charged_nothing(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        await books.admit(intent("a", [claim(ALICE, 100)], 40))
        await books.settle(("a", "released", 0))
        assert await books.used(ALICE) == (0, 0, 0)

    async def test_is_refused_by_one_of_its_budgets_and_reserves_on_none(self, books: Books) -> None:
        both = [claim(ALICE, 100), claim(GROWTH, 30)]
        await books.prepare(*both)
        refused = await books.admit(intent("a", both, 40))
        assert refused["a"].claim == both[1]
        assert (refused["a"].asked, refused["a"].missing) == (40, False)
        assert await books.used(ALICE) == await books.used(GROWTH) == (0, 0, 0)

    async def test_that_waiting_does_not_help_is_told_of_that_budget(self, books: Books) -> None:
        both = [claim(ALICE, 100), claim(GROWTH, 100)]
        await books.prepare(*both)
        await books.admit(intent("a", both[1:], 80, key="bob"))
        await books.settle(("a", "settled", 80))
        await books.admit(intent("b", both[:1], 80, team=None))
        refused = await books.admit(intent("c", both, 40))
        assert (refused["c"].claim, refused["c"].charged, refused["c"].reserved) == (both[1], 80, 0)
        refused = await books.admit(intent("d", both[:1], 40))
        assert (refused["d"].claim, refused["d"].charged, refused["d"].reserved) == (both[0], 0, 80)
        await books.settle(("b", "settled", 1))

    async def test_that_costs_nothing_is_admitted_with_nothing_left(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 0))
        assert set(await books.admit(intent("a", [claim(ALICE, 0)], 0), intent("b", [claim(ALICE, 0)], 1))) == {"b"}

    async def test_without_a_price_needs_anything_left(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        full = intent("full", [claim(ALICE, 100)], 100)
        assert await books.admit(intent("a", [claim(ALICE, 100)], None), full) == {}
        refused = await books.admit(intent("b", [claim(ALICE, 100)], None))
        assert refused["b"].asked is None
        await books.settle(("a", "settled", 0), ("full", "settled", 100))

    async def test_may_cost_more_as_far_as_there_is_room(self, books: Books) -> None:
        both = [claim(ALICE, 100), claim(GROWTH, 200)]
        await books.prepare(*both)
        await books.admit(intent("a", both, 10), intent("b", both, 20))
        assert await books.budgets.raise_to("a", 80, both) is None
        assert await books.budgets.raise_to("a", 70, both) is None  # it has more
        assert await books.used(ALICE) == await books.used(GROWTH) == (0, 100, 0)
        refused = await books.budgets.raise_to("a", 81, both)
        assert refused is not None
        assert (refused.claim, refused.asked, refused.charged, refused.reserved) == (both[0], 81, 0, 20)
        assert await books.used(ALICE) == (0, 100, 0)
        await books.settle(("a", "settled", 75), ("b", "settled", 20))
        assert await books.used(ALICE) == await books.used(GROWTH) == (95, 0, 0)

    async def test_that_no_budget_counts_may_cost_what_it_likes(self, books: Books) -> None:
        await books.admit(intent("a", [claim(ALICE, None)], 10))
        assert await books.budgets.raise_to("a", 80, [claim(ALICE, None)]) is None

    async def test_is_decided_in_the_order_of_its_batch(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        refused = await books.admit(*(intent(str(number), [claim(ALICE, 100)], 30) for number in range(6)))
        assert set(refused) == {"3", "4", "5"}

    async def test_whose_budget_is_not_counted_is_refused_until_it_is(self, books: Books) -> None:
        refused = await books.admit(intent("a", [claim(ALICE, 100)], 30))
        assert refused["a"].missing
        await books.prepare(claim(ALICE, 100))
        assert await books.admit(intent("a", [claim(ALICE, 100)], 30)) == {}

    async def test_whose_commit_was_in_doubt_is_granted_the_same_once(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        await books.admit(intent("a", [claim(ALICE, 100)], 30))
        async with books.pool.transaction() as connection:
            again = intent("a", [claim(ALICE, 100)], 30)
            assert await admit("gw_one", connection, [again], 10.0) == {}
        assert await books.used(ALICE) == (0, 30, 0)

    async def test_of_a_batch_that_fails_reserves_nothing(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        with pytest.raises(Exception, match="intents"):
            await books.admit(intent("a", [claim(ALICE, 100)], 30, at_ns=NOW + 400 * DAY))  # no such partition
        assert await books.used(ALICE) == (0, 0, 0)

    async def test_whose_intent_the_server_lost_in_a_crash_is_charged_all_the_same(
        self, books: Books, postgres_url: str, tmp_path: Path
    ) -> None:
        await books.prepare(claim(ALICE, 100), claim(GROWTH, 100), claim(GPT, 100))
        lost = intent("lost", [claim(ALICE, 100), claim(GPT, 100)], 60)
        lost.state, lost.charged, lost.confidence, lost.settled_ns = "settled", 40, "measured", NOW + 1
        store = await open_store(postgres_url, StoppedClock(), "gw_one", tmp_path)
        store.ledger.settle(lost)
        await nothing_pending(store.ledger)
        await store.close()
        assert [await books.used(holder) for holder in (ALICE, GROWTH, GPT)] == [(40, 0, 0)] * 3

    async def test_belongs_to_the_period_it_came_in_however_long_it_runs(self, books: Books) -> None:
        today = claim(ALICE, 100, "day")
        tomorrow = type(today)(ALICE, 100, "day", DAY_START + DAY, DAY_START + 2 * DAY)
        await books.prepare(today, tomorrow)
        await books.admit(intent("late", [today], 90))
        assert await books.admit(intent("early", [tomorrow], 90, at_ns=DAY_START + DAY)) == {}
        assert set(await books.admit(intent("late 2", [today], 20))) == {"late 2"}
        await books.settle(("late", "settled", 90), ("early", "settled", 80))
        async with books.pool.connection() as connection:
            rows = await connection.fetch("SELECT charged FROM budgets ORDER BY start_ns")
        assert [row["charged"] for row in rows] == [90, 80]

    async def test_counts_on_every_row_of_its_holder_whatever_its_own_budget_is(self, books: Books) -> None:
        """Another gateway may not know yet that the budget is one of the day now, or that there is one."""
        await books.prepare(claim(ALICE, 100), claim(ALICE, 50, "day"))
        await books.admit(intent("a", [claim(ALICE, 100)], 30), intent("b", [claim(ALICE, None)], 20))
        assert await books.used(ALICE) == await books.used(ALICE, "day") == (0, 50, 0)
        await books.settle(("a", "settled", 30), ("b", "settled", 20))
        assert await books.used(ALICE) == await books.used(ALICE, "day") == (50, 0, 0)


class TestAnUnknownOutcome:
    async def test_stays_reserved_until_it_is_corrected(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        await books.admit(intent("a", [claim(ALICE, 100)], 60))
        await books.settle(("a", "unknown", 0))
        assert await books.used(ALICE) == (0, 60, 60)
        refused = await books.admit(intent("b", [claim(ALICE, 100)], 50))
        assert refused["b"].held == 60
        await books.correct("a", "settled", 20)
        assert await books.used(ALICE) == (20, 0, 0)

    async def test_holds_what_is_known_to_be_in_doubt(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        await books.admit(*(intent(id, [claim(ALICE, 100)], 30) for id in "abc"))
        await books.settle(
            ("a", "unknown", 0), ("b", "unknown", 0), ("c", "settled", 5), doubtful={"a": 10, "b": 0, "c": 7}
        )
        assert await books.used(ALICE) == (5, 17, 17)
        assert await books.budgets.held() == {"a": 10, "b": 0, "c": 7}
        await books.correct("b", "settled", 3)
        assert await books.used(ALICE) == (8, 17, 17)

    async def test_is_given_back_after_a_day_and_corrected_all_the_same(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100), claim(GROWTH, 100))
        both = [claim(ALICE, 100), claim(GROWTH, 100)]
        await books.admit(intent("a", both, 60), intent("runs", both, 10))
        await books.settle(("a", "unknown", 0))
        assert await books.budgets.give_back(NOW + UNKNOWN_HELD_NS - 1) == []
        [back] = await books.budgets.give_back(NOW + UNKNOWN_HELD_NS)
        assert (back.id, back.amount, set(back.holders)) == ("a", 60, {ALICE, GROWTH})
        assert await books.used(ALICE) == (0, 10, 0)
        assert await books.budgets.give_back(NOW + 100 * DAY) == []  # what runs is never given back
        assert await books.used(ALICE) == (0, 10, 0)
        await books.correct("a", "settled", 20)
        assert await books.used(ALICE) == await books.used(GROWTH) == (20, 10, 0)


class TestABudgetThatBegins:
    async def test_has_what_the_books_have(self, books: Books) -> None:
        await books.admit(*(intent(id, [claim(ALICE, None)], 30) for id in "abc"))
        await books.settle(("a", "settled", 7), ("b", "unknown", 0))
        await books.admit(intent("yesterday", [claim(ALICE, None)], 5, at_ns=NOW - DAY))
        await books.settle(("yesterday", "settled", 5))
        await books.prepare(claim(ALICE, 100), claim(GROWTH, 100, "day"))
        assert await books.used(ALICE) == (12, 60, 30)
        assert await books.used(GROWTH, "day") == (7, 60, 30)
        await books.settle(("c", "settled", 1))
        await books.correct("b", "settled", 2)
        assert await books.used(ALICE) == (15, 0, 0)
        assert await books.used(GROWTH, "day") == (10, 0, 0)

    async def test_joins_what_is_reserved_elsewhere_at_its_own_amount(self, books: Books) -> None:
        await books.prepare(claim(GROWTH, 100))
        await books.admit(
            intent("a", [claim(ALICE, None), claim(GROWTH, 100)], 10), intent("b", [claim(GROWTH, 100)], 20)
        )
        assert await books.budgets.raise_to("a", 40, [claim(GROWTH, 100)]) is None
        await books.settle(("b", "settled", 4), doubtful={"b": 9})
        await books.prepare(claim(ALICE, 100))
        assert await books.used(ALICE) == (4, 49, 9)
        await books.settle(("a", "settled", 11))
        assert await books.used(ALICE) == await books.used(GROWTH) == (15, 9, 9)

    async def test_a_second_time_is_left_as_it_is(self, books: Books) -> None:
        await books.prepare(claim(ALICE, 100))
        await books.admit(intent("a", [claim(ALICE, 100)], 10))
        await books.settle(("a", "settled", 4))
        await books.prepare(claim(ALICE, 100))
        await books.prepare(claim(ALICE, 100), claim(ALICE, 30))
        assert await books.used(ALICE) == (4, 0, 0)

    async def test_by_model_begins_again_with_the_books(self, books: Books) -> None:
        await books.prepare(claim(GPT, 100))
        await books.admit(intent("a", [claim(ALICE, None), claim(GPT, 100)], 10))
        await books.settle(("a", "settled", 4))
        # another gateway does not know of the budget yet
        other = [intent("b", [claim(ALICE, None)], 20), intent("flux", [claim(ALICE, None)], 20, model="flux-dev")]
        await books.admit(*other, intent("c", [claim(ALICE, None)], 30))
        await books.settle(("b", "settled", 5), ("flux", "settled", 6))
        assert await books.used(GPT) == (4, 0, 0)
        await books.prepare(claim(GPT, 100))
        assert await books.used(GPT) == (9, 30, 0)
        await books.settle(("c", "settled", 1))
        assert await books.used(GPT) == (10, 0, 0)

    async def test_after_its_gateway_died_in_between_is_begun_by_another(self, books: Books) -> None:
        await books.admit(intent("a", [claim(ALICE, None)], 10))
        await books.settle(("a", "settled", 4))
        async with books.pool.connection() as connection:
            await connection.execute(
                "INSERT INTO budgets (holder, kind, start_ns) VALUES ('[\"key\",\"alice\"]', 'total', 0)"
            )
        await books.admit(intent("b", [claim(ALICE, None)], 10), intent("c", [claim(ALICE, None)], 10))
        await books.settle(("b", "settled", 5))
        assert (await books.admit(intent("d", [claim(ALICE, 100)], 10)))["d"].missing
        await books.prepare(claim(ALICE, 100))
        assert await books.used(ALICE) == (9, 10, 0)

    async def test_while_others_spend_loses_and_doubles_nothing(self, others: list[Books]) -> None:
        """Intents and settlements come from three gateways while each of them begins the same budgets."""
        chance = random.Random(5)
        going = True
        pattern = claim(GPT, 10**9)

        async def spend(books: Books, name: str) -> None:
            number = 0
            while going:
                ids = [f"{name}{number + extra}" for extra in range(chance.randint(1, 5))]
                number += 5
                claims = [claim(ALICE, None), *([pattern] if chance.random() < 0.5 else []), claim(GROWTH, None)]
                refused = await books.admit(*(intent(id, claims, chance.randint(0, 50)) for id in ids))
                ids = [id for id in ids if id not in refused]
                ends = [(id, chance.choice(["settled", "unknown"]), chance.randint(0, 50)) for id in ids]
                await books.settle(
                    *((id, state, charged * (state == "settled")) for id, state, charged in ends), again=False
                )
                for id, state, _ in ends:
                    if state == "unknown" and chance.random() < 0.7:
                        await books.correct(id, "settled", 3)

        spending = asyncio.gather(*(spend(one, one.gateway) for one in others))
        await asyncio.sleep(0.1)
        for _ in range(4):
            await asyncio.gather(
                *(one.prepare(claim(ALICE, 10**9), claim(GROWTH, 10**9, "day"), pattern) for one in others)
            )
            await asyncio.sleep(0.05)
        going = False
        await spending
        assert await others[0].problems() == []
        assert (await others[0].used(ALICE))[0] > 0
        await others[0].prepare(pattern)
        assert (await others[0].used(GPT))[0] == (await others[0].used(ALICE))[0]


class TestSeveralGateways:
    async def test_overspend_nothing_and_never_wait_for_one_another_in_a_circle(self, others: list[Books]) -> None:
        """Keys share teams crosswise, and every batch has them in another order."""
        holders: list[Holder] = [
            *(("key", f"k{number}") for number in range(5)),
            *(("team", f"t{n}") for n in range(3)),
        ]
        claims = {holder: claim(holder, 1_000) for holder in holders}
        await others[0].prepare(*claims.values())
        chance = random.Random(7)

        async def spend(books: Books, name: str) -> None:
            for turn in range(25):
                wanted = []
                for number in range(chance.randint(1, 12)):
                    key, team = f"k{chance.randrange(5)}", f"t{chance.randrange(3)}"
                    own = [claims["key", key], claims["team", team]]
                    id = f"{name}.{turn}.{number}"
                    wanted.append(intent(id, own, chance.randint(1, 40), key=key, team=team))
                refused = await books.admit(*wanted)
                runs = [one for one in wanted if one.id not in refused]
                for one in runs[: chance.randint(0, 2)]:
                    assert one.claims is not None
                    if await books.budgets.raise_to(one.id, one.reserved + 20, one.claims.claims) is None:
                        one.reserved += 20
                ends = [(one.id, "settled", chance.randint(0, one.reserved)) for one in runs]
                chance.shuffle(ends)
                if ends:
                    await books.settle(*ends, again=False)

        await asyncio.gather(*(spend(one, f"{one.gateway}.{lane}") for one in others for lane in range(3)))
        async with others[0].pool.connection() as connection:
            rows = await connection.fetch("SELECT charged, reserved FROM budgets")
            deadlocks = await connection.fetchval(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
        assert all(charged <= 1_000 and reserved == 0 for charged, reserved in rows)
        assert max(row["charged"] for row in rows) > 900
        assert deadlocks == 0

    async def test_take_2000_requests_on_one_small_budget(self, others: list[Books]) -> None:
        await others[0].prepare(claim(ALICE, 1_000))
        wanted = [intent(str(number), [claim(ALICE, 1_000)], 10) for number in range(2_000)]
        chunks = [wanted[at : at + 50] for at in range(0, 2_000, 50)]
        refused = await asyncio.gather(*(others[at % 3].admit(*chunk) for at, chunk in enumerate(chunks)))
        assert sum(map(len, refused)) == 1_900
        assert await others[0].used(ALICE) == (0, 1_000, 0)


async def test_what_changed_is_told_once_it_is_counted(books: Books) -> None:
    await books.prepare(claim(ALICE, 100), claim(GROWTH, 100))
    assert {one.holder for one in await books.budgets.changed()} == {ALICE, GROWTH}
    await books.admit(intent("a", [claim(ALICE, 100)], 10))
    assert (ALICE, 0, 10, 0) in [
        (one.holder, one.charged, one.reserved, one.held) for one in await books.budgets.changed()
    ]


async def test_periods_that_are_over_are_forgotten_once_nothing_runs_in_them(books: Books) -> None:
    today = claim(ALICE, 100, "day")
    await books.prepare(today, claim(GROWTH, 100))
    await books.admit(intent("a", [today], 10, team=None))
    later = DAY_START + 4 * DAY
    await books.budgets.give_back(later)
    assert await books.used(ALICE, "day") == (0, 10, 0)
    await books.settle(("a", "settled", 1))
    await books.budgets.give_back(later)
    assert {one.holder for one in await books.budgets.changed()} == {GROWTH}


async def test_a_row_that_is_wrong_is_a_problem(postgres_url: str) -> None:
    books = await Books.open(postgres_url)
    await books.prepare(claim(ALICE, 100), claim(GPT, 100))
    await books.admit(intent("a", [claim(ALICE, 100)], 10))
    async with books.pool.connection() as connection:
        await connection.execute("UPDATE budgets SET charged = 5")
    problems = await books.problems()
    assert len(problems) == 2
    assert "has charged 5, more than the books have of the key, 0" in problems[0]
    assert "has charged 5, the books 0" in problems[1]
    async with books.pool.connection() as connection:
        await connection.execute('UPDATE budgets SET charged = 0, reserved = 3 WHERE holder = \'["key","alice"]\'')
        await connection.execute("UPDATE reservations SET held = true")
    problems = await books.problems()
    assert len(problems) == 3
    assert "has reserved 3" in problems[1]
    assert "exchange a" in problems[2]
    await books.close()


async def test_what_a_gateway_has_locked_that_is_killed_is_let_go(others: list[Books], postgres_url: str) -> None:
    """Its connection breaks in the midst of a transaction: nothing of that stands, and none waits for it."""
    await others[0].prepare(claim(ALICE, 100))
    connection = await asyncpg.connect(postgres_url)
    transaction = connection.transaction()
    await transaction.start()
    assert await admit("gw_dead", connection, [intent("x", [claim(ALICE, 100)], 90)], 10.0) == {}
    waiting = asyncio.gather(others[1].admit(intent("a", [claim(ALICE, 100)], 60)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    connection.terminate()
    assert await waiting == [{}]
    assert await others[0].used(ALICE) == (0, 60, 0)


RESERVING = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.stores.engines import open_store
from gateway.stores.records import Correction
from tests.stores.makers import StoppedClock
from tests.stores.postgres.budget_books import ALICE, claim, intent

async def main():
    store = await open_store(sys.argv[1], StoppedClock(), "gw_killed", Path(sys.argv[2]))
    await store.ledger.reserve(intent("a", [claim(ALICE, 100)], 60))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_a_killed_gateway_had_reserved_is_held_by_all_until_it_is_known(
    books: Books, postgres_url: str, tmp_path: Path
) -> None:
    await books.prepare(claim(ALICE, 100))
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", RESERVING, postgres_url, str(tmp_path))
    assert await child.wait() == -signal.SIGKILL
    assert await books.used(ALICE) == (0, 60, 0)
    assert (await books.admit(intent("b", [claim(ALICE, 100)], 60)))["b"].held == 0
    store = await open_store(postgres_url, StoppedClock(), "gw_next", tmp_path)
    assert store.recovered == 1
    assert await books.used(ALICE) == (0, 60, 60)
    correction = Correction("a", NOW, "settled", 50, 0, 1, "task completed")
    assert await store.ledger.correct(correction)
    assert not await store.ledger.correct(correction)
    assert await books.used(ALICE) == (50, 0, 0)
    await store.close()
