"""Anthropic's Messages API over chat models, asked with its own SDK, and with bare bytes for what goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from .conftest import StartGateway
from .faults import AFTER_CONTENT, BEFORE_CONTENT, Fault, LateFault
from .harness import ALICE, Answer, Rig
from .streams import SHORT
from .test_odd_streams import ODD
from .test_policy_table import ASKED, configured

PROMPT: Any = [{"role": "user", "content": "hello from a confidential prompt"}]
WEATHER: Any = {
    "name": "weather",
    "description": "tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ERROR_TYPES = {
    400: "invalid_request_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""https://docs.anthropic.com/en/api/errors, and what comes nearest."""


@pytest.fixture
async def claude(rig: Rig) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with sdk(rig) as client:
        yield client


def sdk(rig: Rig, **options: Any) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=rig.gateway.main_url, api_key=ALICE, max_retries=0, **options)


async def messages(rig: Rig, **fields: Any) -> Answer:
    body = {"model": "gpt-4o", "max_tokens": 500, "messages": PROMPT, **fields}
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), None, {"x-api-key": ALICE}, target="/v1/messages")
        return await client.answer()


def events(answer: Answer) -> list[dict[str, Any]]:
    """A stream's events. Comments, which keep it alive, are left out."""
    return [json.loads(payload) for payload in answer.payloads]


def error_of(document: dict[str, Any]) -> dict[str, Any]:
    """``{"type": "error", "error": {"type", "message"}, "request_id"}``, and nothing else."""
    assert set(document) == {"type", "error", "request_id"}
    assert document["request_id"].startswith("req_")
    assert document["type"] == "error"
    error: dict[str, Any] = document["error"]
    assert set(error) == {"type", "message"}
    assert error["message"]
    return error


class TestWithTheSDK:
    async def test_a_message(self, rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
        message = await claude.messages.create(model="gpt-4o", max_tokens=500, messages=PROMPT, system="Be brief.")
        (block,) = message.content
        assert block.type == "text"
        assert block.text.endswith(PROMPT[0]["content"])
        assert message.stop_reason == "end_turn"
        (row,) = await rig.rows(1)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (row.input_tokens, row.output_tokens)
        assert row.charged == rig.sandbox.bill[0].amount
        assert row.charged is not None
        assert row.charged > 0
        figures = await rig.figures()
        assert figures.total("gateway_requests_total", route="/v1/messages", key="alice", model="gpt-4o") == 1
        sent = json.loads(rig.sandbox.requests[0].body)
        assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
        assert sent["max_completion_tokens"] == 500

    async def test_a_stream_says_the_same(self, rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
        async with claude.messages.stream(model="gpt-4o", max_tokens=500, messages=PROMPT) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            message = await stream.get_final_message()
        assert text.endswith(PROMPT[0]["content"])
        (row,) = await rig.rows(1)
        assert (message.usage.input_tokens, message.usage.output_tokens) == (row.input_tokens, row.output_tokens)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_a_tool_is_called_and_answers(self, stream: bool, rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
        asked: Any = {"model": "gpt-4o", "max_tokens": 500, "tools": [WEATHER], "tool_choice": {"type": "any"}}
        if stream:
            async with claude.messages.stream(messages=PROMPT, **asked) as open_stream:
                called: Any = await open_stream.get_final_message()
        else:
            called = await claude.messages.create(messages=PROMPT, **asked)
        (call,) = called.content
        assert (call.type, call.name, set(call.input)) == ("tool_use", "weather", {"city"})
        assert called.stop_reason == "tool_use"
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns: Any = [*PROMPT, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
        told = await claude.messages.create(model="gpt-4o", max_tokens=500, messages=turns, tools=[WEATHER])
        assert told.content
        sent = json.loads(rig.sandbox.requests[-1].body)["messages"]
        assert [one["role"] for one in sent] == ["user", "assistant", "tool"]
        assert sent[2] == {"role": "tool", "tool_call_id": call.id, "content": "sunny"}

    async def test_tokens_are_counted_without_asking_an_upstream(
        self, rig: Rig, claude: anthropic.AsyncAnthropic
    ) -> None:
        short = await claude.messages.count_tokens(model="gpt-4o", messages=PROMPT)
        asked: Any = {"model": "gpt-4o", "messages": PROMPT, "system": "Be brief.", "tools": [WEATHER]}
        longer = await claude.messages.count_tokens(**asked)
        assert 0 < short.input_tokens < longer.input_tokens
        assert rig.sandbox.requests == []

    async def test_errors_are_anthropics(self, rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
        with pytest.raises(anthropic.BadRequestError, match="web_search"):
            await claude.messages.create(
                model="gpt-4o",
                max_tokens=5,
                messages=PROMPT,
                tools=[{"type": "web_search_20250305", "name": "web_search"}],
            )
        with pytest.raises(anthropic.AuthenticationError):
            await claude.with_options(api_key="gw-nobodys-key-00000").messages.create(
                model="gpt-4o", max_tokens=5, messages=PROMPT
            )
        rig.for_all_roles("rate_limited;retry_after=30")
        with pytest.raises(anthropic.RateLimitError) as raised:
            await claude.messages.create(model="gpt-4o", max_tokens=5, messages=PROMPT)
        assert raised.value.response.headers["retry-after"] == "30"

    async def test_what_has_no_effect_is_noted(self, claude: anthropic.AsyncAnthropic) -> None:
        answer = await claude.messages.with_raw_response.create(
            model="gpt-4o", max_tokens=5, messages=PROMPT, metadata={"user_id": "u"}
        )
        assert answer.headers["x-gateway-note"] == "ignored: metadata"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", BEFORE_CONTENT, ids=str)
async def test_a_fault_before_content_is_not_seen(fault: Fault, stream: bool, gateway: StartGateway) -> None:
    """As in test_policy_table.py: another serves it; or, where none may be asked, the error is told."""
    rig = await gateway(configured(fault.config))
    rig.sandbox.script(fault.scenario, role="api")
    answer = await messages(rig, stream=stream)
    if fault.next == "nobody":
        assert answer.status == fault.told[0]
        assert error_of(answer.json())["type"] == ERROR_TYPES[answer.status]
        assert [request.role for request in rig.sandbox.requests] == ["api"]
        return
    assert answer.status == 200
    assert [request.role for request in rig.sandbox.requests] == ASKED[fault.next][:2]
    if stream:
        kinds = [event["type"] for event in events(answer)]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        assert "error" not in kinds
    else:
        assert answer.json()["stop_reason"] == "end_turn"
    row = await rig.row()
    assert (row.outcomes, row.state) == ([fault.slug, "ok"], "settled")
    assert row.charged == [line.amount for line in rig.sandbox.bill][-1]


@pytest.mark.parametrize("fault", [fault for fault in BEFORE_CONTENT if fault.next != "nobody"], ids=str)
async def test_a_fault_of_all_is_told_as_anthropic_tells_it(fault: Fault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault.config))
    rig.for_all_roles(fault.scenario)
    answer = await messages(rig, stream=True)
    assert answer.status == fault.told[0]
    assert error_of(answer.json())["type"] == ERROR_TYPES[answer.status]
    assert answer.header("retry-after") == fault.retry_after
    assert (await rig.row()).charged == 0


@pytest.mark.parametrize("fault", AFTER_CONTENT, ids=str)
async def test_a_stream_that_breaks_off_ends_in_an_error(fault: LateFault, gateway: StartGateway) -> None:
    rig = await gateway(configured(fault.config))
    rig.sandbox.script(fault.scenario, role="api")
    answer = await messages(rig, stream=True)
    assert answer.status == 200
    told = events(answer)
    kinds = [event["type"] for event in told]
    assert kinds[0] == "message_start"
    assert "message_stop" not in kinds
    assert error_of(told[-1])["type"] == "api_error"
    row = await rig.row()
    assert (row.outcomes, row.state, row.status) == ([fault.slug], "settled", 502)
    assert row.charged > 0


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("scenario", [one for one in ODD if "huge" not in one])
async def test_odd_streams_say_what_an_honest_one_says(scenario: str, stream: bool, rig: Rig) -> None:
    rig.sandbox.script(f"ok;{SHORT}")
    honest = (await messages(rig)).json()["content"][0]["text"]
    rig.sandbox.script(f"{scenario};{SHORT}")
    answer = await messages(rig, stream=stream)
    if stream:
        deltas = [event["delta"] for event in events(answer) if event["type"] == "content_block_delta"]
        assert "".join(delta.get("text", "") for delta in deltas) == honest
    else:
        assert "".join(block["text"] for block in answer.json()["content"]) == honest


async def test_a_budget_that_is_spent_is_told_before_anything_is_bought(gateway: StartGateway) -> None:
    rig = await gateway(f"keys: [{{name: alice, key: {ALICE}, budget: 0.000001/day}}]")
    answer = await messages(rig)
    assert answer.status == 429
    assert error_of(answer.json())["type"] == "rate_limit_error"
    assert rig.sandbox.requests == []
