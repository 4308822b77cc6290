"""The rows that a gateway writes to a PostgreSQL: together, in their months, each once, and for good."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import GatewayFault, StoreError
from gateway.stores.postgres import inserts, settlements
from gateway.stores.postgres.ledger import PostgresLedger
from gateway.stores.records import BookedPrice, Correction
from tests.stores.makers import nothing_pending, task

from .ledgers import NOW, books, intent, open_books, refused, released, rows, settlement, until

DAY = 24 * 3600 * 1_000_000_000


@pytest.fixture
async def ledger(postgres_url: str, tmp_path: Path) -> AsyncIterator[PostgresLedger]:
    async with books(postgres_url, tmp_path) as opened:
        yield opened


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type,misc]


async def test_what_waits_is_committed_in_one_statement(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = inserts.insert_intents

    async def counted(connection: Any, intents: Any, *rest: Any) -> None:
        sizes.append(len(intents))
        await real(connection, intents, *rest)

    monkeypatch.setattr(inserts, "insert_intents", counted)
    await asyncio.gather(*(ledger.reserve(intent(f"{number:03}")) for number in range(500)))
    assert sum(sizes) == 500
    assert len(sizes) <= 2, "those of one moment together"


async def test_each_intent_is_open_at_its_gateway_until_it_is_settled(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path, "gw_one") as one, books(postgres_url, tmp_path, "gw_two") as two:
        await one.reserve(intent("a"))
        await two.reserve(intent("b"))
        found = "SELECT o.id, o.gateway FROM open_intents AS o JOIN intents USING (id, at_ns, gateway) ORDER BY 1"
        assert await rows(postgres_url, found) == [("a", "gw_one"), ("b", "gw_two")]
        one.settle(settlement("a"))
        await nothing_pending(one)
        assert await rows(postgres_url, found) == [("b", "gw_two")]
        two.settle(settlement("b"))


async def test_an_intent_given_twice_is_one_row(ledger: PostgresLedger, postgres_url: str) -> None:
    await asyncio.gather(ledger.reserve(intent("a")), ledger.reserve(intent("a", reserved=7)))
    await ledger.reserve(intent("a", reserved=8))
    assert await rows(postgres_url, "SELECT id, reserved FROM intents") == [("a", 100)]
    ledger.settle(settlement("a"))
    await nothing_pending(ledger)
    await ledger.reserve(intent("a", reserved=9))
    assert await rows(postgres_url, "SELECT id FROM open_intents") == [], "what was settled is not opened again"


async def test_settled_at_two_gateways_it_is_settled_once(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path) as one, books(postgres_url, tmp_path) as two:
        identities = [f"{number:03}" for number in range(300)]
        await asyncio.gather(*(one.reserve(intent(identity)) for identity in identities))
        for identity in identities:
            one.settle(settlement(identity, charged=1))
            two.settle(settlement(identity, charged=1))
        await nothing_pending(one)
        await nothing_pending(two)
    counted = "SELECT count(*), sum(charged) FROM settlements"
    assert await rows(postgres_url, counted) == [(300, 300)]
    assert await rows(postgres_url, "SELECT count(*) FROM corrections") == [0]


async def test_what_is_paid_is_on_the_servers_disk_and_so_are_settlements(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def watch(name: str) -> None:
        real = getattr(inserts, name)

        async def watched(connection: Any, *rest: Any) -> Any:
            seen.append((name, await connection.fetchval("SHOW synchronous_commit")))
            return await real(connection, *rest)

        monkeypatch.setattr(inserts, name, watched)

    watch("insert_intents")
    watch("insert_settlements")
    watch("insert_tasks")
    await ledger.reserve(intent("chat"))
    await ledger.reserve(intent("image", paid=True))
    await ledger.record_task(task("task-1", "image"))
    ledger.settle(settlement("image"))
    await nothing_pending(ledger)
    await asyncio.gather(ledger.reserve(intent("chat2")), ledger.reserve(intent("image2", paid=True)))
    await ledger.reserve(intent("chat3"))
    assert seen == [
        ("insert_intents", "off"),
        ("insert_intents", "on"),
        ("insert_tasks", "on"),
        ("insert_settlements", "on"),
        ("insert_intents", "on"),
        ("insert_intents", "off"),
    ]


async def test_an_intent_that_fits_no_row_fails_alone(ledger: PostgresLedger, postgres_url: str, caplog: Any) -> None:
    results = await asyncio.gather(
        ledger.reserve(intent("good")),
        ledger.reserve(intent("negative", reserved=-1)),
        ledger.reserve(intent("huge", reserved=2**63)),
        ledger.reserve(intent("surrogate", key="\ud800")),
        ledger.reserve(intent("nothing", key="a\0b")),
        ledger.reserve(intent("wrong", route=b"chat")),
        ledger.reserve(intent("fine")),
        return_exceptions=True,
    )
    assert [isinstance(result, GatewayFault) for result in results] == [False, *[True] * 5, False]
    assert await rows(postgres_url, "SELECT id FROM intents ORDER BY id") == ["fine", "good"]
    assert ledger.usable(), "the store is well"
    assert ledger.pending == 0


async def test_a_settlement_that_fits_no_row_is_set_aside(ledger: PostgresLedger, postgres_url: str) -> None:
    for identity in ("good", "negative", "surrogate", "huge", "nothing", "unpriceable"):
        await ledger.reserve(intent(identity))
    ledger.settle(settlement("good"))
    ledger.settle(settlement("negative", charged=-1))
    ledger.settle(settlement("surrogate", upstream="\ud800"))
    ledger.settle(settlement("huge", upstream_cost=2**63))
    ledger.settle(settlement("nothing", upstream="a\0b"))
    ledger.settle(settlement("unpriceable", price=BookedPrice("piapi", "m", "no JSON")))
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT id FROM settlements") == ["good"]
    assert await rows(postgres_url, "SELECT id FROM unbookable WHERE settlement LIKE '%charged=-1%'") == ["negative"]
    assert len(await rows(postgres_url, "SELECT id FROM unbookable")) == 5
    assert ledger.usable(), "the store is well"


async def test_more_settlements_than_one_statement_takes(ledger: PostgresLedger, postgres_url: str) -> None:
    count = 2 * inserts.MAX_ROWS + 3
    identities = [f"{number:05}" for number in range(count)]
    for start in range(0, count, 500):
        await asyncio.gather(*(ledger.reserve(intent(one)) for one in identities[start : start + 500]))
    for identity in identities:
        ledger.settle(settlement(identity, charged=1))
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT count(*), sum(charged) FROM settlements") == [(count, count)]
    assert await rows(postgres_url, "SELECT count(*) FROM open_intents") == [0]


async def test_more_than_may_wait_are_refused_at_once(ledger: PostgresLedger) -> None:
    waiting = [
        asyncio.get_running_loop().create_task(refused(ledger, intent(f"{number:05}"))) for number in range(1_200)
    ]
    assert sum(await asyncio.gather(*waiting)) == 200


async def test_a_settlement_waits_for_its_intent_whose_caller_has_left(
    ledger: PostgresLedger, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()
    real = inserts.insert_intents

    async def slow(*arguments: Any) -> None:
        under_way.set()
        await go_on.wait()
        await real(*arguments)

    monkeypatch.setattr(inserts, "insert_intents", slow)
    waiting = asyncio.get_running_loop().create_task(ledger.reserve(intent("a")))
    await under_way.wait()
    waiting.cancel()
    ledger.settle(released("a"))
    await asyncio.sleep(3 * settlements.GATHER_SECONDS)
    assert ledger.pending == 2
    go_on.set()
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT id, state FROM settlements") == [("a", "released")]
    assert await rows(postgres_url, "SELECT id FROM open_intents") == []


async def test_cancelled_before_it_was_on_its_way_an_intent_is_not_written(
    ledger: PostgresLedger, postgres_url: str
) -> None:
    waiting = asyncio.get_running_loop().create_task(ledger.reserve(intent("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    ledger.settle(released("a"))
    await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT id FROM intents") == []


async def test_what_is_settled_right_before_the_end_is_in_the_books(postgres_url: str, tmp_path: Path) -> None:
    store = await open_books(postgres_url, tmp_path)
    store.ledger.settle(settlement("a"))  # before its writer had a turn
    await store.close()
    assert await rows(postgres_url, "SELECT id FROM settlements") == ["a"]
    assert list((tmp_path / "spill").iterdir()) == []


async def test_rows_lie_in_the_month_in_which_the_request_came_in(ledger: PostgresLedger, postgres_url: str) -> None:
    moments = {
        "2023_11": (at(2023, 11, 1), at(2023, 12, 1) - 1),
        "2023_12": (at(2023, 12, 1), at(2024, 1, 1) - 1),
        "2024_02": (at(2024, 2, 29, 23, 59, 59) + 999_999_999,),
        "2031_12": (at(2031, 12, 31, 23, 59, 59),),
        "1970_01": (0,),
    }
    for month, inside in moments.items():
        for number, moment in enumerate(inside):
            await ledger.reserve(intent(f"{month}-{number}", at_ns=moment))
            ledger.settle(settlement(f"{month}-{number}", at_ns=NOW + 90 * DAY))
    await nothing_pending(ledger)
    for table in ("intents", "settlements"):
        found = await rows(postgres_url, f"SELECT tableoid::regclass::text, id FROM {table} ORDER BY id")
        assert found == sorted(
            (f"{table}_{month}", f"{month}-{number}")
            for month, inside in moments.items()
            for number, _ in enumerate(inside)
        )
    assert await ledger.charged_since(0) == {("alice", "growth", "gpt-4o"): 7 * 40}


async def test_the_months_to_come_are_there_before_they_begin(ledger: PostgresLedger, postgres_url: str) -> None:
    there = await rows(postgres_url, "SELECT to_regclass(name) IS NOT NULL FROM unnest($1::text[]) AS name", [
        *("intents_2023_11", "settlements_2023_11", "intents_2023_12", "settlements_2023_12"),
    ])  # fmt: skip
    assert there == [True] * 4, "the clock of the test stands in November 2023"


async def test_many_gateways_make_a_month_at_once(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path) as one, books(postgres_url, tmp_path) as two:
        later = NOW + 900 * DAY
        await asyncio.gather(*(
            ledger.reserve(intent(f"{name}{number}", at_ns=later + number * 30 * DAY))
            for name, ledger in (("one", one), ("two", two))
            for number in range(10)
        ))  # fmt: skip
        assert one.usable()
        assert two.usable()
    assert await rows(postgres_url, "SELECT count(*) FROM intents") == [20]


async def test_a_price_is_written_once_for_all_gateways(postgres_url: str, tmp_path: Path) -> None:
    price = BookedPrice("piapi", "gpt-4o", '{"input":2.5}')
    async with books(postgres_url, tmp_path) as one, books(postgres_url, tmp_path) as two:
        for identity, ledger in (("a", one), ("b", two)):
            await ledger.reserve(intent(identity))
            ledger.settle(settlement(identity, price=price))
            await nothing_pending(ledger)
    assert await rows(postgres_url, "SELECT count(DISTINCT price), count(price) FROM settlements") == [(1, 2)]
    assert await rows(postgres_url, "SELECT upstream, model FROM booked_prices") == [("piapi", "gpt-4o")]


@pytest.mark.parametrize("table", ["intents", "settlements", "tasks", "corrections", "intents_2023_11"])
@pytest.mark.parametrize("change", ["UPDATE {} SET at_ns = 1", "DELETE FROM {}", "TRUNCATE {}"])
async def test_rows_are_never_changed_and_never_removed(
    ledger: PostgresLedger, postgres_url: str, table: str, change: str
) -> None:
    await ledger.reserve(intent("a"))
    await ledger.record_task(task("task-1", "a"))
    ledger.settle(settlement("a", state="unknown", charged=0))
    await nothing_pending(ledger)
    assert await ledger.correct(Correction("a", NOW, "settled", 1, 1, 0, "found"))
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await rows(postgres_url, change.format(table))


async def test_what_is_settled_is_not_corrected_even_by_hand(ledger: PostgresLedger, postgres_url: str) -> None:
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a"))
    await nothing_pending(ledger)
    with pytest.raises(asyncpg.RaiseError, match="only an unknown outcome"):
        await rows(
            postgres_url,
            "INSERT INTO corrections (id, intent_ns, at_ns, state, charged, upstream_cost, images, reason, confidence) "
            "SELECT id, intent_ns, 1, 'settled', 0, 0, 0, '', 'measured' FROM settlements",
        )


async def test_a_correction_that_fits_no_row_is_an_error_of_its_caller(ledger: PostgresLedger) -> None:
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", state="unknown", charged=0))
    with pytest.raises(ValueError, match="fits no row"):
        await ledger.correct(Correction("a", NOW, "settled", -1, 0, 0, "wrong"))
    assert await ledger.correct(Correction("a", NOW, "settled", 1, 0, 0, "right"))
    assert ledger.usable()


async def test_a_correction_knows_what_was_settled_just_before(ledger: PostgresLedger) -> None:
    await ledger.reserve(intent("a"))
    ledger.settle(settlement("a", state="unknown", charged=0))
    assert await ledger.correct(Correction("a", NOW, "settled", 1, 0, 0, "at once"))


async def test_a_ledger_that_was_closed_takes_nothing(postgres_url: str, tmp_path: Path, caplog: Any) -> None:
    async with books(postgres_url, tmp_path) as ledger:
        await ledger.reserve(intent("a"))
    assert not ledger.usable()
    assert await refused(ledger, intent("b"))
    with pytest.raises(GatewayFault):
        await ledger.record_task(task("task-1", "a"))
    ledger.settle(settlement("a"))
    assert "not booked, and unknown from the next start on" in caplog.text
    await until(lambda: not list((tmp_path / "spill").iterdir()))


async def test_the_folder_of_spill_files_and_the_one_around_it_are_private(postgres_url: str, tmp_path: Path) -> None:
    async with books(postgres_url, tmp_path / "images"):
        for folder in (tmp_path / "images", tmp_path / "images" / "spill"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        [file] = (tmp_path / "images" / "spill").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_folder_that_cannot_be_made_is_told_with_what_to_do(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made: .*give images\.dir a place that can be written"):
        await open_books(postgres_url, tmp_path / "file")


async def test_a_mistake_while_writing_refuses_what_it_met_and_is_got_over(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    real = inserts.insert_intents

    async def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(inserts, "insert_intents", broken)
    assert await refused(ledger, intent("a"))
    await until(lambda: not ledger.usable())
    monkeypatch.setattr(inserts, "insert_intents", real)
    await until(ledger.usable)
    await ledger.reserve(intent("b"))

    monkeypatch.setattr(settlements, "numbers_of", broken)
    ledger.settle(settlement("b"))
    await until(lambda: "settlements: ended by a mistake" in caplog.text)
    monkeypatch.undo()
    await nothing_pending(ledger)
