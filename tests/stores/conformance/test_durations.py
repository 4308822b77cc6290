"""``stores.duration_records.DurationRecords``: what was learned of how long orders take, beyond a restart."""

from __future__ import annotations

from gateway.core.routing.durations import Histogram, OrderKind
from gateway.stores.base import Store

from .conftest import Reopen

PICTURE = OrderKind("piapi", "chat", "gpt-4o-image")
LARGE = OrderKind("piapi", "images", "gpt-image-1", "1536x1024", "high", 4)


def histogram(at: float = 1_800_000_000.5) -> Histogram:
    return Histogram(at, 12, {3: 0.25, 117: 11.0}, {120: 2.5})


async def test_a_new_store_knows_nothing(store: Store) -> None:
    assert list(await store.durations.all()) == []


async def test_what_is_kept_is_there_after_a_restart_to_the_last_digit(store: Store, reopen: Reopen) -> None:
    await store.durations.keep([(PICTURE, histogram()), (LARGE, histogram(5.0))])
    expected = {PICTURE: histogram(), LARGE: histogram(5.0)}
    assert dict(await store.durations.all()) == expected
    assert dict(await (await reopen()).durations.all()) == expected


async def test_a_kind_has_one_row_and_it_is_the_last_one(store: Store) -> None:
    await store.durations.keep([(PICTURE, histogram())])
    newer = Histogram(1_800_000_100.0, 3, {1: 3.0}, {})
    await store.durations.keep([(PICTURE, newer)])
    assert list(await store.durations.all()) == [(PICTURE, newer)]


async def test_what_is_forgotten_is_gone_and_nothing_else(store: Store) -> None:
    await store.durations.keep([(PICTURE, histogram()), (LARGE, histogram())])
    await store.durations.keep([(PICTURE, None), (OrderKind("never", "seen", "before"), None)])
    assert [kind for kind, _ in await store.durations.all()] == [LARGE]


async def test_names_of_any_kind_are_kept_as_they_are(store: Store) -> None:
    odd = OrderKind("pi'api", "task", 'Qubico/"flux"', "ein Größe", "'; DROP TABLE learned_durations; --", 16)
    await store.durations.keep([(odd, histogram())])
    assert list(await store.durations.all()) == [(odd, histogram())]


async def test_what_changes_while_it_is_being_kept_changes_nothing_of_what_is_kept(store: Store) -> None:
    changing = histogram()
    keeping = store.durations.keep([(PICTURE, changing)])
    await keeping
    changing.ended[3] = 99.0
    assert dict(await store.durations.all()) == {PICTURE: histogram()}
