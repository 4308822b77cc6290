"""Whatever shape an upstream's stream has, a response that is streamed says what one that is whole says; and both say
what a chat would.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.sandbox.faults.odd_shapes import MESSAGES, THINKING, TOOL_CALLS

from .apis import Responses
from .harness import Rig
from .streams import SHORT
from .test_odd_streams import ODD

API = Responses("responses", "/v1/responses")
TOOLS: list[Any] = [
    {"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("get_weather", "get_tide", "get")
]
SCENARIOS = [
    *(f"odd_tool_calls;shape={shape}" for shape in TOOL_CALLS),
    *(f"odd_thinking;shape={shape}" for shape in THINKING),
    *(f"odd_messages;shape={shape}" for shape in MESSAGES),
    *(f"{scenario};{SHORT}" for scenario in ODD if "huge_event" not in scenario),
    f"half_emoji;{SHORT}",
    "ok;calls=3;reasoning=2",
    "refusal",
]


def said(output: Iterable[Any]) -> list[Any]:
    """What an output says, without the ids, and without what only a stream has twice."""
    told: list[Any] = []
    for item in output:
        if item["type"] == "message":
            told += [(part["type"], part.get("text", part.get("refusal"))) for part in item["content"]]
        elif item["type"] == "function_call":
            told.append(("call", item["name"], item["arguments"]))
        elif item["type"] == "reasoning":
            told.append(("thought", "".join(part["text"] for part in item["content"])))
    return sorted(told, key=str)


def in_pieces(events: list[Any]) -> list[Any]:
    """What the events say piece by piece, as the SDKs' accumulators join them: an item's end has the last word."""
    return said([event["item"] for event in events if event["type"] == "response.output_item.done"])


def chats(completion: Any) -> list[Any]:
    message = completion["choices"][0]["message"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    told: list[Any] = [("thought", thought)] if thought else []
    told += [("output_text", content)] if content else []
    told += [("refusal", message["refusal"])] if message.get("refusal") else []
    calls = [call["function"] for call in message.get("tool_calls", ())]
    calls += [message["function_call"]] if message.get("function_call") else []
    told += [("call", call["name"], call["arguments"]) for call in calls]
    return sorted(told, key=str)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_stream_says_what_the_whole_says(rig: Rig, scenario: str) -> None:
    for _ in range(3):
        rig.sandbox.script(scenario)
    whole = (await API.ask(rig, tools=TOOLS)).json()
    streamed = await API.ask(rig, tools=TOOLS, stream=True)
    chat_tools = [{"type": "function", "function": {"name": tool["name"], "parameters": {}}} for tool in TOOLS]
    completion = (await rig.chat(tools=chat_tools)).json()

    API.check_stream(streamed)
    events = API.events(streamed)
    assert said(whole["output"]) == chats(completion)
    assert said(events[-1]["response"]["output"]) == said(whole["output"])
    assert in_pieces(events) == said(whole["output"])
    texts = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert texts == "".join(words for kind, words, *_ in said(whole["output"]) if kind == "output_text")
    assert events[-1]["response"]["usage"].keys() == whole["usage"].keys()
    assert json.loads(json.dumps(whole)) == whole
