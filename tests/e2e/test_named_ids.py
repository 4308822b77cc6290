"""An id that was not given to this very key is 404 before anything is sent: no member reads another's by a guess."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, Rig

BOB = "gw-bob-000011112222333344445555"
TWO_KEYS = json.dumps({"keys": [{"name": "alice", "key": ALICE}, {"name": "bob", "key": BOB}]})
SPEAKING: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}


def look(**part: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]


def answered(id: str) -> list[dict[str, Any]]:
    return [*MESSAGES, {"role": "assistant", "audio": {"id": id}}, {"role": "user", "content": "And then?"}]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": look(type="file", file={"file_id": "file-bobs"})}, "file_not_found",
         "messages[0].content[1].file.file_id"),
        ({"messages": look(type="input_image", file_id="file-bobs")}, "file_not_found",
         "messages[0].content[1].file_id"),
        ({"messages": look(type="image_file", image_file={"file_id": "file-bobs"})}, "file_not_found",
         "messages[0].content[1].image_file.file_id"),
        ({"messages": look(type="newer", inner=[{"fileId": "file-bobs"}])}, "file_not_found",
         "messages[0].content[1].inner[0].fileId"),
        ({"messages": answered("audio_bobs")}, "audio_not_found", "messages[1].audio.id"),
        ({"previous_response_id": "resp_bobs"}, "response_not_found", "previous_response_id"),
        ({"conversation": {"id": "conv_bobs"}}, "conversation_not_found", "conversation.id"),
        ({"thread_id": "thread_bobs"}, "thread_not_found", "thread_id"),
        ({"container": "cntr_bobs"}, "container_not_found", "container"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_bobs"]}]}, "vector_store_not_found",
         "tools[0].vector_store_ids[0]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_with_a_foreign_id_is_not_sent(
    rig: Rig, fields: dict[str, Any], code: str, param: str, stream: bool
) -> None:
    answer = await rig.chat(stream=stream, **fields)

    error = answer.error()
    assert (answer.status, error["type"], error["code"], error["param"]) == (404, "invalid_request_error", code, param)
    assert answer.header("x-should-retry") == "false"
    assert rig.sandbox.requests == []
    assert (await rig.chat()).status == 200  # and nothing is held, or charged, for what was refused
    await rig.rows(1)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("generations", {"model": "gpt-image-1", "mask": {"file_id": "file-bobs"}}, "mask.file_id"),
        ("generations", {"model": "gpt-image-1", "reference_images": [{"file_id": "file-bobs"}]},
         "reference_images[0].file_id"),
        ("edits", {"model": "gpt-image-1", "images": [{"file_id": "file-bobs"}]}, "images[0].file_id"),
        ("edits", {"model": "gpt-4o-image", "image": "file-bobs"}, "image"),
        ("edits", {"model": "flux-kontext", "image": [{"file_id": "file-bobs"}]}, "image[0].file_id"),
    ],
)  # fmt: skip
async def test_an_order_for_a_picture_with_a_foreign_id_is_not_sent(
    rig: Rig, path: str, fields: dict[str, Any], param: str
) -> None:
    async with rig.client() as client:
        await client.ask(json.dumps({"prompt": "A cat", **fields}).encode(), target=f"/v1/images/{path}")
        answer = await client.rest(await client.head())
    assert (answer.status, answer.error()["code"], answer.error()["param"]) == (404, "file_not_found", param)
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_sound_of_an_answer_is_known_to_the_key_that_got_it_alone(
    gateway: StartGateway, stream: bool
) -> None:
    rig = await gateway(TWO_KEYS)
    assert (await rig.chat(messages=answered("audio_sandbox"))).status == 404
    assert (await rig.chat(stream=stream, **SPEAKING)).status == 200
    bought = len(rig.sandbox.requests)

    mine = await rig.chat(messages=answered("audio_sandbox"), **SPEAKING)
    bobs = await rig.chat(key=BOB, messages=answered("audio_sandbox"), **SPEAKING)
    other = await rig.chat(messages=answered("audio_sandbox2"), **SPEAKING)

    assert mine.status == 200
    assert [(one.status, one.error()["code"]) for one in (bobs, other)] == [(404, "audio_not_found")] * 2
    assert len(rig.sandbox.requests) == bought + 1


async def test_a_task_may_build_on_the_keys_own_tasks_only(gateway: StartGateway) -> None:
    rig = await gateway(TWO_KEYS)

    async def order(key: str, **given: Any) -> Any:
        body = {"model": "Qubico/flux1-dev", "task_type": "txt2img", "input": {"prompt": "A cat", **given}}
        async with rig.client() as client:
            await client.ask(json.dumps(body).encode(), key, target="/api/v1/task")
            return await client.rest(await client.head())

    first = await order(ALICE)
    id = first.json()["data"]["task_id"]
    await rig.rows(1)
    asked = len(rig.sandbox.requests)

    bobs = await order(BOB, origin_task_id=id)
    nested = await order(BOB, more=[{"parentTaskId": id}])
    unknown = await order(ALICE, origin_task_id="no-such-task")

    assert [(one.status, one.error()["code"]) for one in (bobs, nested, unknown)] == [(404, "task_not_found")] * 3
    assert bobs.error()["param"] == "input.origin_task_id"
    assert len(rig.sandbox.requests) == asked
    await order(ALICE, origin_task_id=id)  # which the sandbox's models do not know, as they say themselves
    assert len(rig.sandbox.requests) == asked + 1


async def test_ordinary_words_pass(rig: Rig) -> None:
    words = "See file-abc123, file_id and previous_response_id"
    schema = {"type": "object", "properties": {"file_id": {"type": "string", "default": "file-abc123"}}}
    tools = [{"type": "function", "function": {"name": "read", "parameters": schema}}]
    answer = await rig.chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": words}]}],
        tools=tools,
        metadata={"conversation": "mine"},
        user="file-abc123",
        store=True,
    )
    assert answer.status == 200
    [request] = rig.sandbox.requests
    assert request.json["messages"][0]["content"][0]["text"] == words
    assert request.json["tools"] == tools
