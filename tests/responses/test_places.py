"""Places of answers: known at once, written together, and a store that fails takes nothing with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.core.errors import GatewayError, StoreError, ledger_unavailable
from gateway.core.in_force import Held
from gateway.responses.places import MOST_OF_AN_ANSWER, MOST_PLACES, ResponsePlaces
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.response_records import KeptPlace, Place

HERE, THERE = ("backup", "first"), ("backup", "second")


class Records:
    """A store that is as slow as it is told. ``written``: its batches."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Place] = {}
        self.written: list[int] = []
        self.swept: list[tuple[int, int]] = []
        self.broken = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def keep(self, places: Sequence[KeptPlace]) -> None:
        await self.go_on.wait()
        if self.broken:
            raise ledger_unavailable()
        self.written.append(len(places))
        self.kept |= {(one.key, one.id): one.place for one in places}

    async def find(self, key: str, ids: Sequence[str]) -> Mapping[str, Place]:
        if self.broken:
            raise StoreError("it cannot be read")
        return {id: self.kept[key, id] for id in ids if (key, id) in self.kept}

    async def forget(self, key: str, id: str) -> None:
        self.kept.pop((key, id), None)

    async def sweep(self, before_ns: int, most: int) -> int:
        self.swept.append((before_ns, most))
        if self.broken:
            raise ledger_unavailable()
        return 0


class Stage:
    def __init__(self) -> None:
        self.records = Records()
        self.errors: list[str] = []
        log = SimpleNamespace(error=lambda event, **fields: self.errors.append(event))
        clock = SimpleNamespace(wall_ns=lambda: 100_000_000_000)
        tasks = TrackedTasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
        settings = Held(SimpleNamespace(responses_keep=40.0, responses_keep_max=1))
        self.places = ResponsePlaces(
            cast("Any", self.records), cast("Any", clock), cast("Any", log), tasks, cast("Any", settings)
        )


async def test_a_place_is_known_before_it_is_written_and_after() -> None:
    stage = Stage()
    stage.records.go_on.clear()
    stage.places.note("alice", ["resp_1", "msg_1"], HERE)
    assert await stage.places.find("alice", ["resp_1", "resp_2"]) == {"resp_1": HERE}
    assert await stage.places.find("bob", ["resp_1"]) == {}
    stage.records.go_on.set()
    await stage.places.written()
    assert stage.records.written == [2]
    assert await stage.places.find("alice", ["msg_1"]) == {"msg_1": HERE}


async def test_what_comes_while_others_are_written_is_written_together() -> None:
    stage = Stage()
    stage.records.go_on.clear()
    stage.places.note("alice", ["resp_0"], HERE)
    await asyncio.sleep(0)
    for number in range(5):
        stage.places.note("alice", [f"resp_{number}"], THERE)
    stage.records.go_on.set()
    await stage.places.written()
    assert stage.records.written == [1, 5]
    assert await stage.places.find("alice", ["resp_0"]) == {"resp_0": THERE}


async def test_ids_of_an_answer_are_bounded_and_the_response_is_the_first_of_them() -> None:
    stage = Stage()
    stage.places.note("alice", ["resp_1", "", "x" * 513, *(f"msg_{number}" for number in range(5_000))], HERE)
    await stage.places.written()
    assert stage.records.written == [MOST_OF_AN_ANSWER]
    assert ("alice", "resp_1") in stage.records.kept


async def test_nothing_is_written_for_nothing() -> None:
    stage = Stage()
    stage.places.note("alice", [], HERE)
    await stage.places.written()
    assert stage.records.written == []


async def test_what_is_forgotten_is_gone_although_it_was_waiting() -> None:
    stage = Stage()
    stage.places.note("alice", ["resp_1"], HERE)
    await stage.places.forget("alice", "resp_1")
    assert await stage.places.find("alice", ["resp_1"]) == {}


async def test_a_store_that_cannot_be_written_is_told_of_in_the_log() -> None:
    stage = Stage()
    stage.records.broken = True
    stage.places.note("alice", ["resp_1"], HERE)
    await stage.places.written()
    assert stage.errors == ["responses_not_kept"]
    with pytest.raises(GatewayError) as refused:
        await stage.places.find("alice", ["resp_1"])
    assert refused.value.status == 503


@pytest.mark.parametrize("broken", [False, True])
async def test_what_is_too_old_is_looked_for_at_the_start(broken: bool) -> None:
    stage = Stage()
    stage.records.broken = broken
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stage.places.watch()
    assert stage.records.swept == [(60_000_000_000, MOST_PLACES)]
    assert stage.errors == (["responses_not_aged_out"] if broken else [])
