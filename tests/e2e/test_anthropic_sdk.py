"""Anthropic's own SDK against the gateway: over a chat model, and over an upstream that is relayed to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from gateway.sandbox import Sandbox

from .claude import MODEL, PROMPT, either, relayed
from .conftest import StartGateway
from .harness import ALICE, Rig

WEATHER: Any = {
    "name": "get_weather",
    "description": "tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASKED: Any = {"model": MODEL, "max_tokens": 500, "messages": PROMPT}
KINDS = ("translated", "relayed")


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, sandbox: Sandbox, gateway: StartGateway) -> Rig:
    return await gateway(relayed(sandbox) if request.param == "relayed" else either(sandbox, "piapi", "backup"))


@pytest.fixture
async def claude(rig: Rig) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=rig.gateway.main_url, api_key=ALICE, max_retries=0) as client:
        yield client


async def test_a_message(rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    message = await claude.messages.create(
        **ASKED, system="Be brief.", stop_sequences=["\n\n"], extra_body={"top_k": 5}
    )
    (block,) = message.content
    assert block.type == "text"
    assert block.text.endswith(PROMPT[0]["content"])
    assert (message.stop_reason, message.role, message.type) == ("end_turn", "assistant", "message")
    assert message._request_id is not None
    assert message._request_id.startswith("req_")
    row = await rig.row()
    assert (message.usage.input_tokens, message.usage.output_tokens) == (row.input_tokens, row.output_tokens)


async def test_a_stream(rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    whole = await claude.messages.create(**ASKED)
    async with claude.messages.stream(**ASKED) as stream:
        kinds = [event.type async for event in stream]
        message = await stream.get_final_message()
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert message.content[0].to_dict() | {"citations": None} == whole.content[0].to_dict() | {"citations": None}
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
    one, other = await rig.rows(2)
    assert one.charged == other.charged


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_tool_is_called_and_answers_while_hosts_fail(
    stream: bool, rig: Rig, claude: anthropic.AsyncAnthropic
) -> None:
    asked: Any = {**ASKED, "tools": [WEATHER], "tool_choice": {"type": "tool", "name": "get_weather"}}
    if stream:
        async with claude.messages.stream(**asked) as opened:
            called: Any = await opened.get_final_message()
    else:
        called = await claude.messages.create(**asked)
    (call,) = called.content
    assert (call.type, call.name, set(call.input)) == ("tool_use", "get_weather", {"city"})
    assert called.stop_reason == "tool_use"

    for role in ("api", "proxy"):
        rig.sandbox.script("server_error", role=role, times=None)  # in the middle of the work
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny"}]}
    turns: Any = [*PROMPT, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    told = await claude.messages.create(model=MODEL, max_tokens=500, messages=turns, tools=[WEATHER])
    assert [block.to_dict()["text"] for block in told.content] == ["Sandbox ✓ The tool said: sunny"]
    assert rig.sandbox.requests[-1].role == "backup"


async def test_thoughts_are_sent_back(rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    rig.sandbox.script("reasoning")
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    async with claude.messages.stream(**{**ASKED, "max_tokens": 2048}, thinking=thinking) as opened:
        message: Any = await opened.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking
    turns: Any = [*PROMPT, {"role": "assistant", "content": message.content}, {"role": "user", "content": "Sure?"}]
    again = await claude.messages.create(model=MODEL, max_tokens=2048, messages=turns, thinking=thinking)
    assert again.content


async def test_the_beta_calls(rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    message = await claude.beta.messages.create(**ASKED, betas=["context-1m-2025-08-07"])
    assert message.content
    (asked,) = rig.sandbox.requests
    sent = asked.get(b"anthropic-beta")
    assert sent == (b"context-1m-2025-08-07" if asked.path == "/v1/messages" else None)


async def test_tokens_are_counted(claude: anthropic.AsyncAnthropic) -> None:
    counted: Any = {"model": MODEL, "messages": PROMPT}
    short = await claude.messages.count_tokens(**counted)
    longer = await claude.messages.count_tokens(**counted, system="Be brief, and then some more.")
    assert 0 < short.input_tokens < longer.input_tokens


@pytest.mark.parametrize(
    ("scenario", "raised"),
    [
        ("rejected", anthropic.BadRequestError),
        ("too_large", anthropic.APIStatusError),
        ("conflict", anthropic.ConflictError),
        ("model_missing", anthropic.NotFoundError),
        ("rate_limited;retry_after=30", anthropic.RateLimitError),
        ("server_error", anthropic.InternalServerError),
        ("key_invalid", anthropic.InternalServerError),
        ("status;code=529", anthropic.InternalServerError),
        ("key_unfunded", anthropic.InternalServerError),
    ],
    ids=str,
)
async def test_errors_are_those_that_it_knows(
    scenario: str, raised: type[anthropic.APIStatusError], rig: Rig, claude: anthropic.AsyncAnthropic
) -> None:
    rig.for_all_roles(scenario)
    with pytest.raises(raised) as whole:
        await claude.messages.create(**ASKED)
    assert whole.value.request_id == whole.value.response.headers["x-request-id"]
    assert isinstance(whole.value.body, dict)
    assert whole.value.body["type"] == "error"
    with pytest.raises(raised):
        async with claude.messages.stream(**ASKED) as stream:
            await stream.until_done()


async def test_models_are_listed(claude: anthropic.AsyncAnthropic) -> None:
    names = [model.id async for model in claude.models.list()]
    assert MODEL in names
    assert (await claude.models.retrieve(MODEL)).id == MODEL


async def test_keys_and_requests_that_are_wrong(claude: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.AuthenticationError):
        await claude.with_options(api_key="gw-of-nobody-00000000").messages.create(**ASKED)
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await claude.messages.create(**{**ASKED, "messages": []})


@pytest.mark.parametrize(
    "scenario", ["cut;after_events=5", "sse_error_late;after_events=6;code=529", "clean_eof;after_events=6"]
)
async def test_a_stream_that_breaks_off_raises(scenario: str, rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    rig.sandbox.script(scenario)
    with pytest.raises(anthropic.APIStatusError) as raised:
        async with claude.messages.stream(**ASKED) as stream:
            await stream.until_done()
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["error"]["type"] == "api_error"
    assert (await rig.row()).state == "settled"


async def test_it_sends_again_what_may_be(rig: Rig, claude: anthropic.AsyncAnthropic) -> None:
    """A limit that is over in a moment: its own retry finds the way, by what the gateway says of it."""
    for role in ("api", "proxy", "backup"):
        rig.sandbox.script("rate_limited;retry_after=7", role=role, times=2)
    with pytest.raises(anthropic.RateLimitError) as raised:
        await claude.messages.create(**ASKED)
    assert raised.value.response.headers["x-should-retry"] == "true"
    assert raised.value.response.headers["retry-after"] == "7"
