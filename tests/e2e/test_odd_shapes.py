"""Calls, thoughts and messages in other vendors' shapes: a stream passes as it came, a whole answer says it once."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessage

from gateway.sandbox.faults.odd_shapes import MESSAGES as MESSAGE_SHAPES
from gateway.sandbox.faults.odd_shapes import OSLO, ROME, THINKING, TOOL_CALLS

from .harness import MESSAGES, Rig
from .streams import ASKED, direct, plain

NAMES = ("get_weather", "get_tide")
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES
]

MADE: dict[str, list[tuple[str | None, str, str]]] = {
    "one_index": [("c1", "get_weather", OSLO), ("c2", "get_weather", ROME)],
    "no_ids": [(None, "get_weather", OSLO), (None, "get_tide", "{}")],
    "no_index": [("c1", "get_weather", OSLO), ("c2", "get_tide", "{}")],
    "no_arguments": [("c1", "get_weather", "{}")],
    "null_arguments": [("c1", "get_weather", "{}")],
}
ONE_CALL = [("c1", "get_weather", OSLO)]

ALL_SHAPES = [
    *(f"odd_tool_calls;shape={shape}" for shape in TOOL_CALLS),
    *(f"odd_thinking;shape={shape}" for shape in THINKING),
    *(f"odd_messages;shape={shape}" for shape in MESSAGE_SHAPES),
]


async def asked_whole(rig: Rig, scenario: str, messages: list[Any] = MESSAGES) -> ChatCompletionMessage:
    """The message that openai-python reads when it does not stream."""
    rig.sandbox.script(scenario)
    sdk = rig.openai()
    completion = await sdk.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    (choice,) = completion.choices
    called = choice.message.tool_calls
    assert choice.finish_reason == ("tool_calls" if called or choice.message.function_call else "stop")
    message: ChatCompletionMessage = choice.message
    return message


async def test_a_streaming_client_gets_the_bytes_as_they_came(rig: Rig) -> None:
    for scenario in ALL_SHAPES:
        expected = (await direct(rig.sandbox, scenario, **ASKED)).body
        rig.sandbox.script(scenario)

        answer = await rig.chat(**ASKED)

        assert plain(answer.body) == plain(expected), scenario
    await rig.rows(len(ALL_SHAPES))


@pytest.mark.parametrize("shape", [shape for shape in TOOL_CALLS if shape != "legacy"])
async def test_calls_are_whole_and_are_accepted_when_they_come_back(rig: Rig, shape: str) -> None:
    message = await asked_whole(rig, f"odd_tool_calls;shape={shape}")

    calls: list[Any] = message.tool_calls or []
    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == MADE.get(shape, ONE_CALL)
    assert {call.type for call in calls} == {"function"}
    assert message.content is None

    answers = [{"role": "tool", "tool_call_id": call.id or "", "content": "4 degrees"} for call in calls]
    history = [*MESSAGES, message.model_dump(), *answers]
    if shape == "no_ids":  # the vendor takes its own calls back; one that is OpenAI's judges them itself
        with pytest.raises(openai.BadRequestError, match=r"tool_calls\[0\]\.id"):
            await asked_whole(rig, "ok", history)
    else:
        assert (await asked_whole(rig, "ok", history)).content
    assert rig.sandbox.requests[-1].json["messages"][1]["tool_calls"][0]["function"]["arguments"]


async def test_the_older_function_call_is_whole(rig: Rig) -> None:
    rig.sandbox.script("odd_tool_calls;shape=legacy")

    completion = await rig.openai().chat.completions.create(model="gpt-4o", messages=MESSAGES)

    called = completion.choices[0].message.function_call
    assert called is not None
    assert (called.name, called.arguments) == ("get_weather", OSLO)


@pytest.mark.parametrize("shape", THINKING)
async def test_thoughts_stand_beside_the_text_and_are_accepted_when_they_come_back(rig: Rig, shape: str) -> None:
    message = await asked_whole(rig, f"odd_thinking;shape={shape}")

    said = message.model_dump()
    assert said["content"] == "It is so."
    assert {said[name] for name in ("reasoning", "reasoning_content") if name in said} == {"hm"}
    signed = {"signature": "S=="}
    if shape == "details":
        marks = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
        assert said["reasoning_details"] == [{**marks, "text": "hm", **signed}]
    if shape in ("blocks", "signed_parts"):
        assert said["thinking_blocks"] == [{"type": "thinking", "thinking": "hm", **signed}]

    history = [*MESSAGES, said, {"role": "user", "content": "sure?"}]
    assert (await asked_whole(rig, "ok", history)).content
    assert rig.sandbox.requests[-1].json["messages"][1] == said


@pytest.mark.parametrize("shape", MESSAGE_SHAPES)
async def test_text_is_there_once_whatever_brings_it(rig: Rig, shape: str) -> None:
    message = await asked_whole(rig, f"odd_messages;shape={shape}")

    assert message.content == "It is so."
    if shape == "citations":
        assert message.annotations is not None
        assert [note.url_citation.url for note in message.annotations] == ["https://example.com/a"]
