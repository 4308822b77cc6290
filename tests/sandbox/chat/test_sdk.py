"""The official OpenAI SDK, straight against the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from openai import pydantic_function_tool
from pydantic import BaseModel

from gateway.sandbox import Sandbox

MESSAGES: Any = [{"role": "user", "content": "hello there"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=f"{sandbox.url}/v1", max_retries=0) as sdk:
        yield sdk


async def test_a_whole_answer(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    completion = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)

    assert completion.choices[0].message.content == (
        "Sandbox ✓ This is a simulated answer; no model was asked. You said: hello there"
    )
    assert completion.usage is not None
    assert completion.usage.total_tokens == 24
    assert completion._request_id == sandbox.requests[0].id


async def test_a_stream_with_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.endswith("You said: hello there")
    assert chunks[-1].usage is not None


async def test_two_choices(client: openai.AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, n=2)

    assert [choice.index for choice in completion.choices] == [0, 1]


async def test_tools_through_the_sdks_own_folding(client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "what does get_time say?"}]
    async with client.chat.completions.stream(model="gpt-4o", messages=messages, tools=TOOLS) as stream:
        completion = await stream.get_final_completion()

    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.function.name, call.function.arguments) for call in calls] == [("get_time", "{}")]


class City(BaseModel):
    """Where somebody wants to know something."""

    name: str
    country: Literal["IT", "FR"]
    near: City | None


async def test_a_model_of_pydantics_is_parsed_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    wanted: Any = {"model": "gpt-4o", "messages": MESSAGES, "response_format": City}
    whole = await client.chat.completions.parse(**wanted)
    async with client.chat.completions.stream(**wanted, stream_options={"include_usage": True}) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()

    made = whole.choices[0].message.parsed
    assert isinstance(made, City)
    assert (made.name, made.country) == ("hello there", "IT")
    assert final.choices[0].message.parsed == made
    assert kinds.count("content.delta") > 3
    assert "content.done" in kinds
    assert final.usage is not None
    assert whole.choices[0].message.refusal is None


async def test_a_refusal_and_a_cut_are_told_apart_from_an_answer(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    wanted: Any = {"model": "gpt-4o", "messages": MESSAGES, "response_format": City}
    sandbox.script("refusal")
    refused = await client.chat.completions.parse(**wanted)
    assert refused.choices[0].message.parsed is None
    assert refused.choices[0].message.refusal
    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(**wanted, max_tokens=2)


async def test_a_loop_of_tools_goes_through_a_history_and_ends_in_words(client: openai.AsyncOpenAI) -> None:
    tools: Any = [pydantic_function_tool(City, name="find_city")]
    messages: list[Any] = [{"role": "user", "content": "find_city, please"}]
    answer = None
    for _ in range(3):
        async with client.chat.completions.stream(model="gpt-4o", messages=messages, tools=tools) as stream:
            answer = (await stream.get_final_completion()).choices[0]
        if answer.finish_reason == "stop":
            break
        calls = answer.message.tool_calls or []
        assert all(isinstance(call.function.parsed_arguments, City) for call in calls)
        told: Any = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in calls
        ]
        messages.append({"role": "assistant", "tool_calls": told})
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "Rome it is"} for call in calls]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert answer is not None
    assert answer.message.content == "Sandbox ✓ The tool said: Rome it is"


async def test_a_wrong_history_is_openais_400(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="response to a preceeding message with 'tool_calls'") as refused:
        await client.chat.completions.create(
            model="gpt-4o", messages=[*MESSAGES, {"role": "tool", "tool_call_id": "x", "content": "y"}]
        )
    assert refused.value.param == "messages.[1].role"


async def test_errors_become_the_sdks_errors(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    for code, error in {
        401: openai.AuthenticationError,
        429: openai.RateLimitError,
        503: openai.InternalServerError,
    }.items():
        sandbox.script(f"status;code={code}")
        with pytest.raises(error):
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


async def test_an_error_inside_a_stream_is_raised(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    sandbox.script("sse_error_late;after_events=3")
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)

    with pytest.raises(openai.APIError, match="the server had an error"):
        async for _ in stream:
            pass


async def test_a_cut_stream_is_noticed(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    sandbox.script("cut;after_events=3")
    stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)

    with pytest.raises(openai.APIConnectionError):
        async for _ in stream:
            pass


async def test_models(client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]

    assert "gpt-4o" in names
    assert (await client.models.retrieve("gpt-4o")).owned_by == "sandbox"


async def test_images(client: openai.AsyncOpenAI, sandbox: Sandbox) -> None:
    whole = client.with_options(base_url=f"{sandbox.urls['backup']}/v1")
    made = await whole.images.generate(model="gpt-image-1", prompt="a red fox", size="1536x1024", quality="low", n=2)
    edited = await whole.images.edit(model="gpt-image-1", prompt="add a hat", image=[b"one", b"two"], size="1024x1024")
    stream = await client.images.generate(model="gpt-image-1", prompt="a fox", stream=True, partial_images=1)
    events = [event.type async for event in stream]

    assert made.data is not None
    assert len(made.data) == 2
    assert made.usage is not None
    assert made.usage.output_tokens == 816
    assert edited.usage is not None
    assert edited.usage.input_tokens_details.image_tokens == 646
    assert events == ["image_generation.partial_image", "image_generation.completed"]
    assert (edited.quality, edited.size) == ("medium", "1024x1024")
    assert [line.output_tokens for line in sandbox.bill] == [816, 1056, 1056]
    # Three words at $5, 816 tokens at $40; three words, 646 image tokens at $10, 1,056 at $40 (per 1,000,000).
    assert [line.amount for line in sandbox.bill[:2]] == [32_655_000, 15_000 + 6_460_000 + 42_240_000]
