"""Streamed responses are kept as they go: found while they are told, after their client left, and after a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import openai
import pytest

from gateway.endpoints.responses import background, running
from gateway.stores.response_records import StoredResponse

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Rig, eventually

BOB = "gw-bob-111222333444555666"


async def streamed(rig: Rig, **fields: Any) -> Any:
    return await rig.openai().responses.create(model="gpt-4o", input=PROMPT, stream=True, **fields)


async def begun(rig: Rig, **fields: Any) -> tuple[Any, str, str]:
    """A stream that has told some words, its response's id, and the words."""
    stream, words, id = await streamed(rig, **fields), "", ""
    async for event in stream:
        if event.type == "response.created":
            id = event.response.id
        if event.type == "response.output_text.delta":
            words += event.delta
            if len(words) > 10:
                return stream, id, words
    raise AssertionError("it ended")


def as_left(id: str = "resp_left", **fields: Any) -> StoredResponse:
    """What the store has of a response that was being made when the gateway was killed."""
    item = {"id": f"msg_{id}", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    answer = {"id": id, "object": "response", "status": "in_progress", "output": [item], **fields}
    return StoredResponse(id, "alice", 1 << 62, None, json.dumps(answer).encode(), b"[]", items=(f"msg_{id}",))


async def test_it_is_found_while_it_is_told(gateway: StartGateway) -> None:
    rig = await gateway(f"keys: [{{name: alice, key: {ALICE}}}, {{name: bob, key: {BOB}}}]")
    rig.sandbox.script("slow;delay=20")
    stream, id, words = await begun(rig)
    found = await rig.openai().responses.retrieve(id)
    assert found.status == "in_progress"
    assert found.output_text.startswith(words)
    assert [item.status for item in found.output] == ["in_progress"]  # type: ignore[union-attr]
    assert [item async for item in await rig.openai().responses.input_items.list(id)]
    with pytest.raises(openai.NotFoundError):
        await rig.openai(api_key=BOB).responses.retrieve(id)
    for refused in (
        rig.openai().responses.retrieve(id, stream=True),
        rig.openai().responses.cancel(id),
        rig.openai().responses.create(model="gpt-4o", input="and?", previous_response_id=id),
    ):
        with pytest.raises(openai.BadRequestError):
            await refused
    last = [event async for event in stream][-1]
    assert last.type == "response.completed"
    assert (await rig.openai().responses.retrieve(id)).to_dict() == last.response.to_dict()


async def test_what_its_client_did_not_wait_for_is_cancelled(rig: Rig) -> None:
    rig.sandbox.script("endless;delay=5")
    stream, id, words = await begun(rig)
    await stream.close()
    await rig.row()
    found = await rig.openai().responses.retrieve(id)
    assert found.status == "cancelled"
    assert found.output_text.startswith(words)
    assert [item.status for item in found.output] == ["incomplete"]  # type: ignore[union-attr]


async def test_what_ends_soon_after_its_client_left_is_complete(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=10")
    stream, id, words = await begun(rig)
    await stream.close()
    await rig.row()
    found = await rig.openai().responses.retrieve(id)
    assert found.status == "completed"
    assert found.output_text.startswith(words)
    assert found.usage is not None


async def test_what_is_not_to_be_kept_is_not_found(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=10")
    stream, id, _ = await begun(rig, store=False)
    with pytest.raises(openai.NotFoundError):
        await rig.openai().responses.retrieve(id)
    await stream.close()
    await rig.row()
    with pytest.raises(openai.NotFoundError):
        await rig.openai().responses.retrieve(id)


async def test_what_is_deleted_while_it_is_told_goes_on_and_is_gone(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=10")
    stream, id, _ = await begun(rig)
    await rig.openai().responses.delete(id)
    with pytest.raises(openai.NotFoundError):
        await rig.openai().responses.retrieve(id)
    assert [event async for event in stream][-1].type == "response.completed"
    await rig.gateway._responses.written()
    with pytest.raises(openai.NotFoundError):
        await rig.openai().responses.retrieve(id)


async def test_the_store_has_it_from_its_first_words_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "KEEP_EVERY", 0.01)
    rig.sandbox.script("slow;delay=20")
    stream, id, words = await begun(rig)
    records = rig.gateway._store.responses

    async def kept() -> bool:
        found = await records.find("alice", id)
        return found is not None and words.encode() in found.answer

    await eventually(kept, "what has been said is in the store")
    assert [event async for event in stream][-1].type == "response.completed"


async def test_a_long_input_is_written_at_its_beginning_and_its_end_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "KEEP_EVERY", 0.001)
    written: list[bytes] = []
    keep = rig.gateway._responses.keep

    def noted(record: StoredResponse) -> None:
        written.append(record.answer)
        keep(record)

    monkeypatch.setattr(rig.gateway._responses, "keep", noted)
    rig.sandbox.script("slow;delay=10")
    stream = await rig.openai().responses.create(
        model="gpt-4o", input=[{"role": "user", "content": PROMPT + " " + "x" * (1 << 20)}], stream=True
    )
    assert [event async for event in stream][-1].type == "response.completed"
    assert [json.loads(answer)["status"] for answer in written] == ["in_progress", "completed"]


async def test_one_in_the_background_is_kept_with_its_events_as_it_goes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "KEEP_EVERY", 0.01)
    rig.sandbox.script("slow;delay=20")
    stream, id, words = await begun(rig, background=True)
    records = rig.gateway._store.responses

    async def kept() -> bool:
        found = await records.find("alice", id)
        return found is not None and words.encode() in found.answer and found.events.count(b"output_text.delta") > 2

    await eventually(kept, "what has been said is in the store")
    assert [event async for event in stream][-1].type == "response.completed"
    await rig.row()


async def test_what_was_told_when_the_gateway_was_killed_has_failed(rig: Rig) -> None:
    rig.gateway._responses.keep(as_left())
    found = await rig.openai().responses.retrieve("resp_left")
    assert found.status == "failed"
    assert found.error is not None
    assert found.error.code == "server_error"
    assert [item.status for item in found.output] == ["incomplete"]  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError) as refused:
        await rig.openai().responses.create(model="gpt-4o", input="and?", previous_response_id="resp_left")
    assert refused.value.param == "previous_response_id"
    await rig.openai().responses.delete("resp_left")


async def test_what_ran_in_the_background_when_it_was_killed_is_told_to_its_failure(rig: Rig) -> None:
    whole = [event async for event in await streamed(rig, background=True)]
    events = b"".join(
        b"event: %b\ndata: %b\n\n" % (event.type.encode(), event.to_json(indent=None).encode()) for event in whole[:6]
    )
    left = as_left(background=True)
    rig.gateway._responses.keep(replace(left, events=events))
    told: list[Any] = [
        event async for event in await rig.openai().responses.retrieve(left.id, stream=True, starting_after=3)
    ]
    assert [event.sequence_number for event in told] == [4, 5, 6]
    assert (told[-1].type, told[-1].response.status) == ("response.failed", "failed")
    assert (await rig.openai().responses.cancel(left.id)).status == "failed"
    await rig.row()
