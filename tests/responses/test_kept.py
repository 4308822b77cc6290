"""Kept responses: there for their key ahead of the disk, written together, gone when they are too old or too many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.core.errors import ClientError, GatewayError, StoreError, ledger_unavailable
from gateway.core.in_force import Held
from gateway.responses.kept import KeptResponses
from gateway.runtime.tasks import TrackedTasks
from gateway.stores.response_records import HistoryTooLong, StoredResponse


class Records:
    """A store that is as slow as it is told. ``written``: its batches."""

    def __init__(self) -> None:
        self.kept: dict[str, StoredResponse] = {}
        self.written: list[list[str]] = []
        self.swept: list[tuple[int, int]] = []
        self.broken = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def keep(self, records: Sequence[StoredResponse]) -> None:
        await self.go_on.wait()
        if self.broken:
            raise ledger_unavailable()
        self.written.append([record.id for record in records])
        self.kept |= {record.id: record for record in records}

    async def find(self, key: str, id: str) -> StoredResponse | None:
        if self.broken:
            raise StoreError("it cannot be read")
        return self.kept.get(id)

    async def chain(self, key: str, id: str, most: int) -> list[StoredResponse]:
        found: list[StoredResponse] = []
        record = self.kept.get(id)
        while record is not None:
            found.append(record)
            record = self.kept.get(record.previous or "")
        return found[::-1]

    async def with_items(self, key: str, ids: Sequence[str]) -> list[StoredResponse]:
        return [record for record in self.kept.values() if {*record.items} & {*ids}]

    async def forget(self, key: str, id: str) -> bool:
        return self.kept.pop(id, None) is not None

    async def sweep(self, before_ns: int, most: int) -> int:
        self.swept.append((before_ns, most))
        return 0

    async def held(self) -> int:
        return 0


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    def error(self, event: str, **fields: Any) -> None:
        self.events.append(event)


class Stage:
    def __init__(self, keep_max: int = 1 << 20) -> None:
        self.records, self.log = Records(), Log()
        clock = SimpleNamespace(wall_ns=lambda: 100_000_000_000)
        tasks = TrackedTasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
        settings = Held(SimpleNamespace(responses_keep=40.0, responses_keep_max=keep_max))
        self.kept = KeptResponses(cast("Any", self.records), cast("Any", clock), cast("Any", self.log), tasks, settings)


def response(id: str, previous: str | None = None, key: str = "alice") -> StoredResponse:
    answer = b'{"output":[{"id":"msg_%s","type":"message"}]}' % id.encode()
    return StoredResponse(
        id, key, 1, previous, answer, b'[{"id":"in_%s"}]' % id.encode(), items=(f"msg_{id}", f"in_{id}")
    )


async def missing(asking: Any) -> str | None:
    with pytest.raises(ClientError) as error:
        await asking
    assert error.value.status == 404
    return error.value.code


async def test_one_is_there_before_it_is_written_for_its_key_alone() -> None:
    stage = Stage()
    stage.records.go_on.clear()
    stage.kept.keep(response("a"))
    stage.kept.keep(response("b", "a"))
    assert (await stage.kept.find("alice", "a")).id == "a"
    assert [one.id for one in await stage.kept.before("alice", "b", 1 << 20)] == ["a", "b"]
    assert await stage.kept.items("alice", ["msg_a", "in_b", "msg_c"]) == {
        "msg_a": {"id": "msg_a", "type": "message"},
        "in_b": {"id": "in_b"},
    }
    assert await missing(stage.kept.find("bob", "a")) == "response_not_found"
    assert await missing(stage.kept.before("bob", "b", 1 << 20)) == "previous_response_not_found"
    assert await stage.kept.items("bob", ["msg_a"]) == {}
    stage.records.go_on.set()
    await stage.kept.written()
    assert stage.records.written == [["a", "b"]]
    assert (await stage.kept.find("alice", "b")).id == "b"


async def test_what_waits_goes_on_from_what_is_written() -> None:
    stage = Stage()
    stage.kept.keep(response("a"))
    await stage.kept.written()
    stage.records.go_on.clear()
    stage.kept.keep(response("b", "a"))
    assert [one.id for one in await stage.kept.before("alice", "b", 1 << 20)] == ["a", "b"]
    stage.records.go_on.set()
    await stage.kept.written()


async def test_a_chain_with_a_gap_is_none() -> None:
    stage = Stage()
    for one in (response("a"), response("b", "a")):
        stage.kept.keep(one)
    await stage.kept.forget("alice", "a")
    assert await missing(stage.kept.before("alice", "b", 1 << 20)) == "previous_response_not_found"
    assert await missing(stage.kept.forget("alice", "a")) == "response_not_found"


async def test_more_than_may_be_read_at_once_is_not_read() -> None:
    stage = Stage()
    stage.records.go_on.clear()
    stage.kept.keep(response("a"))
    with pytest.raises(HistoryTooLong):
        await stage.kept.before("alice", "a", 10)
    stage.records.go_on.set()
    await stage.kept.written()


async def test_a_store_that_fails_costs_the_response_and_tells_the_operator() -> None:
    stage = Stage()
    stage.records.broken = True
    stage.kept.keep(response("a"))
    await stage.kept.written()
    assert stage.log.events == ["responses_not_kept"]
    with pytest.raises(GatewayError) as error:
        await stage.kept.find("alice", "a")
    assert error.value.status == 503


async def test_room_is_made_once_there_is_too_much() -> None:
    stage = Stage(keep_max=150)
    for name in "abc":
        stage.kept.keep(response(name))
        await stage.kept.written()
    assert stage.records.swept == [(60_000_000_000, 150)]
