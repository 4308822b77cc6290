"""The Responses API with the official SDK, over any chat model: whole and streamed, tools, errors, what is kept."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from .harness import PROMPT, Rig

WORDS = f"Sandbox ✓ This is a simulated answer; no model was asked. You said: {PROMPT}"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class Weather(BaseModel):
    city: str
    days: int


async def ask(rig: Rig, **fields: Any) -> Response:
    response: Response = await rig.openai().responses.create(**{"model": "gpt-4o", "input": PROMPT, **fields})
    return response


async def stream(rig: Rig, **fields: Any) -> list[ResponseStreamEvent]:
    asked = {"model": "gpt-4o", "input": PROMPT, "stream": True, **fields}
    return [event async for event in await rig.openai().responses.create(**asked)]


def types(events: list[ResponseStreamEvent]) -> list[str]:
    """The events' types, each run of one as one."""
    found: list[str] = []
    for event in events:
        if found[-1:] != [event.type]:
            found.append(event.type)
    return found


async def test_a_whole_answer(rig: Rig) -> None:
    response = await ask(rig, metadata={"trip": "7"}, temperature=0.5)
    assert (response.status, response.output_text, response.model) == ("completed", WORDS, "gpt-4o")
    assert (response.metadata, response.temperature, response.error) == ({"trip": "7"}, 0.5, None)
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.completed_at is not None
    row = await rig.row()
    assert row.endpoint if hasattr(row, "endpoint") else True
    figures = await rig.figures()
    assert figures.total("gateway_requests_total", route="/v1/responses", status="200") == 1


async def test_a_stream_has_every_event_numbered(rig: Rig) -> None:
    events = await stream(rig)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert types(events) == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
        *("response.output_text.delta", "response.output_text.done", "response.content_part.done"),
        *("response.output_item.done", "response.completed"),
    ]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == WORDS
    assert last.response.usage is not None
    ids = {event.item_id for event in events if hasattr(event, "item_id")}
    assert ids == {last.response.output[0].id}
    await rig.row()


async def test_the_sdks_own_accumulator(rig: Rig) -> None:
    async with rig.openai().responses.stream(model="gpt-4o", input=PROMPT) as streaming:
        texts = [event.snapshot async for event in streaming if event.type == "response.output_text.delta"]
        final = await streaming.get_final_response()
    assert texts[-1] == WORDS
    assert final.output_text == WORDS


async def test_a_tool_is_called_and_its_answer_gone_on_from(rig: Rig) -> None:
    rig.sandbox.script("ok;calls=1")
    asked: list[Any] = [{"role": "user", "content": PROMPT}]
    first = await ask(rig, input=asked, tools=[WEATHER])
    [call] = [item for item in first.output if item.type == "function_call"]
    assert (call.name, call.status) == ("get_weather", "completed")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = await ask(rig, input=[output], previous_response_id=first.id, tools=[WEATHER])
    assert second.previous_response_id == first.id
    assert second.output_text
    asked += [*(item.to_dict() for item in first.output), output]
    third = await ask(rig, input=asked, tools=[WEATHER])
    assert third.output_text == second.output_text
    await rig.rows(3)


async def test_a_streamed_call(rig: Rig) -> None:
    rig.sandbox.script("ok;calls=2")
    events = await stream(rig, tools=[WEATHER])
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    for event in done:
        deltas = [
            one.delta
            for one in events
            if one.type == "response.function_call_arguments.delta" and one.item_id == event.item_id
        ]
        assert "".join(deltas) == event.arguments
        json.loads(event.arguments)
    assert len(done) == 2
    await rig.row()


async def test_an_answer_is_parsed(rig: Rig) -> None:
    parsed = await rig.openai().responses.parse(model="gpt-4o", input=PROMPT, text_format=Weather)
    assert isinstance(parsed.output_parsed, Weather)


async def test_a_refusal_and_thoughts(rig: Rig) -> None:
    rig.sandbox.script("ok;refusal=1")
    response = await ask(rig)
    [message] = response.output
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    rig.sandbox.script("ok;reasoning=3")
    thinking = await ask(rig)
    assert [item.type for item in thinking.output] == ["reasoning", "message"]
    rig.sandbox.script("ok;reasoning=3")
    events = await stream(rig, reasoning={"summary": "auto"})
    assert "response.reasoning_summary_text.delta" in types(events)
    await rig.rows(3)


async def test_a_stream_that_is_cut_after_content_has_failed(rig: Rig) -> None:
    rig.for_all_roles("cut;after_events=4")
    events = await stream(rig)
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert events[-1].response.error.code == "upstream_stream_interrupted"
    assert "response.completed" not in types(events)
    await rig.row()


async def test_an_error_is_raised_as_such(rig: Rig) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(rig, tools=[{"type": "web_search"}])
    assert refused.value.param == "tools[0].type"
    with pytest.raises(openai.NotFoundError) as missing:
        await ask(rig, previous_response_id="resp_none")
    assert missing.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        await ask(rig, input=[{"type": "item_reference", "id": "msg_none"}])
    with pytest.raises(openai.NotFoundError) as unknown:
        await ask(rig, conversation="conv_1")
    assert unknown.value.param == "conversation"


async def test_what_is_kept_is_found_and_forgotten(rig: Rig) -> None:
    sdk = rig.openai()
    first = await ask(rig)
    found = await sdk.responses.retrieve(first.id)
    assert found.to_dict() == first.to_dict()
    items = await sdk.responses.input_items.list(first.id)
    assert [item.type for item in items.data] == ["message"]
    second = await ask(
        rig, input=[{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "and?"}]
    )
    assert second.output_text
    await sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)
    unkept = await ask(rig, store=False)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(unkept.id)
    await rig.rows(3)


async def test_the_background(rig: Rig) -> None:
    sdk = rig.openai()
    queued = await ask(rig, background=True)
    assert queued.status in ("queued", "in_progress")
    await rig.row()
    done = await sdk.responses.retrieve(queued.id)
    assert (done.status, done.output_text) == ("completed", WORDS)
    again = [event async for event in await sdk.responses.retrieve(queued.id, stream=True, starting_after=3)]
    assert again[0].sequence_number == 4
    assert again[-1].type == "response.completed"
    cancelled = await sdk.responses.cancel(queued.id)
    assert cancelled.status == "completed"


async def test_a_conversation_is_compacted_where_it_stands(rig: Rig) -> None:
    asked: Any = [{"role": "user", "content": PROMPT}, {"type": "compaction_trigger"}]
    response = await ask(rig, input=asked, tools=[WEATHER])
    events = await stream(rig, input=asked, tools=[WEATHER])
    assert [item.type for item in response.output] == ["compaction"]
    assert types(events)[-2:] == ["response.output_item.done", "response.completed"]
    assert "tools" not in rig.sandbox.requests[0].json
    go_on: Any = [item.to_dict() for item in response.output]
    assert (await ask(rig, input=[*go_on, {"role": "user", "content": "and now?"}])).output_text
    wrong: Any = [{"type": "compaction_trigger"}, {"role": "user", "content": PROMPT}]
    with pytest.raises(openai.BadRequestError):
        await ask(rig, input=wrong)
    await rig.rows(3)


async def test_a_compaction_and_a_count(rig: Rig) -> None:
    sdk = rig.openai()
    first = await ask(rig)
    compaction = await sdk.responses.compact(model="gpt-4o", previous_response_id=first.id)
    assert compaction.object == "response.compaction"
    assert [item.type for item in compaction.output] == ["message", "compaction"]
    go_on: Any = [
        *(item.model_dump(exclude_unset=True, warnings=False) for item in compaction.output),
        {"role": "user", "content": "and now?"},
    ]
    assert (await ask(rig, input=go_on)).output_text
    count = await sdk.responses.input_tokens.count(model="gpt-4o", input=PROMPT)
    assert count.input_tokens > 5
    await rig.rows(3)
