"""``stores.duration_records.DurationRecords``: what was learned of how long orders take, beyond a restart."""

from __future__ import annotations

import pytest

from gateway.core.routing.durations import Histogram, LearnedChange, LearnedDurations, OrderKind
from gateway.stores.base import Store

from .conftest import Reopen

PICTURE = OrderKind("piapi", "chat", "gpt-4o-image")
LARGE = OrderKind("piapi", "images", "gpt-image-1", "1536x1024", "high", 4)


def histogram(at: float = 1_800_000_000.5) -> Histogram:
    return Histogram(at, 12, {3: 0.25, 117: 11.0}, {120: 2.5})


WEEK = 7 * 86_400.0


def new(kind: OrderKind, found: Histogram) -> LearnedChange:
    """All that is known of a kind, which was never kept before."""
    return LearnedChange(kind, found, found, found.at)


async def test_a_new_store_knows_nothing(store: Store) -> None:
    assert list(await store.durations.all()) == []


async def test_what_is_kept_is_there_after_a_restart_to_the_last_digit(store: Store, reopen: Reopen) -> None:
    await store.durations.keep([new(PICTURE, histogram()), new(LARGE, histogram(5.0))], WEEK)
    expected = {PICTURE: histogram(), LARGE: histogram(5.0)}
    assert dict(await store.durations.all()) == expected
    assert dict(await (await reopen()).durations.all()) == expected


async def test_a_kind_has_one_row_with_all_that_was_ever_handed_in(store: Store) -> None:
    learned = LearnedDurations(WEEK)
    for number in range(20):
        learned.observe(PICTURE, 60.0, 1_800_000_000.0 + 3_600 * number, censored=number % 5 == 0)
        if number % 3 == 0:
            learned.take_over(await store.durations.keep(learned.changed(), WEEK))
    learned.take_over(await store.durations.keep(learned.changed(), WEEK))
    whole = LearnedDurations(WEEK)
    for number in range(20):
        whole.observe(PICTURE, 60.0, 1_800_000_000.0 + 3_600 * number, censored=number % 5 == 0)
    [(_, expected)] = [(change.kind, change.found) for change in whole.changed()]
    [(kind, found)] = await store.durations.all()
    assert expected is not None
    assert (kind, found.at, found.seen) == (PICTURE, expected.at, expected.seen)
    assert found.ended == pytest.approx(expected.ended)
    assert found.censored == pytest.approx(expected.censored)
    [known] = learned.kinds(expected.at)
    assert known.weight == pytest.approx(expected.weight(expected.at, WEEK))


async def test_what_is_forgotten_is_gone_and_nothing_else(store: Store) -> None:
    await store.durations.keep([new(PICTURE, histogram()), new(LARGE, histogram())], WEEK)
    never = OrderKind("never", "seen", "before")
    await store.durations.keep([LearnedChange(kind, None, None, histogram().at) for kind in (PICTURE, never)], WEEK)
    assert [kind for kind, _ in await store.durations.all()] == [LARGE]


async def test_names_of_any_kind_are_kept_as_they_are(store: Store) -> None:
    odd = OrderKind("pi'api", "task", 'Qubico/"flux"', "ein Größe", "'; DROP TABLE learned_durations; --", 16)
    await store.durations.keep([new(odd, histogram())], WEEK)
    assert list(await store.durations.all()) == [(odd, histogram())]


async def test_what_changes_while_it_is_being_kept_changes_nothing_of_what_is_kept(store: Store) -> None:
    changing = histogram()
    keeping = store.durations.keep([new(PICTURE, changing)], WEEK)
    await keeping
    changing.ended[3] = 99.0
    assert dict(await store.durations.all()) == {PICTURE: histogram()}
