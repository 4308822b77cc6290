"""``stores.base.UsageReports``: every request counts once, at the time it came in, in the groups asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.core.errors import StoreError
from gateway.stores.base import Store
from gateway.stores.records import BookedPrice, PriceUse
from tests.stores.makers import intent, nothing_pending, released, settlement

from .conftest import Engine

BERLIN = ZoneInfo("Europe/Berlin")
PRICE = BookedPrice("piapi", "gpt-4o", '{"input":2.5}', "priority")
NO_PRICE = BookedPrice("piapi", "gpt-9", "")
EVER = 2**62


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[misc,arg-type]


async def book(store: Store, identity: str, at_ns: int, key: str = "alice", team: str | None = "growth") -> None:
    await store.ledger.reserve(intent(identity, at_ns=at_ns, key=key, team=team))
    store.ledger.settle(settlement(identity, charged=100, images=1))
    await nothing_pending(store.ledger)


async def grouped(store: Store, by: list[str], zone: object = UTC, since: int = 0, until: int = EVER) -> list[object]:
    rows = await store.usage.usage(since_ns=since, until_ns=until, by=by, time_zone=zone)  # type: ignore[arg-type]
    return [(*row.group.values(), row.requests, row.cost_nano) for row in rows]


@pytest.fixture
async def three(store: Store) -> Store:
    """Alice at 22:30 UTC of the 21st and 08:00 of the 22nd, Bob, without a team, at 09:00."""
    await book(store, "a", at(2026, 11, 21, 23, 30))
    await book(store, "b", at(2026, 11, 22, 8, 0))
    await book(store, "c", at(2026, 11, 22, 9, 0), key="bob", team=None)
    return store


async def test_without_fields_there_is_one_total(three: Store) -> None:
    [row] = await three.usage.usage(since_ns=0, until_ns=EVER, by=[], time_zone=UTC)
    assert (row.requests, row.input_tokens, row.cached_input_tokens, row.output_tokens) == (3, 30, 12, 15)
    assert (row.images, row.cost_nano) == (3, 300)


async def test_groups_come_in_the_order_asked_for_sorted(three: Store) -> None:
    assert await grouped(three, ["team", "key"]) == [(None, "bob", 1, 100), ("growth", "alice", 2, 200)]
    assert await grouped(three, ["upstream", "model"]) == [("piapi", "gpt-4o", 3, 300)]


async def test_days_are_those_of_the_time_zone(three: Store) -> None:
    assert await grouped(three, ["day"]) == [("2026-11-21", 1, 100), ("2026-11-22", 2, 200)]
    assert await grouped(three, ["day"], BERLIN) == [("2026-11-22", 3, 300)]


async def test_a_period_holds_its_start_and_not_its_end(three: Store) -> None:
    start, end = at(2026, 11, 22, 8, 0), at(2026, 11, 22, 9, 0)
    assert await grouped(three, ["key"], since=start, until=end) == [("alice", 1, 100)]
    assert await grouped(three, ["key"], since=start, until=end + 1) == [("alice", 1, 100), ("bob", 1, 100)]
    assert await grouped(three, ["key"], since=end + 1) == []


async def test_what_was_released_or_still_runs_does_not_count(store: Store) -> None:
    await store.ledger.reserve(intent("running"))
    await store.ledger.reserve(intent("released"))
    store.ledger.settle(released("released"))
    await nothing_pending(store.ledger)
    assert await grouped(store, ["key"]) == []


async def test_what_has_no_price_is_estimated_or_in_doubt_is_told_apart(store: Store) -> None:
    told: dict[str, dict[str, Any]] = {
        "measured": {"price": PRICE},
        "unpriced": {"confidence": "unknown", "charged": 0, "images": 2, "price": NO_PRICE},
        "estimated": {"confidence": "estimated", "charged": 7, "price": PRICE},
        "lost": {"state": "unknown", "confidence": "unknown", "charged": 0},
    }
    for identity, changes in told.items():
        await store.ledger.reserve(intent(identity))
        store.ledger.settle(settlement(identity, **changes))
    await nothing_pending(store.ledger)
    for by in (["model"], ["day", "key"]):
        [row] = await store.usage.usage(since_ns=0, until_ns=EVER, by=by, time_zone=UTC)
        assert (row.requests, row.cost_nano, row.images) == (4, 47, 2)
        assert (row.unpriced_requests, row.unpriced_input_tokens, row.unpriced_output_tokens) == (1, 10, 5)
        assert (row.unpriced_images, row.unknown_requests) == (2, 1)
        assert (row.estimated_requests, row.estimated_cost_nano) == (1, 7)
        at_ns = settlement("any").settled_ns
        assert row.prices == (PriceUse(PRICE, at_ns, 2, 0), PriceUse(NO_PRICE, at_ns, 1, 1))
    assert (await store.usage.verify()).problems == []


async def test_an_unknown_field_is_an_error_that_names_the_known_ones(store: Store) -> None:
    with pytest.raises(ValueError, match=r"colour.*key"):
        await store.usage.usage(since_ns=0, until_ns=EVER, by=["colour"], time_zone=UTC)


async def test_a_reader_beside_it_is_told_the_same(engine: Engine, three: Store) -> None:
    reader = engine.read()
    assert await reader.exists() is True
    assert await reader.usage.charged_since(0) == await three.ledger.charged_since(0)
    assert await reader.usage.held(0) == await three.ledger.held(0)
    assert (await reader.usage.verify()) == (await three.usage.verify())


async def test_a_store_that_was_never_made_cannot_be_read(engine: Engine) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        await engine.read().usage.verify()
