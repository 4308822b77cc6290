"""The official OpenAI SDK for JavaScript against the whole gateway.

Without Node or its packages (scripts/node_sdk.sh) these tests skip.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .node_sdk import Node
from .sdk_errors import ERRORS, Refused

WORDS = f"Sandbox ✓ This is a simulated answer; no model was asked. You said: {PROMPT}"
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"n": {}}}}}
    for name in ("get_weather", "get_tide")
]


def said(chunks: list[Any], index: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    )


class TestAnswers:
    async def test_whole(self, rig: Rig, node: Node) -> None:
        report = await node.ask(rig, "whole")

        choice = report["completion"]["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (WORDS, "stop")
        assert report["completion"]["usage"]["total_tokens"] == 30
        row = await rig.row()
        assert report["requestId"] == row.request_id
        assert row.charged == 12 * 1875 + 18 * 7500

    async def test_streamed(self, rig: Rig, node: Node) -> None:
        chunks = (await node.ask(rig, "stream"))["chunks"]

        assert said(chunks) == WORDS
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert all(chunk.get("usage") is None for chunk in chunks)

    async def test_usage_when_asked(self, rig: Rig, node: Node) -> None:
        chunks = (await node.ask(rig, "stream", fields={"stream_options": {"include_usage": True}}))["chunks"]

        assert [chunk["usage"] is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]

    async def test_two_choices(self, rig: Rig, node: Node) -> None:
        completion = (await node.ask(rig, "whole", fields={"n": 2}))["completion"]
        chunks = (await node.ask(rig, "stream", fields={"n": 2}))["chunks"]

        assert [choice["index"] for choice in completion["choices"]] == [0, 1]
        assert [choice["message"]["content"] for choice in completion["choices"]] == [said(chunks, 0), said(chunks, 1)]

    async def test_tools(self, rig: Rig, node: Node) -> None:
        rig.sandbox.script("tool_calls", times=2)

        whole = (await node.ask(rig, "whole", fields={"tools": TOOLS}))["completion"]["choices"][0]
        folded = (await node.ask(rig, "fold", fields={"tools": TOOLS}))["completion"]["choices"][0]

        for choice in (whole, folded):
            assert choice["finish_reason"] == "tool_calls"
            calls = choice["message"]["tool_calls"]
            assert [call["function"]["name"] for call in calls] == ["get_weather", "get_tide"]
            assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"n": PROMPT}] * 2

    async def test_the_sdks_own_folding(self, rig: Rig, node: Node) -> None:
        report = await node.ask(rig, "fold")

        assert report["completion"]["choices"][0]["message"]["content"] == WORDS
        assert report["events"]["deltas"] == 18

    async def test_models(self, rig: Rig, node: Node) -> None:
        assert {"gpt-4o", "gpt-4o-image"} <= set((await node.ask(rig, "models"))["names"])

    async def test_beside_comments_and_ids(self, rig: Rig, node: Node) -> None:
        for scenario in ("comments", "comments;ids=0", "crlf", "multi_data", "odd_done", "no_done", "whole_json"):
            rig.sandbox.script(scenario)

            assert said((await node.ask(rig, "stream"))["chunks"]) == WORDS, scenario


class TestErrors:
    @pytest.mark.parametrize("check", ["whole", "stream"])
    @pytest.mark.parametrize("refused", ERRORS, ids=str)
    async def test_become_the_sdks_own(self, gateway: StartGateway, node: Node, refused: Refused, check: str) -> None:
        rig = await gateway(refused.config)
        async with refused.arranged(rig):
            fields = {"model": refused.model, **refused.fields}
            report = await node.ask(rig, check, fields=fields, headers=refused.headers, apiKey=refused.key)

            assert not report["ok"]
            error = report["error"]
            assert (error["status"], error["type"], error["code"]) == (refused.status, refused.type, refused.code)
            assert (error["kind"], error["param"]) == (refused.node, refused.param)
            assert error["requestID"] == error["headers"]["x-request-id"]
            assert error["headers"]["x-should-retry"] == str(refused.retry).lower()
            assert ("retry-after" in error["headers"]) is (refused.retry or refused.wakeup)

    async def test_a_cut_stream_throws(self, rig: Rig, node: Node) -> None:
        rig.sandbox.script("cut;after_events=5")

        report = await node.ask(rig, "stream")

        assert not report["ok"]
        assert report["error"]["code"] == "upstream_stream_interrupted"
        assert report["error"]["type"] == "upstream_error"
        assert WORDS.startswith(said(report["error"]["chunks"]))
        assert said(report["error"]["chunks"])
        assert len(rig.sandbox.requests) == 1

    async def test_the_sdks_own_retries_stop(self, rig: Rig, node: Node) -> None:
        rig.for_all_roles("server_error")

        report = await node.ask(rig, "whole", maxRetries=4)

        assert report["error"]["kind"] == "InternalServerError"
        assert (await rig.figures()).total("gateway_requests_total") == 1


class TestFailover:
    @pytest.mark.parametrize("check", ["whole", "stream"])
    @pytest.mark.parametrize("dead", [("api",), ("api", "proxy")], ids=["one_host", "one_upstream"])
    async def test_from_dead_hosts(self, rig: Rig, node: Node, check: str, dead: Any) -> None:
        for role in dead:
            await rig.sandbox.refuse(role)

        report = await node.ask(rig, check)

        assert report["ok"]
        content = (
            report["completion"]["choices"][0]["message"]["content"] if check == "whole" else said(report["chunks"])
        )
        assert content == WORDS
        assert (await rig.row()).outcomes == ["connect_refused"] * len(dead) + ["ok"]
