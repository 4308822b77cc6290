"""``POST /v1/responses`` relayed to upstreams that have it: byte for byte, and gone on from where it is kept."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import ALICE, FLUX_ONLY, PROMPT, Rig, eventually

BOB = "gw-bob-0011223344556677"
RELAYED = f"""
models:
  gpt-4o:
    targets:
      - {{upstream: piapi, price: {{input: 1.875, output: 7.50}}}}
      - {{upstream: backup, operation: responses, price: {{input: 2.50, output: 10.00}}}}
  gpt-4.1:
    targets:
      - {{upstream: piapi, operation: responses, price: {{input: 1.50, output: 6.00}}}}
      - {{upstream: backup, operation: responses, price: {{input: 2.00, output: 8.00}}}}
upstreams:
  backup:
    keys: [{{name: first, value: sk-backup-first-0001}}, {{name: second, value: sk-backup-second-0002}}]
keys:
  - {{name: alice, team: growth, key: {ALICE}}}
  - {{name: bob, key: {BOB}}}
  - {{name: carol, key: {FLUX_ONLY}, models: [flux-*]}}
"""


@pytest.fixture
async def rig(gateway: StartGateway) -> Rig:
    return await gateway(RELAYED)


async def test_a_whole_answer_passes_as_it_came(rig: Rig) -> None:
    raw = await rig.openai().responses.with_raw_response.create(
        model="gpt-4o", input=PROMPT, tools=[{"type": "web_search"}]
    )
    response = raw.parse()
    assert response.output_text == "SANDBOX: a response by nobody."
    (request,) = rig.sandbox.requests
    assert (request.role, request.path) == ("backup", "/v1/responses")
    assert request.json["tools"] == [{"type": "web_search"}]
    assert response.usage is not None
    assert response.usage.model_extra == {}
    row = await rig.row()
    assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")
    assert float(raw.headers["x-gateway-cost-usd"]) == row.charged / 1e9


async def test_a_stream_passes_event_by_event(rig: Rig) -> None:
    stream: Any = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, stream=True)
    kinds = [event.type async for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    row = await rig.row()
    assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_goes_on_is_asked_of_the_same_upstream_with_the_same_key(rig: Rig, stream: bool) -> None:
    sdk = rig.openai()

    async def ask(**fields: Any) -> str:
        answer: Any = await sdk.responses.create(model="gpt-4.1", input=PROMPT, stream=stream, **fields)
        if stream:
            answer = [event async for event in answer][-1].response
        return str(answer.id)

    rig.sandbox.script("server_error", role="api")
    rig.sandbox.script("server_error", role="proxy")
    first = await ask()
    assert rig.sandbox.requests[-1].role == "backup"
    key = rig.sandbox.requests[-1].key
    for _ in range(4):
        previous = first
        first = await ask(previous_response_id=previous)
        request = rig.sandbox.requests[-1]
        assert (request.role, request.key) == ("backup", key)
        assert request.json["previous_response_id"] == previous


async def test_what_goes_on_fails_where_it_is_kept_alone(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4o", input=PROMPT)
    rig.sandbox.script("rate_limited;retry_after=30", role="backup", times=None)
    with pytest.raises(openai.RateLimitError):
        await rig.openai().responses.create(model="gpt-4o", input=PROMPT, previous_response_id=response.id)
    assert len({request.key for request in rig.sandbox.requests}) == 1


async def test_what_is_anothers_is_not_there(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)
    for named in ({"previous_response_id": response.id}, {"previous_response_id": "resp_unknown"}):
        with pytest.raises(openai.NotFoundError) as refused:
            await rig.openai(api_key=BOB).responses.create(model="gpt-4.1", input=PROMPT, **named)
        assert refused.value.code == "response_not_found"
    id = response.output[0].id
    items: list[Any] = [
        {"type": "item_reference", "id": id},
        {"id": id},
        {"type": "reasoning", "id": id, "summary": []},
    ]
    for named in items:
        with pytest.raises(openai.NotFoundError):
            await rig.openai(api_key=BOB).responses.create(model="gpt-4.1", input=[named])
    item: Any = [items[0]]
    assert len(rig.sandbox.requests) == 1
    assert (await rig.openai().responses.create(model="gpt-4.1", input=item)).status == "completed"


async def test_a_stream_that_is_cut_ends_in_a_failure(rig: Rig) -> None:
    rig.sandbox.script("cut;after_events=6", role="backup")
    stream: Any = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events][-2:] == ["response.output_text.delta", "response.failed"]
    assert [event.sequence_number for event in events] == list(range(7))
    failed = events[-1].response
    assert (failed.status, failed.id, failed.error.code) == ("failed", events[0].response.id, "server_error")
    row = await rig.row()
    assert row.outcomes == ["sse_cut_late"]
    assert row.charged > 0


@pytest.mark.parametrize("scenario", ["server_error", "cut;after_events=2", "html_200", "sse_error_first"])
async def test_another_upstream_is_asked_before_the_first_word(rig: Rig, scenario: str) -> None:
    rig.sandbox.script(scenario, role="api")
    stream: Any = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT, stream=True)
    assert [event.type async for event in stream][-1] == "response.completed"
    assert [request.role for request in rig.sandbox.requests] == ["api", "proxy"]


async def test_a_model_without_such_a_target_is_translated(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4o-mini", input=PROMPT)
    assert rig.sandbox.requests[0].path == "/v1/chat/completions"
    again = await rig.openai().responses.create(model="gpt-4o", input=PROMPT, previous_response_id=response.id)
    assert rig.sandbox.requests[1].path == "/v1/chat/completions"
    assert again.previous_response_id == response.id


async def test_chats_go_on_as_chats(rig: Rig) -> None:
    assert (await rig.chat()).status == 200
    assert rig.sandbox.requests[0].path == "/v1/chat/completions"
    answer = await rig.chat(model="gpt-4.1")
    assert answer.status == 404
    assert "models: {gpt-4.1: {targets: [{upstream: backup}]}}" in answer.error()["message"]


async def test_what_is_kept_at_an_upstream_is_read_there(rig: Rig) -> None:
    sdk = rig.openai()
    response = await sdk.responses.create(model="gpt-4.1", input=PROMPT)
    made = rig.sandbox.requests[0]
    assert (await sdk.responses.retrieve(response.id)).id == response.id
    assert [item async for item in await sdk.responses.input_items.list(response.id, limit=5)] == []
    await sdk.responses.delete(response.id)
    read = rig.sandbox.requests[1:]
    assert [request.method for request in read] == ["GET", "GET", "DELETE"]
    assert {(request.role, request.key) for request in read} == {(made.role, made.key)}
    assert read[1].request.target == f"/v1/responses/{response.id}/input_items?limit=5"
    for ask in (sdk, rig.openai(api_key=BOB)):
        with pytest.raises(openai.NotFoundError):
            await ask.responses.retrieve("resp_unknown" if ask is sdk else response.id)
    assert len(rig.sandbox.requests) == 4


async def test_a_host_that_fails_is_followed_by_the_next_one_when_it_is_read(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)
    rig.sandbox.script("server_error", role="api")
    assert (await rig.openai().responses.retrieve(response.id)).id == response.id
    assert [request.role for request in rig.sandbox.requests] == ["api", "api", "proxy"]


async def test_its_events_are_told_again_by_its_upstream(rig: Rig) -> None:
    sdk = rig.openai()
    response = await sdk.responses.create(model="gpt-4.1", input=PROMPT)
    rig.sandbox.script("server_error", role="api")
    events = [event async for event in await sdk.responses.retrieve(response.id, stream=True)]
    assert [event.type for event in events] == ["response.created", "response.in_progress", "response.completed"]
    rest = [event async for event in await sdk.responses.retrieve(response.id, stream=True, starting_after=1)]
    assert [event.sequence_number for event in rest] == [2]
    assert [request.role for request in rig.sandbox.requests] == ["api", "api", "proxy", "api"]
    assert rig.sandbox.requests[-1].request.target.endswith("?starting_after=1&stream=true")
    with pytest.raises(openai.NotFoundError):
        await rig.openai(api_key=BOB).responses.retrieve(response.id, stream=True)


async def test_a_stream_that_its_client_left_is_known_by_its_first_event(rig: Rig) -> None:
    rig.sandbox.script("slow;delay=20", role="api")
    stream: Any = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT, stream=True)
    id = (await stream.__anext__()).response.id
    await stream.close()
    await rig.row()
    assert (await rig.openai().responses.retrieve(id)).id == id
    assert [request.role for request in rig.sandbox.requests] == ["api", "api"]


async def test_events_that_break_off_end_in_an_error(rig: Rig) -> None:
    response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)
    rig.sandbox.script("cut;after_events=1", role="api")
    with pytest.raises(openai.APIError):
        [event async for event in await rig.openai().responses.retrieve(response.id, stream=True)]


class TestCompaction:
    async def test_it_is_relayed_and_its_output_is_an_input(self, rig: Rig) -> None:
        raw = await rig.openai().responses.with_raw_response.compact(model="gpt-4.1", input=PROMPT)
        compaction = raw.parse()
        (request,) = rig.sandbox.requests
        assert request.path == "/v1/responses/compact"
        row = await rig.row()
        assert (row.charged, row.confidence) == (rig.sandbox.bill[0].amount, "measured")
        assert float(raw.headers["x-gateway-cost-usd"]) == row.charged / 1e9
        output: Any = [item.to_dict() for item in compaction.output]
        assert output[0]["encrypted_content"] == "gAAAAsandbox"
        await rig.openai().responses.create(model="gpt-4.1", input=[*output, {"role": "user", "content": "Go on."}])
        assert rig.sandbox.requests[-1].json["input"][0] == output[0]

    async def test_what_is_kept_at_an_upstream_is_summed_up_there(self, rig: Rig) -> None:
        sdk = rig.openai()
        response = await sdk.responses.create(model="gpt-4o", input=PROMPT)
        await sdk.responses.compact(model="gpt-4o", previous_response_id=response.id)
        first, second = rig.sandbox.requests
        assert (second.role, second.key, second.path) == (first.role, first.key, "/v1/responses/compact")
        with pytest.raises(openai.NotFoundError):
            await rig.openai(api_key=BOB).responses.compact(model="gpt-4o", previous_response_id=response.id)

    async def test_a_chat_sums_up_where_relays_fail(self, rig: Rig) -> None:
        rig.sandbox.script("server_error", role="backup", times=None)
        compaction = await rig.openai().responses.compact(model="gpt-4o", input=PROMPT)
        assert rig.sandbox.requests[-1].path == "/v1/chat/completions"
        assert compaction.output[-1].type == "compaction"


class TestCounting:
    async def test_what_a_chat_can_have_is_counted_here(self, rig: Rig) -> None:
        counted = await rig.openai().responses.input_tokens.count(model="gpt-4.1", input=PROMPT)
        assert counted.input_tokens > 0
        assert rig.sandbox.requests == []

    @pytest.mark.parametrize("fields", [{"tools": [{"type": "web_search"}]}, {"previous": True}], ids=str)
    async def test_all_else_is_counted_by_the_upstream(self, rig: Rig, fields: Any) -> None:
        sdk = rig.openai()
        if fields.pop("previous", False):
            fields["previous_response_id"] = (await sdk.responses.create(model="gpt-4.1", input=PROMPT)).id
        counted = await sdk.responses.input_tokens.count(model="gpt-4.1", input=PROMPT, **fields)
        assert counted.input_tokens == len(PROMPT.split())
        request = rig.sandbox.requests[-1]
        assert (request.path, request.json) == (
            "/v1/responses/input_tokens",
            {"model": "gpt-4.1", "input": PROMPT, **fields},
        )

    async def test_what_cannot_be_counted_is_refused(self, rig: Rig) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await rig.openai().responses.input_tokens.count(
                model="gpt-4o-mini", input=PROMPT, tools=[{"type": "web_search"}]
            )
        assert refused.value.param == "tools[0].type"


class TestAfterARestart:
    async def test_what_goes_on_finds_where_it_is_kept(self, rig: Rig) -> None:
        sdk = rig.openai()
        stream: Any = await sdk.responses.create(model="gpt-4.1", input=PROMPT, stream=True)
        response = [event async for event in stream][-1].response
        made = rig.sandbox.requests[-1]
        await rig.restart()
        again = await rig.openai().responses.create(model="gpt-4.1", input="and?", previous_response_id=response.id)
        item: Any = [{"type": "item_reference", "id": response.output[0].id}]
        await rig.openai().responses.create(model="gpt-4.1", input=item, previous_response_id=again.id)
        assert (await rig.openai().responses.retrieve(response.id)).id == response.id
        assert {(one.role, one.key) for one in rig.sandbox.requests[1:]} == {(made.role, made.key)}

    async def test_what_is_anothers_is_still_not_there(self, rig: Rig) -> None:
        response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)
        await rig.restart()
        bob = rig.openai(api_key=BOB)
        for ask in (
            bob.responses.create(model="gpt-4.1", input=PROMPT, previous_response_id=response.id),
            bob.responses.create(model="gpt-4o", input=PROMPT, previous_response_id=response.id),
            bob.responses.retrieve(response.id),
            bob.responses.delete(response.id),
            bob.responses.cancel(response.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await ask
        assert len(rig.sandbox.requests) == 1

    async def test_what_was_deleted_is_asked_of_no_upstream(self, rig: Rig) -> None:
        response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)
        await rig.openai().responses.delete(response.id)
        for _ in range(2):
            with pytest.raises(openai.NotFoundError):
                await rig.openai().responses.retrieve(response.id)
            await rig.restart()
        assert len(rig.sandbox.requests) == 2

    async def test_where_it_was_kept_is_aged_out(self, gateway: StartGateway) -> None:
        rig = await gateway(RELAYED + "responses: {keep: 1s}")
        response = await rig.openai().responses.create(model="gpt-4.1", input=PROMPT)

        async def gone() -> bool:
            return not await rig.gateway._response_places.find("alice", [response.id])

        await eventually(gone, "it is too old")
