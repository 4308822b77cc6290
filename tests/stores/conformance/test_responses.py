"""What every engine does with the answers of the Responses API: whose they are, what they go on from, when they go."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.stores.base import Store
from gateway.stores.response_records import HistoryTooLong, ResponseRecords, StoredResponse


@pytest.fixture
def responses(store: Store) -> ResponseRecords:
    return store.responses


def response(id: str, previous: str | None = None, **changes: Any) -> StoredResponse:
    plain = {"key": "alice", "at_ns": 1_000, "answer": b'{"id":"' + id.encode() + b'"}', "input": b"[]"}
    return StoredResponse(**{"id": id, "previous": previous, "items": (f"msg_{id}",), **plain, **changes})


async def ids(responses: ResponseRecords, *names: str) -> list[str]:
    return [name for name in names if await responses.find("alice", name) is not None]


async def test_a_response_is_found_by_the_key_that_it_belongs_to_and_by_no_other(responses: ResponseRecords) -> None:
    kept = response("resp_1", events=b"data: {}")
    await responses.keep([kept])
    found = await responses.find("alice", "resp_1")
    assert found is not None
    assert (found.answer, found.input, found.events, found.previous) == (kept.answer, b"[]", b"data: {}", None)
    assert await responses.find("bob", "resp_1") is None
    assert await responses.find("alice", "resp_2") is None
    assert await responses.find("alice", "\ud800") is None


async def test_one_that_is_kept_again_is_as_it_was_last(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1", answer=b"queued")])
    await responses.keep([response("resp_1", answer=b"completed")])
    found = await responses.find("alice", "resp_1")
    assert found is not None
    assert found.answer == b"completed"
    assert await responses.held() == len(b"completed") + len(b"[]")


async def test_a_chain_is_read_from_its_beginning_and_ends_at_another_keys(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1"), response("resp_2", "resp_1"), response("resp_3", "resp_2")])
    await responses.keep([response("resp_4", "resp_3", key="bob")])
    assert [one.id for one in await responses.chain("alice", "resp_3", 1 << 20)] == ["resp_1", "resp_2", "resp_3"]
    assert await responses.chain("bob", "resp_3", 1 << 20) == []
    assert [one.id for one in await responses.chain("bob", "resp_4", 1 << 20)] == ["resp_4"]


async def test_a_chain_is_read_no_further_than_it_may_be_long(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1", answer=bytes(100)), response("resp_2", "resp_1", answer=bytes(100))])
    assert len(await responses.chain("alice", "resp_2", 204)) == 2
    with pytest.raises(HistoryTooLong):
        await responses.chain("alice", "resp_2", 203)


async def test_items_are_found_by_their_ids(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1"), response("resp_2"), response("resp_3", key="bob")])
    found = await responses.with_items("alice", ["msg_resp_2", "msg_resp_3", "msg_none"])
    assert [one.id for one in found] == ["resp_2"]


async def test_one_that_is_forgotten_takes_its_items_along(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1")])
    assert not await responses.forget("bob", "resp_1")
    assert await responses.forget("alice", "resp_1")
    assert not await responses.forget("alice", "resp_1")
    assert await responses.with_items("alice", ["msg_resp_1"]) == []


async def test_what_has_not_been_used_for_long_leaves(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1"), response("resp_2", at_ns=1_500)])
    assert await responses.sweep(1_200, 1 << 30) == 1
    assert await ids(responses, "resp_1", "resp_2") == ["resp_2"]


async def test_a_conversation_that_goes_on_keeps_its_beginning(responses: ResponseRecords) -> None:
    await responses.keep([response("resp_1"), response("resp_2", "resp_1", at_ns=2_000)])
    assert await responses.sweep(1_200, 1 << 30) == 0


async def test_of_too_much_the_oldest_leaves_of_the_key_that_has_most(responses: ResponseRecords) -> None:
    large = [response(f"resp_{number}", at_ns=1_000 + number, answer=bytes(100)) for number in range(5)]
    await responses.keep([*large, response("resp_b", key="bob", answer=bytes(150), at_ns=1)])
    assert await responses.sweep(0, 460) == 2
    assert await ids(responses, *(one.id for one in large)) == ["resp_2", "resp_3", "resp_4"]
    assert await responses.find("bob", "resp_b") is not None
