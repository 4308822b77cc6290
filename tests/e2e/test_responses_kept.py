"""Responses that are kept: whose they are, what goes on from them, and how they are made in the background."""

from __future__ import annotations

import json
import stat
from typing import Any

import openai
import pytest

from gateway.stores.response_records import StoredResponse

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Answer, RawClient, Rig, eventually

BOB = "gw-bob-111222333444555666"


async def made(rig: Rig, **fields: Any) -> Any:
    return await rig.openai().responses.create(**{"model": "gpt-4o", "input": PROMPT, **fields})


async def path(rig: Rig, method: str, target: str, key: str | None = None) -> Answer:
    """A request without a body."""
    client = await RawClient.connect(rig.gateway.main_url)
    try:
        lines = [f"authorization: Bearer {key}"] if key else []
        return await client.request(method, target, b"", *lines)
    finally:
        await client.close()


class TestWhoseTheyAre:
    async def test_another_key_finds_none(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: bob, key: {BOB}}}, {{name: carol, key: gw-carol-9876543210123}}]")
        mine, other = rig.openai(api_key=BOB), rig.openai(api_key="gw-carol-9876543210123")
        response = await mine.responses.create(model="gpt-4o", input=PROMPT)
        running = await mine.responses.create(model="gpt-4o", input=PROMPT, background=True)
        for id in (response.id, running.id):
            for ask in (
                other.responses.retrieve(id),
                other.responses.delete(id),
                other.responses.cancel(id),
                other.responses.input_items.list(id),
                other.responses.create(model="gpt-4o", input="and?", previous_response_id=id),
            ):
                with pytest.raises(openai.NotFoundError):
                    await ask
        reference: Any = [{"type": "item_reference", "id": response.output[0].id}]
        with pytest.raises(openai.NotFoundError) as foreign:
            await other.responses.create(model="gpt-4o", input=reference)
        assert foreign.value.param == "input[0].id"
        assert (await mine.responses.retrieve(response.id)).id == response.id
        await rig.rows(2)
        assert len(rig.sandbox.requests) == 2

    async def test_they_lie_in_the_store_which_is_private(self, rig: Rig) -> None:
        response = await made(rig)
        await rig.gateway._responses.written()
        await rig.restart()
        found = await rig.openai().responses.retrieve(response.id)
        assert found.output_text == response.output_text
        for file in rig.folder.glob("gateway.db*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600

    async def test_they_are_aged_out(self, gateway: StartGateway) -> None:
        rig = await gateway("responses: {keep: 1s}")
        response = await made(rig)

        async def gone() -> bool:
            return (await path(rig, "GET", f"/v1/responses/{response.id}", ALICE)).status == 404

        await eventually(gone, "it is too old")
        await rig.log_lines("responses_aged_out")

    async def test_with_store_off_nothing_is_kept_whatever_is_asked(self, gateway: StartGateway) -> None:
        rig = await gateway("responses: {store: false}")
        response = await made(rig, store=True)
        assert response.to_dict()["store"] is False
        with pytest.raises(openai.NotFoundError):
            await rig.openai().responses.retrieve(response.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await made(rig, background=True)
        assert refused.value.param == "background"


class TestGoingOn:
    async def test_a_conversation_is_sent_whole_and_its_instructions_are_not(self, rig: Rig) -> None:
        first = await made(rig, instructions="Be brief.", input="one")
        second = await made(rig, input="two", previous_response_id=first.id)
        await made(rig, input="three", previous_response_id=second.id, instructions="Be long.")
        asked = [(message["role"], message["content"]) for message in rig.sandbox.requests[-1].json["messages"]]
        assert asked == [
            ("system", "Be long."),
            ("user", "one"),
            ("assistant", first.output_text),
            ("user", "two"),
            ("assistant", second.output_text),
            ("user", "three"),
        ]

    async def test_a_call_that_was_cut_off_is_not_sent_again(self, rig: Rig) -> None:
        tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
        rig.sandbox.script("cut;after_events=3;calls=1")
        stream = await made(rig, tools=[tool], stream=True)
        failed = [event async for event in stream][-1].response
        assert (failed.status, [item.status for item in failed.output]) == ("failed", ["incomplete"])
        await made(rig, input="and now?", previous_response_id=failed.id)
        roles = [message["role"] for message in rig.sandbox.requests[-1].json["messages"]]
        assert roles == ["user", "user"]

    async def test_what_a_deleted_one_was_gone_on_from_cannot_be(self, rig: Rig) -> None:
        first = await made(rig)
        second = await made(rig, previous_response_id=first.id)
        await rig.openai().responses.delete(first.id)
        with pytest.raises(openai.NotFoundError) as missing:
            await made(rig, previous_response_id=second.id)
        assert (missing.value.code, missing.value.param) == ("previous_response_not_found", "previous_response_id")

    async def test_the_items_of_an_input_come_in_pages(self, rig: Rig) -> None:
        first = await made(rig, input=[{"role": "user", "content": str(number)} for number in range(3)])
        second = await made(rig, input="four", previous_response_id=first.id)
        sdk = rig.openai()
        page = await sdk.responses.input_items.list(second.id, limit=2, order="asc")
        assert page.has_more
        listed = [item async for item in page]
        texts = [item.to_dict()["content"][0]["text"] for item in listed]  # type: ignore[index]
        assert texts == ["0", "1", "2", first.output_text, "four"]
        newest = await sdk.responses.input_items.list(second.id, limit=1)
        assert newest.data[0].id == listed[-1].id
        for wrong in ("limit=0", "limit=x", "order=up", "limit=101"):
            answer = await path(rig, "GET", f"/v1/responses/{second.id}/input_items?{wrong}", ALICE)
            assert answer.status == 400
        gone = await path(rig, "GET", f"/v1/responses/{second.id}/input_items?after=msg_x", ALICE)
        assert (gone.status, gone.error()["code"]) == (404, "item_not_found")


class TestTheBackground:
    async def test_its_events_are_told_as_they_come_and_again_later(self, rig: Rig) -> None:
        sdk = rig.openai()
        streamed = [event async for event in await made(rig, background=True, stream=True)]
        assert [event.type for event in streamed[:3]] == ["response.created", "response.queued", "response.in_progress"]
        assert [event.sequence_number for event in streamed] == list(range(len(streamed)))
        assert streamed[-1].type == "response.completed"
        id = streamed[0].response.id
        await eventually(lambda: not rig.gateway.services.gate, "its end")
        again = [event async for event in await sdk.responses.retrieve(id, stream=True)]
        assert [event.to_dict() for event in again] == [event.to_dict() for event in streamed]
        row = await rig.row()
        assert row.charged > 0

    async def test_who_listens_may_leave_and_come_back(self, rig: Rig) -> None:
        rig.sandbox.script("slow;delay=20")
        sdk = rig.openai()
        stream = await made(rig, background=True, stream=True)
        seen = [await stream.__anext__() for _ in range(5)]
        await stream.close()
        id = seen[0].response.id
        assert (await sdk.responses.retrieve(id)).status == "in_progress"
        rest = [event async for event in await sdk.responses.retrieve(id, stream=True, starting_after=4)]
        assert rest[0].sequence_number == 5
        assert rest[-1].type == "response.completed"
        await rig.row()

    async def test_it_can_be_cancelled(self, rig: Rig) -> None:
        rig.sandbox.script("endless;delay=5")
        sdk = rig.openai()
        queued = await made(rig, background=True)
        cancelled = await sdk.responses.cancel(queued.id)
        assert cancelled.status == "cancelled"
        assert (await sdk.responses.retrieve(queued.id)).status == "cancelled"
        assert (await sdk.responses.cancel(queued.id)).status == "cancelled"
        await rig.row()
        assert (await sdk.responses.retrieve(queued.id)).status == "cancelled"

    async def test_only_what_is_made_there_can_be_cancelled_or_told_again(self, rig: Rig) -> None:
        response = await made(rig)
        with pytest.raises(openai.BadRequestError):
            await rig.openai().responses.cancel(response.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await rig.openai().responses.retrieve(response.id, stream=True)
        assert refused.value.param == "stream"
        with pytest.raises(openai.BadRequestError) as unkept:
            await made(rig, background=True, store=False)
        assert unkept.value.param == "background"

    async def test_what_is_not_let_in_is_refused_at_once(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: bob, key: {BOB}, rpm: 1}}]")
        sdk = rig.openai(api_key=BOB)
        await sdk.responses.create(model="gpt-4o", input=PROMPT)
        with pytest.raises(openai.RateLimitError):
            await sdk.responses.create(model="gpt-4o", input=PROMPT, background=True)

    async def test_an_error_of_all_upstreams_is_a_failed_response(self, rig: Rig) -> None:
        rig.for_all_roles("server_error")
        queued = await made(rig, background=True)
        await eventually(lambda: not rig.gateway.services.gate, "its end")
        failed = await rig.openai().responses.retrieve(queued.id)
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.code == "upstream_error"
        events = [event async for event in await rig.openai().responses.retrieve(queued.id, stream=True)]
        assert events[-1].type == "response.failed"
        await rig.row()

    async def test_what_ran_when_the_gateway_was_stopped_has_failed(self, rig: Rig) -> None:
        answer = {"id": "resp_left", "object": "response", "status": "in_progress", "output": [], "background": True}
        rig.gateway._responses.keep(
            StoredResponse("resp_left", "alice", 1 << 62, None, json.dumps(answer).encode(), b"[]")
        )
        found = await path(rig, "GET", "/v1/responses/resp_left", ALICE)
        assert (found.json()["status"], found.json()["error"]["code"]) == ("failed", "server_error")


class TestIds:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
            ({"input": [{"id": "msg_1"}]}, "input[0].id"),
            ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, "input[0].id"),
            (
                {"input": [{"role": "user", "content": [{"type": "item_reference", "id": "msg_1"}]}]},
                "input[0].content[0].id",
            ),
            (
                {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
                "input[0].content[0].file_id",
            ),
            (
                {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
                "input[0].content[0].file_id",
            ),
            ({"conversation": "conv_1"}, "conversation"),
            ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ],
        ids=str,
    )
    async def test_what_was_not_made_here_is_not_there(self, rig: Rig, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(openai.NotFoundError) as missing:
            await made(rig, **fields)
        assert missing.value.param == param
        assert rig.sandbox.requests == []

    async def test_a_request_refers_to_so_many_items_only(self, rig: Rig) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await made(rig, input=[{"type": "item_reference", "id": f"msg_{number}"} for number in range(1001)])
        assert refused.value.param == "input"

    async def test_ids_in_what_goes_nowhere_are_no_ids(self, rig: Rig) -> None:
        body = {"model": "gpt-4o", "input": PROMPT, "client_metadata": {"thread_id": "t"}, "metadata": {"file_id": "f"}}
        answer = await rig.post(json.dumps(body).encode(), target="/v1/responses")
        assert answer.status == 200
        assert "client_metadata" in (answer.header("x-gateway-note") or "")
        assert rig.sandbox.requests[0].json.keys() == {"model", "messages", "stream", "stream_options"}


class TestBigAnswers:
    @pytest.mark.parametrize("stream", [True, False])
    async def test_what_is_written_in_a_thread_is_kept(self, rig: Rig, stream: bool) -> None:
        rig.sandbox.script("huge_event;size=900000;after_events=3")
        body = {"model": "gpt-4o", "input": PROMPT, "stream": stream}
        answer = await rig.post(json.dumps(body).encode(), target="/v1/responses")
        response = json.loads(answer.payloads[-1])["response"] if stream else answer.json()
        assert len(response["output"][0]["content"][0]["text"]) > 500_000
        found = await path(rig, "GET", f"/v1/responses/{response['id']}", ALICE)
        assert found.json() == response

    async def test_a_long_history_is_bounded_as_a_body_is(self, gateway: StartGateway) -> None:
        rig = await gateway("limits: {body: 40KiB}")
        first = await made(rig, input=f"{PROMPT} {'x' * 30_000}")
        with pytest.raises(openai.APIStatusError) as refused:
            await made(rig, input="y" * 20_000, previous_response_id=first.id)
        assert refused.value.status_code == 413


class TestNotes:
    async def test_what_has_no_effect_is_named(self, rig: Rig) -> None:
        body = {
            "model": "gpt-4o",
            "input": [{"role": "user", "content": PROMPT}, {"type": "reasoning", "summary": []}],
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"summary": "auto"},
            "truncation": "auto",
            "store": False,
        }
        answer = await rig.post(json.dumps(body).encode(), target="/v1/responses")
        note = answer.header("x-gateway-note")
        assert note is not None
        assert note.startswith("ignored: ")
        for name in ("include reasoning.encrypted_content", "truncation", "input reasoning items", "reasoning.summary"):
            assert name in note
        assert float(answer.header("x-gateway-cost-usd") or 0) == answer.json()["usage"]["cost"] > 0
        rig.sandbox.script("reasoning")
        told = await rig.post(json.dumps(body).encode(), target="/v1/responses")
        assert "reasoning.summary" not in (told.header("x-gateway-note") or "")
        assert told.json()["output"][0]["summary"]

    async def test_an_upstreams_refusal_names_the_field_that_was_asked(self, rig: Rig) -> None:
        for role in ("api", "proxy", "backup"):
            rig.sandbox.script("strict_fields", role=role, times=None)  # type: ignore[arg-type]
        with pytest.raises(openai.BadRequestError) as refused:
            await made(rig, temperature=5, max_output_tokens=20)
        assert refused.value.param == "temperature"
