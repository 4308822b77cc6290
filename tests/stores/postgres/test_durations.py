"""What several gateways learn of how long orders take, in one database: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.routing.durations import Histogram, LearnedChange, LearnedDurations, OrderKind
from gateway.stores.engines import open_store
from gateway.stores.postgres import durations
from gateway.stores.postgres.store import PostgresStore
from tests.stores.makers import StoppedClock

WEEK = 7 * 86_400.0
NOW = 1_800_000_000.0
PICTURE = OrderKind("piapi", "chat", "gpt-4o-image")
LARGE = OrderKind("piapi", "images", "gpt-image-1", "1536x1024", "high", 4)


@pytest.fixture
async def fleet(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[PostgresStore]]:
    """Three gateways' stores on one database."""
    opened = [await open_store(postgres_url, StoppedClock(), f"gw_{number}", tmp_path / "spill") for number in range(3)]
    yield opened
    for store in opened:
        await store.close()


async def hand_in(store: PostgresStore, learned: LearnedDurations) -> None:
    learned.take_over(await store.durations.keep(learned.changed(), learned.half_life))


def weight(learned: LearnedDurations, kind: OrderKind, at: float) -> float:
    return next(one.weight for one in learned.kinds(at) if one.kind == kind)


async def test_what_all_have_seen_is_added_up(fleet: list[PostgresStore]) -> None:
    minds = [LearnedDurations(WEEK) for _ in fleet]
    for _ in range(10):
        for learned in minds:
            learned.observe(PICTURE, 60.0, NOW)
            learned.observe(LARGE, 5.0, NOW, censored=True)
        await asyncio.gather(*map(hand_in, fleet, minds))
    kept = dict(await fleet[0].durations.all())
    assert kept[PICTURE].weight(NOW, WEEK) == pytest.approx(30.0)
    assert kept[LARGE].weight(NOW, WEEK) == pytest.approx(30.0)
    assert (kept[PICTURE].ended.keys(), kept[PICTURE].censored) == ({100}, {})


async def test_a_gateway_knows_what_the_others_have_seen_and_hands_it_in_no_second_time(
    fleet: list[PostgresStore],
) -> None:
    first, second = LearnedDurations(WEEK), LearnedDurations(WEEK)
    second.restore(await fleet[1].durations.all())
    for _ in range(12):
        first.observe(PICTURE, 60.0, NOW)
    await hand_in(fleet[0], first)
    second.observe(PICTURE, 60.0, NOW + WEEK)
    second.take_over(await fleet[1].durations.news())
    assert weight(second, PICTURE, NOW + WEEK) == pytest.approx(12 / 2 + 1)
    await hand_in(fleet[1], second)
    assert weight(second, PICTURE, NOW + WEEK) == pytest.approx(12 / 2 + 1)
    first.take_over(await fleet[0].durations.news())
    assert weight(first, PICTURE, NOW + WEEK) == pytest.approx(12 / 2 + 1)
    await fleet[1].durations.news()
    assert await fleet[1].durations.news() == [], "it is told once"


async def test_what_is_seen_while_it_is_being_handed_in_is_not_lost(fleet: list[PostgresStore]) -> None:
    learned = LearnedDurations(WEEK)
    learned.observe(PICTURE, 60.0, NOW)

    async def see_another() -> None:
        learned.observe(PICTURE, 60.0, NOW)

    await asyncio.gather(hand_in(fleet[0], learned), see_another())  # each begins in this order, and the first waits
    assert weight(learned, PICTURE, NOW) == pytest.approx(2.0)
    await hand_in(fleet[0], learned)
    assert dict(await fleet[1].durations.all())[PICTURE].weight(NOW, WEEK) == pytest.approx(2.0)


async def test_a_kind_that_others_see_still_is_not_forgotten_by_one(fleet: list[PostgresStore]) -> None:
    early, late = Histogram(NOW, 1, {100: 1.0}), Histogram(NOW + 9, 1, {100: 1.0})
    await fleet[0].durations.keep([LearnedChange(PICTURE, early, early, early.at)], WEEK)
    await fleet[1].durations.keep([LearnedChange(PICTURE, late, late, late.at)], WEEK)
    await fleet[0].durations.keep([LearnedChange(PICTURE, None, None, early.at)], WEEK)
    assert [kind for kind, _ in await fleet[2].durations.all()] == [PICTURE]
    await fleet[1].durations.keep([LearnedChange(PICTURE, None, None, late.at)], WEEK)
    assert await fleet[2].durations.all() == []


async def test_the_number_of_kinds_is_bounded_and_the_oldest_go(
    fleet: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "MOST_KEPT", 3)
    for number in range(5):
        seen = Histogram(NOW + number, 1, {100: 1.0})
        kind = OrderKind("piapi", "images", f"m{number}")
        await fleet[0].durations.keep([LearnedChange(kind, seen, seen, seen.at)], WEEK)
    assert [kind.model for kind, _ in await fleet[0].durations.all()] == ["m2", "m3", "m4"]
