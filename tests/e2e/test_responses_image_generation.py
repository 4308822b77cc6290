"""The tool ``image_generation``: the chat orders, the picture routes make, one answer tells of both, two rows bill."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig, eventually

TOOL: Any = {"type": "image_generation", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{DOT}"


def plays(rig: Rig, images: str = "ok") -> None:
    """The chat calls the tool; then the picture is made, or not."""
    rig.sandbox.script("ok;calls=1", role="api")
    rig.sandbox.script(images, role="api")


async def test_a_picture_is_made_and_both_are_billed(rig: Rig) -> None:
    plays(rig)
    body = {"model": "gpt-4o", "input": PROMPT, "tools": [TOOL], "tool_choice": {"type": "image_generation"}}
    answer = await rig.post(json.dumps(body).encode(), target="/v1/responses")
    response = answer.json()
    assert response["status"] == "completed"
    [item] = response["output"]
    assert (item["type"], item["status"], item["action"]) == ("image_generation_call", "completed", "generate")
    assert base64.b64decode(item["result"]).startswith(b"\x89PNG")
    assert item["id"].startswith("ig_")
    chat, images = await rig.rows(2)
    told = Decimal(answer.header("x-gateway-cost-usd") or "0")
    assert told * 10**9 == chat.charged + images.charged
    assert images.charged > 0
    assert Decimal(str(response["usage"]["cost"])) == told
    assert response["tool_usage"]["image_gen"]["output_tokens"] > 0
    asked = rig.sandbox.requests
    assert [request.path for request in asked] == ["/v1/chat/completions", "/v1/images/generations"]
    assert asked[0].json["tools"][0]["function"]["name"] == "image_generation"
    assert asked[1].json["size"] == "1024x1024"
    assert asked[0].json["tool_choice"] == {"type": "function", "function": {"name": "image_generation"}}


async def test_a_picture_that_could_not_be_made_is_no_part_of_what_follows(rig: Rig) -> None:
    plays(rig, "moderation_blocked")
    sdk = rig.openai()
    response = await sdk.responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL])
    assert [item.status for item in response.output] == ["failed"]  # type: ignore[union-attr]
    again: Any = [{"type": "item_reference", "id": response.output[0].id}, {"role": "user", "content": "and now?"}]
    for asked in ({"previous_response_id": response.id, "input": "and now?"}, {"input": again}):
        assert (await sdk.responses.create(model="gpt-4o", **asked)).status == "completed"
    assert [message["role"] for message in rig.sandbox.requests[-1].json["messages"]] == ["user"]


async def test_its_events_come_as_openai_sends_them(rig: Rig) -> None:
    plays(rig)
    events = [
        event
        async for event in await rig.openai().responses.create(
            model="gpt-4o", input=PROMPT, tools=[{**TOOL, "partial_images": 1}], stream=True
        )
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:2] == ["created", "in_progress"]
    assert kinds[2:5] == ["output_item.added", "image_generation_call.in_progress", "image_generation_call.generating"]
    assert kinds[-3:] == ["image_generation_call.completed", "output_item.done", "completed"]
    assert "image_generation_call.partial_image" in kinds
    last: Any = events[-1]
    assert last.response.output[0].result
    kept = await rig.openai().responses.retrieve(last.response.id)
    assert kept.output[0].to_dict() == last.response.output[0].to_dict()
    await rig.rows(2)


async def test_a_picture_of_the_conversation_is_changed(rig: Rig) -> None:
    plays(rig)
    content = [{"type": "input_text", "text": PROMPT}, {"type": "input_image", "image_url": PICTURE}]
    response = await rig.openai().responses.create(
        model="gpt-4o",
        input=[{"role": "user", "content": content}],  # type: ignore[typeddict-item, misc, list-item]
        tools=[{**TOOL, "action": "edit"}],
    )
    assert response.output[0].to_dict()["action"] == "edit"
    assert rig.sandbox.requests[1].path == "/v1/images/edits"
    await rig.rows(2)


async def test_a_picture_that_cannot_be_made_is_told_as_such(rig: Rig) -> None:
    rig.sandbox.script("ok;calls=1", role="api")
    rig.sandbox.script("moderation_blocked", role="api")
    response = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL])
    [item] = [item.to_dict() for item in response.output]
    assert item["status"] == "failed"
    assert item["error"]["code"]  # type: ignore[index]
    _, images = await rig.rows(2)
    assert images.charged == 0


async def test_no_more_pictures_are_bought_than_the_request_allows(rig: Rig) -> None:
    rig.sandbox.script("ok;calls=3", role="api")
    response = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL], max_tool_calls=1)
    assert [item.to_dict()["status"] for item in response.output] == ["completed", "failed", "failed"]
    await rig.rows(2)


async def test_a_model_that_calls_nothing_answers_as_ever(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL])
    assert response.output_text
    assert response.status == "completed"
    await rig.row()


async def test_it_can_be_made_in_the_background(rig: Rig) -> None:
    plays(rig)
    queued = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL], background=True)
    await rig.rows(2)
    await eventually(lambda: not rig.gateway.services.gate, "its end")

    async def done() -> bool:
        return (await rig.openai().responses.retrieve(queued.id)).status == "completed"

    await eventually(done, "the response")
    found = await rig.openai().responses.retrieve(queued.id)
    assert found.output[0].to_dict()["result"]


async def test_a_model_that_the_key_may_not_use_is_refused_before_anything_is_bought(gateway: StartGateway) -> None:
    rig = await gateway('keys: [{name: dora, key: gw-dora-123123123123123, models: ["gpt-4o"]}]')
    with pytest.raises(openai.PermissionDeniedError):
        await rig.openai(api_key="gw-dora-123123123123123").responses.create(model="gpt-4o", input=PROMPT, tools=[TOOL])
    with pytest.raises(openai.BadRequestError) as refused:
        await rig.openai(api_key="gw-dora-123123123123123").responses.create(
            model="gpt-4o", input=PROMPT, tools=[{**TOOL, "action": "erase"}]
        )
    assert refused.value.param == "tools[0].action"
    assert rig.sandbox.requests == []
