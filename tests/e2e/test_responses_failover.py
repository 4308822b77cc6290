"""A model whose targets are of two kinds: those that relay responses, and those that are asked by a chat."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Rig

MIXED = f"""
models:
  gpt-4o:
    targets:
      - {{upstream: backup, operation: responses, price: {{input: 2.50, output: 10.00}}}}
      - {{upstream: piapi, price: {{input: 1.875, output: 7.50}}}}
  gpt-4.1:
    targets:
      - {{upstream: piapi, price: {{input: 1.50, output: 6.00}}}}
      - {{upstream: backup, operation: responses, price: {{input: 2.00, output: 8.00}}}}
keys:
  - {{name: alice, team: growth, key: {ALICE}}}
"""
RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
WEATHER: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
async def rig(gateway: StartGateway) -> Rig:
    return await gateway(MIXED)


def asked(rig: Rig) -> list[tuple[str, str]]:
    return [(request.role, request.path) for request in rig.sandbox.requests]


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1"])
async def test_the_targets_that_have_the_route_come_first(rig: Rig, model: str) -> None:
    response = await rig.openai().responses.create(model=model, input=PROMPT)
    assert response.output_text == "SANDBOX: a response by nobody."
    assert asked(rig) == [("backup", RESPONSES)]


FAULTS = (
    *("server_error", "reset_before_head", "rate_limited", "html_200", "bad_gateway", "bad_json", "empty_body"),
    *("model_missing", "key_invalid", "cf_origin_down", "cut_early"),
)


STREAM_FAULTS = ("sse_error_first", "cut;after_events=2", "sse_empty")


@pytest.mark.parametrize(
    ("fault", "stream"),
    [(fault, stream) for fault in FAULTS for stream in (True, False)] + [(fault, True) for fault in STREAM_FAULTS],
)
async def test_a_fault_before_the_first_word_is_not_noticed(rig: Rig, fault: str, stream: bool) -> None:
    rig.sandbox.script(fault, role="backup", times=None)
    raw = await rig.openai().responses.with_raw_response.create(model="gpt-4o", input=PROMPT, stream=stream)
    answer: Any = raw.parse()
    if stream:
        events = [event async for event in answer]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
        assert events[-1].type == "response.completed"
        assert {event.response.id for event in events if hasattr(event, "response")} == {events[0].response.id}
        answer = events[-1].response
    assert answer.status == "completed"
    assert answer.output_text
    assert raw.headers["x-gateway-upstream"] == "piapi"
    assert asked(rig)[-1] == ("api", CHAT)
    row = await rig.row()
    assert row.outcomes[-1] == "ok"
    assert row.charged == sum(line.amount or 0 for line in rig.sandbox.bill)
    assert (await rig.openai().responses.retrieve(answer.id)).id == answer.id  # kept here, since a chat made it


async def test_all_that_a_chat_can_have_is_carried_over(rig: Rig) -> None:
    rig.sandbox.script("server_error", role="backup", times=None)
    raw = await rig.openai().responses.with_raw_response.create(
        model="gpt-4o",
        instructions="Be brief.",
        input=PROMPT,
        tools=[WEATHER],
        max_output_tokens=50,
        include=["reasoning.encrypted_content"],
    )
    sent = rig.sandbox.requests[-1].json
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["tools"][0]["function"]["name"] == "weather"
    assert raw.headers["x-gateway-note"] == "ignored: include reasoning.encrypted_content"


async def test_what_a_relayed_answer_has_is_not_said_to_be_ignored(rig: Rig) -> None:
    raw = await rig.openai().responses.with_raw_response.create(
        model="gpt-4o", input=PROMPT, include=["reasoning.encrypted_content"]
    )
    assert "x-gateway-note" not in raw.headers


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"truncation": "newest"}, "truncation"),
        ({"reasoning": {"depth": 3}}, "reasoning.depth"),
        ({"background": True}, "background"),
    ],
)
async def test_what_no_chat_can_have_is_asked_of_the_relays_alone(rig: Rig, fields: Any, reason: str) -> None:
    sdk = rig.openai()
    assert (await sdk.responses.create(model="gpt-4o", input=PROMPT, **fields)).status == "completed"
    rig.sandbox.script("server_error", role="backup", times=None)
    with pytest.raises(openai.APIStatusError) as failed:
        await sdk.responses.create(model="gpt-4o", input=PROMPT, **fields)
    assert failed.value.status_code == 502
    assert reason in failed.value.message
    assert {role for role, _ in asked(rig)} == {"backup"}


async def test_what_goes_on_from_a_relayed_answer_is_asked_where_that_is_kept(rig: Rig) -> None:
    sdk = rig.openai()
    response = await sdk.responses.create(model="gpt-4o", input=PROMPT)
    rig.sandbox.script("server_error", role="backup", times=None)
    with pytest.raises(openai.APIStatusError) as failed:
        await sdk.responses.create(model="gpt-4o", input="and?", previous_response_id=response.id)
    assert "kept by 'backup' alone" in failed.value.message
    assert {role for role, _ in asked(rig)} == {"backup"}


async def test_what_goes_on_from_an_answer_kept_here_is_asked_by_a_chat(rig: Rig) -> None:
    sdk = rig.openai()
    rig.sandbox.script("server_error", role="backup")
    rig.sandbox.script("server_error", role="backup")
    response = await sdk.responses.create(model="gpt-4o", input=PROMPT)
    assert asked(rig)[-1][1] == CHAT
    again = await sdk.responses.create(model="gpt-4o", input="and?", previous_response_id=response.id)
    assert again.previous_response_id == response.id
    assert asked(rig)[-1] == ("api", CHAT)
    assert rig.sandbox.requests[-1].json["messages"][0]["content"] == PROMPT


async def test_a_client_at_fault_is_told_so_and_nothing_else(rig: Rig) -> None:
    rig.sandbox.script("rejected", role="backup", times=None)
    with pytest.raises(openai.BadRequestError) as refused:
        await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[{"type": "web_search"}])
    assert "chat" not in refused.value.message
    assert asked(rig) == [("backup", RESPONSES)]


async def test_a_stream_that_breaks_off_after_content_is_not_begun_again(rig: Rig) -> None:
    rig.sandbox.script("cut;after_events=6", role="backup")
    stream: Any = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, stream=True)
    assert [event.type async for event in stream][-1] == "response.failed"
    assert asked(rig) == [("backup", RESPONSES)]


async def test_a_key_with_a_budget_fails_over_as_well(gateway: StartGateway) -> None:
    rig = await gateway(MIXED.rstrip().removesuffix("}") + ", budget: 0.01/day}")
    rig.sandbox.script("server_error", role="backup", times=None)
    response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT, max_output_tokens=50)
    assert response.status == "completed"
    row = await rig.row()
    assert 0 < row.charged == sum(line.amount or 0 for line in rig.sandbox.bill)


async def test_pictures_are_made_where_the_chat_orders_them(rig: Rig) -> None:
    for fault in ("server_error", "server_error"):
        rig.sandbox.script(fault, role="backup")
    rig.sandbox.script("ok;calls=1", role="api")
    tool: Any = {"type": "image_generation", "model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
    stream: Any = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[tool], stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    [item] = events[-1].response.output
    assert (item.type, item.status) == ("image_generation_call", "completed")
    assert [path for _, path in asked(rig)][-2:] == [CHAT, "/v1/images/generations"]


async def test_a_relay_that_makes_pictures_itself_is_passed_on(rig: Rig) -> None:
    tool: Any = {"type": "image_generation", "model": "gpt-image-2"}
    response = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, tools=[tool])
    assert response.status == "completed"
    assert asked(rig) == [("backup", RESPONSES)]
