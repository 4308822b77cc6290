"""What every engine does with the places where upstreams keep answers: whose they are, and when they go."""

from __future__ import annotations

import pytest

from gateway.stores.base import Store
from gateway.stores.response_records import KeptPlace, ResponsePlaceRecords

HERE, THERE = ("backup", "first"), ("backup", "second")


@pytest.fixture
def places(store: Store) -> ResponsePlaceRecords:
    return store.response_places


def place(id: str, at_ns: int = 1_000, key: str = "alice", where: tuple[str, str] = HERE) -> KeptPlace:
    return KeptPlace(key, id, where, at_ns)


async def known(places: ResponsePlaceRecords, *ids: str, key: str = "alice") -> list[str]:
    return sorted(await places.find(key, ids))


async def test_a_place_is_found_by_the_key_that_it_belongs_to_and_by_no_other(places: ResponsePlaceRecords) -> None:
    await places.keep([place("resp_1"), place("resp_2", where=THERE), place("resp_1", key="bob", where=THERE)])
    assert await places.find("alice", ["resp_1", "resp_2", "resp_3"]) == {"resp_1": HERE, "resp_2": THERE}
    assert await places.find("bob", ["resp_1", "resp_2"]) == {"resp_1": THERE}
    assert await places.find("carol", ["resp_1"]) == {}
    assert await places.find("alice", []) == {}


async def test_the_newest_place_of_an_id_counts_and_it_does_not_grow_older(places: ResponsePlaceRecords) -> None:
    await places.keep([place("resp_1", 2_000)])
    await places.keep([place("resp_1", 1_000, where=THERE)])
    assert await places.find("alice", ["resp_1"]) == {"resp_1": THERE}
    assert await places.sweep(1_500, 100) == 0
    assert await places.sweep(2_001, 100) == 1


async def test_ids_that_are_no_text_are_not_there(places: ResponsePlaceRecords) -> None:
    await places.keep([place("\ud800"), place("resp_1"), place("'); DROP TABLE response_places; --")])
    await places.forget("alice", "\ud800")
    assert await known(places, "\ud800", "resp_1", "'); DROP TABLE response_places; --", "%") == [
        "'); DROP TABLE response_places; --",
        "resp_1",
    ]


async def test_what_is_forgotten_is_gone_for_its_key_alone(places: ResponsePlaceRecords) -> None:
    await places.keep([place("resp_1"), place("resp_1", key="bob")])
    await places.forget("alice", "resp_1")
    await places.forget("alice", "resp_unknown")
    assert await known(places, "resp_1") == []
    assert await known(places, "resp_1", key="bob") == ["resp_1"]


async def test_what_is_too_old_goes(places: ResponsePlaceRecords) -> None:
    await places.keep([place("old", 1_000), place("older", 500), place("new", 2_000)])
    assert await places.sweep(1_500, 100) == 2
    assert await known(places, "old", "older", "new") == ["new"]


async def test_of_too_many_the_oldest_of_the_key_with_most_go(places: ResponsePlaceRecords) -> None:
    await places.keep([place(f"a{number}", 10_000 + number) for number in range(2_000)])
    await places.keep([place(f"b{number}", number, key="bob") for number in range(10)])
    assert await places.sweep(0, 1_010) == 1_000
    assert await known(places, "a0", "a999", "a1000", "a1999") == ["a1000", "a1999"]
    assert len(await known(places, *(f"b{number}" for number in range(10)), key="bob")) == 10
    assert await places.sweep(0, 1_010) == 0
