"""A client that asks for no stream: the upstream is streamed all the same, and its chunks become one completion."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import MESSAGES, Rig, chat_body
from .streams import TOOLS, direct

FUNCTIONS = [{"name": "sun", "parameters": {"type": "object", "properties": {"hours": {"type": "integer"}}}}]


def plain(completion: Any) -> Any:
    """Without what differs between two answers to the same request, and without the cost, which the gateway tells."""
    assert completion["id"].startswith("chatcmpl-sandbox-")
    assert completion["created"] > 1_700_000_000
    usage = {name: value for name, value in completion["usage"].items() if name != "cost"}
    return {**completion, "id": "", "created": 0, "usage": usage}


class TestFolding:
    @pytest.mark.parametrize(
        ("scenario", "fields"),
        [
            ("ok", {}),
            ("ok", {"n": 3}),
            ("ok", {"logprobs": True}),
            ("ok", {"n": 2, "logprobs": True}),
            ("ok", {"max_tokens": 4}),
            ("ok", {"response_format": {"type": "json_object"}}),
            ("ok;cached=5;reasoning=4", {}),
            ("ok;calls=1", {"functions": FUNCTIONS}),
            ("tool_calls", {"tools": TOOLS}),
            ("tool_calls", {"tools": TOOLS, "n": 2}),
            ("reasoning", {}),
            ("refusal", {}),
            ("u2028", {}),
        ],
        ids=lambda value: value if isinstance(value, str) else "-".join(value),
    )
    async def test_says_what_the_upstream_would_have_said(
        self, rig: Rig, scenario: str, fields: dict[str, Any]
    ) -> None:
        expected = (await direct(rig.sandbox, scenario, **fields)).json()
        rig.sandbox.script(scenario)

        answer = await rig.chat(**fields)

        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        assert plain(answer.json()) == plain(expected)
        assert rig.sandbox.requests[1].json["stream"] is True
        row = await rig.row()
        assert (row.charged, row.confidence) == (rig.sandbox.bill[1].amount, "measured")

    @pytest.mark.parametrize(
        "scenario",
        [
            "crlf",
            "cr",
            "bom",
            "multi_data",
            "bytewise",
            "comments",
            "no_done",
            "odd_done",
            "usage_mixed",
            "usage_everywhere",
            "hang_after_done",
            "until_close",
            "whole_json",
            "drip;interval=1;count=5",
            "clean_eof;after_events=20",
        ],
    )
    async def test_is_the_same_however_the_stream_is_framed(self, rig: Rig, scenario: str) -> None:
        expected = (await direct(rig.sandbox, "ok")).json()
        rig.sandbox.script(scenario)

        answer = await rig.chat()

        completion = answer.json()
        assert plain(completion)["choices"] == plain(expected)["choices"]
        measured = not scenario.startswith("clean_eof")  # which ends before the usage
        assert (plain(completion)["usage"] == expected["usage"]) is measured
        assert (await rig.row()).confidence == ("measured" if measured else "estimated")

    async def test_usage_is_counted_where_there_is_none(self, rig: Rig) -> None:
        rig.sandbox.script("no_usage")

        answer = await rig.chat()

        row = await rig.row()
        usage = answer.json()["usage"]
        assert (row.confidence, row.state) == ("estimated", "settled")
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (row.input_tokens, row.output_tokens)
        assert usage["total_tokens"] == row.input_tokens + row.output_tokens
        assert row.charged == row.input_tokens * 1875 + row.output_tokens * 7500 > 0

    async def test_the_cost_is_told_and_counted(self, rig: Rig) -> None:
        answer = await rig.chat()

        row = await rig.row()
        assert row.charged == 12 * 1875 + 18 * 7500 == 157_500
        assert answer.header("x-gateway-cost-usd") == "0.0001575"
        [used] = await rig.usage("key,team,model,upstream")
        assert (
            used.items()
            >= {
                "key": "alice",
                "team": "growth",
                "model": "gpt-4o",
                "upstream": "piapi",
                "requests": 1,
                "input_tokens": 12,
                "cached_input_tokens": 0,
                "output_tokens": 18,
                "images": 0,
                "cost_usd": 0.0001575,
            }.items()
        )
        figures = await rig.figures()
        mine = {"key": "alice", "team": "growth", "model": "gpt-4o", "upstream": "piapi"}
        assert figures.nano("gateway_cost_usd_total", **mine) == 157_500
        assert figures.total("gateway_tokens_total", type="input", **mine) == 12
        assert figures.total("gateway_tokens_total", type="output", **mine) == 18
        assert figures.total("gateway_requests_total", route="/v1/chat/completions", status="200", **mine) == 1
        assert figures.total("gateway_request_duration_seconds_count", model="gpt-4o") == 1


class TestABreakHalfWay:
    @pytest.mark.parametrize(
        ("scenario", "outcome"),
        [
            ("cut;after_events=10", "sse_cut_early"),
            ("rst;after_events=10;delay=1", "sse_cut_early"),
            ("clean_eof;after_events=10", "sse_cut_early"),
            ("truncated_chunk;after_events=10", "sse_cut_early"),
            ("sse_error_late;after_events=10", "upstream_5xx"),
            ("bad_event;after_events=10", "sse_bad_event"),
            ("huge_event;after_events=10", "sse_event_too_big"),
        ],
    )
    async def test_is_never_seen(self, rig: Rig, scenario: str, outcome: str) -> None:
        expected = (await direct(rig.sandbox, "ok")).json()
        rig.sandbox.script(scenario, role="api")

        answer = await rig.chat()

        assert plain(answer.json()) == plain(expected)
        row = await rig.row()
        assert row.outcomes == [outcome, "ok"]
        assert row.charged == 157_500
        assert row.costs[1] == (157_500, "billed")

    async def test_costs_us_and_not_the_client(self, rig: Rig) -> None:
        rig.sandbox.script("cut;after_events=10", role="api")

        await rig.chat()

        row = await rig.row()
        (lost, reason), billed = row.costs
        assert (reason, billed) == ("unknown", (157_500, "billed"))
        assert 0 < lost < 157_500
        assert (row.charged, row.upstream_cost) == (157_500, 157_500 + lost)
        assert (await rig.figures()).nano("gateway_upstream_cost_usd_total", reason="unknown") == lost

    async def test_of_silence_is_left_for_the_next_host(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {idle: 100ms}}}")
        rig.sandbox.script("stall_mid", role="api")

        answer = await rig.chat()

        assert answer.status == 200
        assert (await rig.row()).outcomes == ["stall_idle", "ok"]

    async def test_of_all_hosts_is_an_error_with_a_true_status(self, rig: Rig) -> None:
        rig.for_all_roles("cut;after_events=10")

        answer = await rig.chat()

        assert (answer.status, answer.error()["code"]) == (502, "upstream_error")
        row = await rig.row()
        assert (row.charged, row.status, len(row.attempts)) == (0, 502, 3)
        assert row.upstream_cost > 0

    async def test_beyond_the_deadline_is_not_tried_again(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {total: 300ms}}}")
        rig.sandbox.script("stall_mid", role="api")

        answer = await rig.chat()

        assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
        assert (await rig.row()).outcomes == ["deadline"]


class TestHeartbeat:
    async def test_blanks_go_ahead_of_a_slow_answer(self, gateway: StartGateway) -> None:
        rig = await gateway("nonstream_heartbeat: 50ms")
        rig.sandbox.script("stall_head;seconds=0.3")

        answer = await rig.chat()

        assert answer.status == 200
        assert answer.header("content-type") == "application/json"
        blanks = len(answer.body) - len(answer.body.lstrip(b" "))
        assert blanks >= 2
        assert json.loads(answer.body)["choices"][0]["finish_reason"] == "stop"
        assert answer.header("x-gateway-cost-usd") is None  # not known when the head went out

    async def test_none_go_ahead_of_a_fast_one(self, gateway: StartGateway) -> None:
        rig = await gateway("nonstream_heartbeat: 5s")

        answer = await rig.chat()

        assert answer.body.startswith(b"{")
        assert answer.header("content-length") == str(len(answer.body))

    async def test_the_openai_sdk_reads_it(self, gateway: StartGateway) -> None:
        rig = await gateway("nonstream_heartbeat: 50ms")
        rig.sandbox.script("stall_head;seconds=0.2")

        completion = await rig.openai().chat.completions.create(model="gpt-4o", messages=MESSAGES)

        assert completion.choices[0].finish_reason == "stop"

    async def test_an_error_after_it_is_still_json(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "{nonstream_heartbeat: 50ms, upstreams: {piapi: {timeouts: {head: 120ms}},"
            " backup: {timeouts: {head: 120ms}}}}"
        )
        rig.for_all_roles("stall_head")

        answer = await rig.chat()

        assert answer.status == 200  # committed with the first blank; that is the price of heartbeats
        assert answer.body.startswith(b" ")
        assert json.loads(answer.body)["error"]["code"] == "upstream_timeout"
        assert (await rig.row()).status == 504


async def test_a_client_that_leaves_pays_for_what_ran(rig: Rig) -> None:
    rig.sandbox.script("endless;delay=2")
    async with rig.client() as client:
        await client.ask(chat_body())
        await rig.sandbox.until(lambda: rig.sandbox.in_flight == 1)
        await client.leave()

    row = await rig.row()

    assert row.outcomes == ["client_gone_wait"]
    assert (row.status, row.confidence, row.state) == (499, "estimated", "settled")
    assert row.charged == row.input_tokens * 1875 + row.output_tokens * 7500 > 0
    await rig.sandbox.until_idle()
    assert rig.sandbox.requests[0].ending == "client_gone"


async def test_what_is_sent_upstream(rig: Rig) -> None:
    """The client's request, asked as a stream with usage, with the pool's key and nothing else of the client's."""
    await rig.chat(
        temperature=0.5,
        user="someone",
        headers={
            "x-forwarded-for": "10.0.0.1",
            "cookie": "a=b",
            "x-stainless-lang": "python",
            "openai-organization": "o",
        },
    )

    request = rig.sandbox.requests[0]
    assert request.json == {
        **json.loads(chat_body(temperature=0.5, user="someone")),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert {name for name, _ in request.headers} == {
        b"host",
        b"content-type",
        b"content-length",
        b"accept",
        b"accept-encoding",
        b"user-agent",
        b"authorization",
    }
