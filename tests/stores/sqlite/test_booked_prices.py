"""What rows were booked at: each price is written once, a new one never rewrites the past, nothing of it is lost."""

from __future__ import annotations

import random
import sqlite3
import zlib
from collections import Counter
from contextlib import closing
from datetime import UTC
from pathlib import Path

import orjson
import pytest

from gateway.stores import spill
from gateway.stores.records import BookedPrice, Correction, PriceUse, UsageRow
from gateway.stores.settled_fields import settled_fields
from gateway.stores.sqlite import booked_prices, corrections, inserts, pruning, schema
from gateway.stores.sqlite.ledger import SQLiteLedger
from gateway.stores.sqlite.queries import usage, verify

from .books import StoppedClock, intent, nothing_pending, old_store, rows, settlement, tamper

NOW = StoppedClock().wall_ns()
HOUR = 3600 * 1_000_000_000
EVER = 2**62
CHEAP = BookedPrice("piapi", "gpt-4o", '{"input":1.25,"output":5}')
DEAR = BookedPrice("piapi", "gpt-4o", '{"input":2.5,"output":10}')
PRIORITY = BookedPrice("piapi", "gpt-4o", DEAR.price, "priority")
UNKNOWN = BookedPrice("piapi", "gpt-9", "")


def used(path: Path, *by: str) -> list[UsageRow]:
    return usage(path, since_ns=0, until_ns=EVER, by=by, time_zone=UTC)


def prices(row: UsageRow) -> dict[BookedPrice, int]:
    return {use.booked: use.requests for use in row.prices}


async def book(ledger: SQLiteLedger, identity: str, price: BookedPrice | None, **changes: object) -> None:
    await ledger.reserve(intent(identity))
    ledger.settle(settlement(identity, price=price, **changes))
    await nothing_pending(ledger)


async def test_each_price_is_written_once_and_stays(ledger: SQLiteLedger, path: Path):
    for number, price in enumerate([CHEAP, CHEAP, DEAR, None, PRIORITY, CHEAP]):
        await book(ledger, f"{number}", price, at_ns=NOW + number)
    [row] = used(path)
    assert row.requests == 6
    assert row.prices == (
        PriceUse(CHEAP, NOW, 3),
        PriceUse(PRIORITY, NOW + 4, 1),
        PriceUse(DEAR, NOW + 2, 1),
    ), "what has no price to tell of is not listed"
    assert len(rows(path, "SELECT id FROM booked_prices")) == 3
    await ledger.close()
    again = await SQLiteLedger.open(path, clock=StoppedClock())
    await book(again, "again", DEAR)
    await again.close()
    assert prices(used(path)[0]) == {CHEAP: 3, DEAR: 2, PRIORITY: 1}
    assert len(rows(path, "SELECT id FROM booked_prices")) == 3
    assert verify(path).problems == []


async def test_unpriced_estimated_and_unknown_are_kept_apart(ledger: SQLiteLedger, path: Path):
    await book(ledger, "free", BookedPrice("piapi", "gpt-4o", '{"input":0,"output":0}'), charged=0)
    await book(ledger, "unpriced", UNKNOWN, charged=0, confidence="unknown", images=2)
    await book(ledger, "lost", None, state="unknown", charged=0, confidence="unknown", status=504)
    await book(ledger, "guessed", CHEAP, charged=7, confidence="estimated")
    [row] = used(path)
    assert (row.requests, row.cost_nano) == (4, 7)
    assert (row.unpriced_requests, row.unpriced_input_tokens, row.unpriced_output_tokens) == (1, 10, 5)
    assert (row.unpriced_images, row.unknown_requests) == (2, 1)
    assert (row.estimated_requests, row.estimated_cost_nano) == (1, 7)
    assert {use.booked: use.unpriced for use in row.prices if use.unpriced} == {UNKNOWN: 1}


async def test_an_outcome_that_became_known_is_booked_at_the_price_of_then(ledger: SQLiteLedger, path: Path):
    for identity in ("done", "unpriced"):
        await book(ledger, identity, None, state="unknown", charged=0, confidence="unknown")
    done = Correction("done", NOW, "settled", 40, 30, 1, "task completed", price=CHEAP)
    assert await ledger.correct(done)
    dark = Correction("unpriced", NOW, "settled", 0, 30, 1, "…", confidence="unknown", price=UNKNOWN)
    assert await ledger.correct(dark)
    [row] = used(path)
    assert prices(row) == {CHEAP: 1, UNKNOWN: 1}
    assert (row.unpriced_requests, row.unpriced_images, row.unknown_requests) == (1, 1, 0)
    assert verify(path).problems == []


async def test_what_was_only_spilled_is_booked_at_its_price_by_the_next_start(path: Path):
    ledger = await SQLiteLedger.open(path, clock=StoppedClock())
    await ledger.reserve(intent("a"))
    ledger._writer._spill.append([settlement("a", price=PRIORITY)])
    await ledger.close()
    again = await SQLiteLedger.open(path, clock=StoppedClock())
    await again.close()
    assert (again.booked_late, again.recovered) == (1, 0)
    assert prices(used(path)[0]) == {PRIORITY: 1}


def test_a_spilled_line_keeps_everything(path: Path):
    told = settlement("a", price=PRIORITY, answered_model="x", cache_write_tokens=1, reasoning_tokens=2)
    line = spill._line(told)
    assert line is not None
    assert spill._settlement(line.rstrip(b"\n")) == told


def test_a_line_that_an_earlier_version_spilled_is_read(path: Path):
    fields = settled_fields(settlement("a", task_id="t"))
    for name in ("price", "answered_model", "cache_write_tokens", "reasoning_tokens"):
        del fields[name]
    text = orjson.dumps(fields)
    assert spill._settlement(b"1 %08x %s" % (zlib.crc32(text), text)) == settlement("a", task_id="t")


def test_numbers_are_not_remembered_from_a_transaction_that_is_taken_back(path: Path):
    with closing(schema.open_for_writing(path, 1)) as store:
        inserts.insert_intents(store, [intent("a"), intent("b")])
        inserts.insert_settlements(
            store,
            [settlement("a", state="unknown", charged=0), settlement("b", state="unknown", charged=0)],
        )
        store.execute("BEGIN IMMEDIATE")
        assert corrections.correct(store, Correction("a", 1, "settled", 1, 30, 1, "done", price=CHEAP))
        store.execute("ROLLBACK")
        assert corrections.correct(store, Correction("b", 1, "settled", 1, 30, 1, "done", price=DEAR))
        assert corrections.correct(store, Correction("a", 1, "settled", 1, 30, 1, "done", price=CHEAP))
    assert prices(used(path)[0]) == {CHEAP: 1, DEAR: 1}


def test_more_prices_than_are_kept_in_mind(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(booked_prices, "MOST_KNOWN", 3)
    chance = random.Random(1)
    told = [BookedPrice("piapi", f"m{chance.randrange(9)}", "") for _ in range(60)]
    with closing(schema.open_for_writing(path, 1)) as store:
        for number, price in enumerate(told):
            inserts.insert_intents(store, [intent(f"{number}")])
            inserts.insert_settlements(store, [settlement(f"{number}", price=price)])
    assert prices(used(path)[0]) == Counter(told)


def test_pruning_keeps_the_prices_of_what_has_left(path: Path):
    with closing(schema.open_for_writing(path, 1)) as store:
        inserts.insert_intents(store, [intent("a"), intent("b")])
        inserts.insert_settlements(
            store, [settlement("a", price=CHEAP), settlement("b", price=UNKNOWN, confidence="unknown", charged=0)]
        )
        before = used(path)
        store.execute("BEGIN IMMEDIATE")
        pruned, _ = pruning.prune_batch(store, 1, (NOW // HOUR + 1) * HOUR, pruning.Place())
        store.execute("COMMIT")
        assert pruned.settled == 2
    assert used(path) == before
    assert verify(path).problems == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DELETE FROM booked_prices", "settlement a was booked at a price that is not written down"),
        ("UPDATE booked_prices SET price = '{'", "booked price 1 is not JSON"),
        ("UPDATE settlements SET reasoning_tokens = -1", "settlement a has a count that is not"),
        ("UPDATE settlements SET confidence = 'estimated'", "the sum of key alice and model gpt-4o for the hour"),
        ("UPDATE settlements SET price = NULL", "the sum of key alice and model gpt-4o for the hour"),
    ],
)
def test_what_was_tampered_with_is_found(path: Path, damage: str, sentence: str):
    with closing(schema.open_for_writing(path, 1)) as store:
        inserts.insert_intents(store, [intent("a")])
        inserts.insert_settlements(store, [settlement("a", price=CHEAP)])
    assert verify(path).problems == []
    tamper(path, damage)
    assert verify(path).problems[0].startswith(sentence)


@pytest.mark.parametrize("statement", ["UPDATE booked_prices SET price = ''", "DELETE FROM booked_prices"])
def test_prices_are_append_only(path: Path, statement: str):
    with closing(schema.open_for_writing(path, 1)) as store:
        inserts.insert_intents(store, [intent("a")])
        inserts.insert_settlements(store, [settlement("a", price=CHEAP)])
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            store.execute(statement)


OLD_ROW = "INSERT INTO settlements VALUES (?, ?, ?, 'piapi', 'https://a', 'c', '[]', 7, 0, 3, 1, ?, 0, ?, 200, NULL)"
KINDS = [
    ("settled", "measured"),
    ("settled", "measured"),
    ("settled", "estimated"),
    ("settled", "unknown"),
    ("unknown", "unknown"),
    ("released", "measured"),
]


@pytest.mark.parametrize("requests", [3_000, 60_000])
def test_an_old_store_of_any_size_is_brought_up_to_date(path: Path, requests: int):
    """With everything it can still tell: what was estimated, unpriced, unknown, and corrected since."""
    chance = random.Random(requests)
    expected: Counter[str] = Counter()
    with closing(old_store(path, 8)) as store:
        store.execute("BEGIN")
        for number in range(requests):
            state, confidence = chance.choice(KINDS)
            charged = chance.randrange(10**9) if state == "settled" and confidence != "unknown" else 0
            at_ns = NOW + chance.randrange(40 * 24 * HOUR)
            store.execute(
                "INSERT INTO intents VALUES (?, ?, 'alice', NULL, 'chat', 'gpt-4o', 'req', 100, 0, 1)",
                (f"{number}", at_ns),
            )
            store.execute(OLD_ROW, (f"{number}", at_ns, state, charged, confidence))
            if state == "unknown" and number % 3:
                reason = ("task completed", "task completed, price unknown")[number % 2]
                charged = 5 * (1 - number % 2)
                store.execute(
                    "INSERT INTO corrections VALUES (?, 1, 'settled', ?, 0, 1, NULL, NULL, ?)",
                    (f"{number}", charged, reason),
                )
                state, confidence = "settled", ("measured", "unknown")[number % 2]
            if state != "released":
                certainty = "unknown" if state == "unknown" else confidence.replace("unknown", "unpriced")
                expected.update({certainty: 1, f"{certainty} charged": charged})
        store.execute("COMMIT")
    schema.open_for_writing(path, 1).close()
    [row] = used(path)
    assert row.unpriced_requests == expected["unpriced"] > 0
    assert (row.unpriced_input_tokens, row.unpriced_output_tokens) == (
        7 * row.unpriced_requests,
        3 * row.unpriced_requests,
    )
    assert row.unknown_requests == expected["unknown"] > 0
    assert (row.estimated_requests, row.estimated_cost_nano) == (expected["estimated"], expected["estimated charged"])
    assert row.cost_nano == expected["measured charged"] + expected["estimated charged"]
    assert row.prices == ()
    assert verify(path).problems == []


def test_an_old_store_whose_rows_were_pruned_keeps_its_sums(path: Path):
    """What is unknown stays a row when others leave, and may be corrected after the upgrade."""
    with closing(old_store(path, 8)) as store:
        for number, (state, confidence) in enumerate(KINDS):
            charged = 100 if state == "settled" and confidence != "unknown" else 0
            store.execute(
                "INSERT INTO intents VALUES (?, ?, 'alice', NULL, 'chat', 'gpt-4o', 'req', 100, 0, 1)",
                (f"{number}", NOW),
            )
            store.execute(OLD_ROW, (f"{number}", NOW, state, charged, confidence))
        store.execute("BEGIN IMMEDIATE")
        pruning.prune_batch(store, 1, (NOW // HOUR + 1) * HOUR, pruning.Place())
        store.execute("COMMIT")
    with closing(schema.open_for_writing(path, 1)) as store:
        [row] = used(path)
        assert (row.requests, row.cost_nano, row.unknown_requests) == (5, 300, 1)
        assert (row.unpriced_requests, row.estimated_requests) == (0, 0), "nobody can tell any more"
        assert corrections.correct(store, Correction("4", 1, "settled", 9, 0, 1, "task completed", price=CHEAP))
        [row] = used(path)
        assert (row.requests, row.cost_nano, row.unknown_requests) == (5, 309, 0)
    assert verify(path).problems == []


@pytest.mark.parametrize("changes", [{"cache_write_tokens": -1}, {"reasoning_tokens": -1}, {"reasoning_tokens": 2**63}])
async def test_counts_that_make_no_sense_are_set_aside(ledger: SQLiteLedger, path: Path, changes: dict[str, int]):
    await book(ledger, "a", CHEAP, **changes)
    await book(ledger, "b", CHEAP)
    assert rows(path, "SELECT id FROM unbookable") == ["a"]
    assert prices(used(path)[0]) == {CHEAP: 1}
