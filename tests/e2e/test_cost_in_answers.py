"""``usage.cost``: every answer says what its key is charged, to the digit that is booked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from gateway.core.pricing.prices import format_usd

from .conftest import StartGateway
from .flux import CREATE
from .harness import ALICE, MESSAGES, PROMPT, Answer, Rig
from .raw_orders import IMAGE, NO_BACKUP, NO_IMAGE, order
from .streams import ASKED, UNASKED, is_whole

UNTOLD = "cost_in_answers: false"
UNPRICED = "models: {gpt-mystery: {targets: [{upstream: piapi}]}}"
CONTINUOUS: dict[str, Any] = {
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
}
THEIR_DETAILS = {
    "upstream_inference_cost": None,
    "upstream_inference_prompt_cost": 0.00125 / 4,
    "upstream_inference_completions_cost": 0.00125 * 3 / 4,
}


def costs_in(body: bytes) -> list[str]:
    """The digits of every cost in an answer's bytes."""
    return [text.decode() for text in re.findall(rb'"cost":\s*([^,}]+)', body)]


def usage_in(answer: Answer) -> dict[str, Any]:
    """The usage of a whole answer, or of a stream's last chunk."""
    if answer.is_stream:
        last = json.loads(answer.payloads[-2])
        assert last["choices"] == []
        usage: dict[str, Any] = last["usage"]
    else:
        usage = json.loads(answer.body)["usage"]
    return usage


async def check(rig: Rig, answer: Answer, charged: int | None = None) -> None:
    """The answer's cost is the row's charge, and the header's where there is one."""
    row = await rig.row()
    assert charged is None or row.charged == charged
    assert costs_in(answer.body) == [format_usd(row.charged)]
    if not answer.is_stream:
        assert answer.header("x-gateway-cost-usd") == format_usd(row.charged)


class TestAChat:
    async def test_tells_the_sdk_what_it_cost(self, rig: Rig) -> None:
        answer = await rig.openai().chat.completions.create(model="gpt-4o", messages=MESSAGES)
        row = await rig.row()
        assert row.charged > 0
        assert answer.usage is not None
        assert answer.usage.model_extra == {"cost": row.charged / 1e9}

    async def test_tells_the_sdk_in_the_last_chunk_of_a_stream(self, rig: Rig) -> None:
        stream = await rig.openai().chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        row = await rig.row()
        assert row.charged > 0
        assert [chunk.usage.model_extra for chunk in chunks if chunk.usage] == [{"cost": row.charged / 1e9}]
        assert chunks[-1].choices == []

    @pytest.mark.parametrize("how", [{}, ASKED, CONTINUOUS], ids=["whole", "stream", "continuous"])
    @pytest.mark.parametrize(
        "scenario",
        [
            "ok",
            "ok;cached=2",
            "ok;reasoning=5",
            "tool_calls",
            "whole_json",
            "usage_mixed",
            "no_finish",
            "bytewise",
            "half_emoji",
            "own_cost",
            "own_cost;with_choice=1",
            "own_cost;kind=text",
            "own_cost;kind=object",
            "own_cost;kind=null",
            "own_cost;kind=alone",
            "own_cost;kind=no_usage",
            "no_usage",
            "zero_usage",
            "zero_usage;value=null",
            "zero_usage;value=zeros",
            "zero_usage;value=huge",
        ],
    )
    async def test_says_what_is_booked(self, scenario: str, how: dict[str, Any], rig: Rig) -> None:
        rig.sandbox.script(scenario)
        answer = await rig.chat(**how)
        assert answer.status == 200
        await check(rig, answer)

    @pytest.mark.parametrize("scenario", ["refuses_stream", "refuses_stream_options", "refuses_wishes"])
    async def test_by_an_upstream_that_streams_for_nobody(self, scenario: str, rig: Rig) -> None:
        rig.sandbox.script(scenario, times=3)
        await check(rig, await rig.chat())

    async def test_that_is_estimated_says_the_estimates_cost(self, rig: Rig) -> None:
        rig.sandbox.script("no_usage")
        answer = await rig.chat(**ASKED)
        assert (await rig.row()).confidence == "estimated"
        await check(rig, answer)
        assert usage_in(answer)["cost"] > 0

    async def test_that_is_free_costs_nothing(self, gateway: StartGateway) -> None:
        rig = await gateway("models: {gpt-free: {targets: [{upstream: piapi, price: {input: 0, output: 0}}]}}")
        answer = await rig.chat(model="gpt-free")
        await check(rig, answer, 0)

    async def test_at_the_least_price_is_a_plain_decimal(self, gateway: StartGateway) -> None:
        rig = await gateway("models: {gpt-tiny: {targets: [{upstream: piapi, price: {input: 0.001, output: 0}}]}}")
        answer = await rig.chat(model="gpt-tiny")
        await check(rig, answer)
        assert re.fullmatch(r"0\.0000000\d+", costs_in(answer.body)[0])

    async def test_with_a_minimum_says_the_minimum(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "models: {gpt-least: {targets: [{upstream: piapi, price: {input: 1, output: 1, minimum: 0.005}}]}}"
        )
        answer = await rig.chat(model="gpt-least", **ASKED)
        await check(rig, answer, 5_000_000)

    @pytest.mark.parametrize("how", [{}, ASKED], ids=["whole", "stream"])
    async def test_by_the_backup_after_a_lost_attempt_says_what_the_backup_costs(
        self, how: dict[str, Any], rig: Rig
    ) -> None:
        rig.sandbox.script("server_error", role="api", times=None)
        rig.sandbox.script("cut_early", role="proxy", times=None)
        answer = await rig.chat(**how)
        row = await rig.row()
        assert (row.upstream, len(row.attempts)) == ("backup", 3)
        assert row.upstream_cost >= row.charged > 0
        await check(rig, answer)

    async def test_behind_blanks_says_it_in_the_body_though_not_in_the_head(self, gateway: StartGateway) -> None:
        rig = await gateway("nonstream_heartbeat: 10ms")
        rig.sandbox.script("slow")
        answer = await rig.chat()
        assert answer.header("x-gateway-cost-usd") is None
        assert costs_in(answer.body) == [format_usd((await rig.row()).charged)]

    async def test_of_a_key_with_a_budget(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}, budget: 5/day}}]")
        answer = await rig.chat(**ASKED)
        await check(rig, answer)


class TestAStreamThatWasNotAskedForUsage:
    @pytest.mark.parametrize("how", [UNASKED, {"stream": True, "stream_options": {"include_usage": False}}])
    @pytest.mark.parametrize("scenario", ["ok", "own_cost", "own_cost;everywhere=1", "usage_mixed"])
    async def test_has_nothing_added(self, scenario: str, how: dict[str, Any], rig: Rig) -> None:
        rig.sandbox.script(scenario)
        answer = await rig.chat(**how)
        assert is_whole(answer)
        assert costs_in(answer.body) == []
        assert (await rig.row()).charged > 0


class TestAnUpstreamThatStatesItsOwnCost:
    @pytest.mark.parametrize("how", [{}, ASKED], ids=["whole", "stream"])
    @pytest.mark.parametrize("scenario", ["own_cost", "own_cost;with_choice=1", "own_cost;everywhere=1"])
    async def test_is_not_heard_but_its_other_fields_are(self, scenario: str, how: dict[str, Any], rig: Rig) -> None:
        rig.sandbox.script(scenario)
        answer = await rig.chat(**how)
        usage = usage_in(answer)
        await check(rig, answer)
        assert usage["cost"] != 0.00125
        assert (usage["cost_details"], usage["is_byok"]) == (THEIR_DETAILS, False)
        assert usage["completion_tokens_details"] == {"reasoning_tokens": 0, "audio_tokens": 0}

    @pytest.mark.parametrize("kind", ["number", "text", "object", "null", "alone", "no_usage", "other"])
    async def test_in_a_whole_document(self, kind: str, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream")
        rig.sandbox.script(f"own_cost;kind={kind}")
        answer = await rig.chat()
        usage = usage_in(answer)
        assert usage["total_tokens"] > 0
        assert usage.get("cost_details") == (THEIR_DETAILS if kind == "number" else None)
        assert (await rig.row()).confidence == ("estimated" if kind in ("alone", "no_usage") else "measured")
        await check(rig, answer)

    async def test_under_other_names_is_passed_on(self, rig: Rig) -> None:
        rig.sandbox.script("own_cost;kind=other")
        answer = await rig.chat()
        assert usage_in(answer)["estimated_cost"] == 0.00125
        assert usage_in(answer)["cost_in_usd_ticks"] == 12_500_000
        await check(rig, answer)

    async def test_in_every_chunk_is_struck_out_of_all_but_the_last(self, rig: Rig) -> None:
        rig.sandbox.script("own_cost;everywhere=1")
        answer = await rig.chat(**CONTINUOUS)
        chunks = [json.loads(payload) for payload in answer.payloads[:-1]]
        assert all(chunk["usage"]["cost_details"] == THEIR_DETAILS for chunk in chunks)
        assert [("cost" in chunk["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        await check(rig, answer)

    async def test_the_rest_of_its_chunk_stays(self, rig: Rig) -> None:
        answer = await rig.chat(**ASKED)
        last = json.loads(answer.payloads[-2])
        assert (last["system_fingerprint"], last["object"]) == ("fp_sandbox", "chat.completion.chunk")


class TestAnUnknownPrice:
    @pytest.mark.parametrize("how", [{}, ASKED, CONTINUOUS], ids=["whole", "stream", "continuous"])
    @pytest.mark.parametrize("scenario", ["ok", "own_cost", "no_usage"])
    async def test_tells_nothing_and_lets_nobody_elses_cost_pass_for_it(
        self, scenario: str, how: dict[str, Any], gateway: StartGateway
    ) -> None:
        rig = await gateway(UNPRICED)
        rig.sandbox.script(scenario)
        answer = await rig.chat(model="gpt-mystery", **how)
        assert usage_in(answer)["total_tokens"] > 0
        assert costs_in(answer.body) == []
        assert answer.header("x-gateway-cost-usd") is None
        assert (await rig.row()).confidence == "unknown"


class TestSwitchedOff:
    @pytest.mark.parametrize("how", [{}, ASKED, CONTINUOUS], ids=["whole", "stream", "continuous"])
    async def test_adds_nothing(self, how: dict[str, Any], gateway: StartGateway) -> None:
        rig = await gateway(UNTOLD)
        answer = await rig.chat(**how)
        assert costs_in(answer.body) == []

    async def test_leaves_what_the_upstream_says(self, gateway: StartGateway) -> None:
        rig = await gateway(UNTOLD)
        rig.sandbox.script("own_cost;everywhere=1", times=3)
        for how in ({}, ASKED, CONTINUOUS):
            assert usage_in(await rig.chat(**how))["cost"] == 0.00125

    async def test_leaves_the_header(self, gateway: StartGateway) -> None:
        rig = await gateway(UNTOLD)
        answer = await rig.chat()
        assert answer.header("x-gateway-cost-usd") == format_usd((await rig.row()).charged)

    async def test_leaves_pictures_as_they_are(self, gateway: StartGateway) -> None:
        rig = await gateway(UNTOLD)
        whole = json.loads((await order(rig, model="flux-schnell")).body)
        assert "usage" not in whole
        assert costs_in((await order(rig, model="flux-schnell", stream=True)).body) == []
        assert costs_in((await rig.chat(model="flux-schnell", **ASKED)).body) == []

    async def test_and_on_again_by_a_reload(self, rig: Rig) -> None:
        path = rig.folder / "config.yaml"
        told = path.read_text(encoding="utf-8")
        path.write_text(f"{told}\n{UNTOLD}\n", encoding="utf-8")
        assert costs_in((await rig.chat()).body) != []
        assert await rig.gateway.reload() == []
        for body in (await rig.chat(), await rig.chat(**ASKED), await order(rig, model="flux-schnell")):
            assert costs_in(body.body) == []
        path.write_text(told, encoding="utf-8")
        assert await rig.gateway.reload() == []
        for body in (await rig.chat(), await rig.chat(**ASKED), await order(rig, model="flux-schnell")):
            assert len(costs_in(body.body)) == 1


class TestPictures:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("n", [1, 3])
    @pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "gpt-image-2", "flux-schnell", "flux-dev"])
    async def test_tell_what_is_booked(self, model: str, n: int, stream: bool, rig: Rig) -> None:
        answer = await order(rig, model=model, n=n, stream=stream, size="1024x1024")
        assert answer.status == 200
        row = await rig.row()
        assert row.charged > 0
        told = costs_in(answer.body)
        if not stream:
            assert told == [format_usd(row.charged)] == [answer.header("x-gateway-cost-usd")]
        nano = sum(round(float(cost) * 1e9) for cost in told)
        assert nano == row.charged

    @pytest.mark.parametrize("scenario", ["ok;usage=0", "chat_usage", "ok;whole=1", "own_cost", "own_cost;kind=alone"])
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_of_an_images_api_in_every_form(self, scenario: str, stream: bool, rig: Rig) -> None:
        rig.sandbox.script(scenario)
        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024", stream=stream)
        await check(rig, answer)

    async def test_keep_the_other_fields_of_a_stated_usage(self, rig: Rig) -> None:
        rig.sandbox.script("own_cost")
        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024")
        usage = usage_in(answer)
        assert (usage["cost_details"], usage["output_tokens"]) == (THEIR_DETAILS, 272)
        await check(rig, answer)

    async def test_without_a_usage_of_their_own_have_one_that_typed_clients_can_read(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(model="flux-schnell", prompt=PROMPT)
        row = await rig.row()
        assert answer.usage is not None
        assert answer.usage.to_dict() == {
            "input_tokens": 0,
            "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
            "output_tokens": 0,
            "total_tokens": 0,
            "cost": row.charged / 1e9,
        }

    async def test_several_of_one_answer_tell_it_once(self, rig: Rig) -> None:
        """gpt-4o-image has one price for an answer, however many are in it."""
        rig.sandbox.script("ok;images=3")
        answer = await order(rig, stream=True)
        assert len(answer.events) == 3
        await check(rig, answer, IMAGE)

    async def test_that_are_none_tell_it_in_the_header_of_the_error(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=failed")
        answer = await order(rig)
        assert (answer.status, answer.header("x-gateway-cost-usd")) == (400, format_usd(NO_IMAGE))

    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    @pytest.mark.parametrize("how", [{}, ASKED], ids=["whole", "stream"])
    async def test_by_chat(self, model: str, how: dict[str, Any], rig: Rig) -> None:
        answer = await rig.chat(model=model, **how)
        row = await rig.row()
        assert row.charged > 0
        await check(rig, answer)

    async def test_by_chat_without_a_wish_for_usage_have_none(self, rig: Rig) -> None:
        answer = await rig.chat(model="flux-schnell", **UNASKED)
        assert costs_in(answer.body) == []

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("picture", ["top", "envelope", "whole"])
    async def test_ordered_asynchronously(self, picture: str, stream: bool, rig: Rig) -> None:
        rig.sandbox.script(f"ok;picture={picture};method=POST")
        answer = await order(rig, model="gpt-image-2.5-flare", stream=stream)
        assert (await rig.row()).charged > 0
        await check(rig, answer)

    async def test_of_which_one_was_lost_cost_what_came(self, gateway: StartGateway) -> None:
        rig = await gateway(NO_BACKUP)
        rig.sandbox.script(f"task_failed;{CREATE}")
        answer = await order(rig, model="flux-dev", n=3)
        row = await rig.row()
        assert (row.charged, row.images) == (2 * 15_000_000, 2)
        await check(rig, answer)

    async def test_made_by_a_task_of_the_clients_own_stay_piapis_document(self, rig: Rig) -> None:
        task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": PROMPT}}
        async with rig.client() as client:
            await client.ask(json.dumps(task).encode(), ALICE, {"connection": "close"}, target="/api/v1/task")
            answer = await client.rest(await client.head())
        assert answer.status == 200
        assert costs_in(answer.body) == []


class TestUpstreams:
    @pytest.mark.parametrize("how", [{}, ASKED], ids=["whole", "stream"])
    async def test_are_never_told_and_never_asked(self, how: dict[str, Any], rig: Rig) -> None:
        await rig.chat(**how)
        [request] = [request for request in rig.sandbox.requests if request.method == "POST"]
        assert b"cost" not in request.body
        assert set(request.json) <= {"model", "messages", "stream", "stream_options"}

    async def test_get_what_a_client_of_openrouter_sends(self, rig: Rig) -> None:
        await rig.chat(usage={"include": True})
        assert rig.sandbox.requests[-1].json["usage"] == {"include": True}
