"""Upstreams that state far more than was reserved, and many requests at once: no budget is overspent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from .books import Row
from .conftest import StartGateway
from .harness import ALICE, Answer, Rig, get

CARA = "gw-cara-0123456789abcdef012"
CROWD = 60
USD = 1_000_000_000
PRICE = "{input: 1.875, output: 7.5, call: 0.01, tiers: {priority: 2}}"


@asynccontextmanager
async def stating(usage: dict[str, Any], **more: Any) -> AsyncIterator[int]:
    """An upstream that answers every chat with this usage, over a raw socket. Yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        await asyncio.sleep(0.2)  # so that all of a crowd run at once
        said = {"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}], **more}
        body = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in (said, {"choices": [], "usage": usage}))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(body + b"data: [DONE]\n\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def config(port: int, budget: str) -> str:
    return f"""
upstreams:
  liar: {{dialect: openai, endpoints: [{{url: "http://127.0.0.1:{port}"}}], keys: ["{"x" * 20}"]}}
models:
  gpt-4o: {{context: 128000, max_output: 16384, targets: [{{upstream: liar, price: {PRICE}}}]}}
keys:
  - {{name: alice, team: growth, key: {ALICE}, budget: {budget}}}
  - {{name: cara, key: {CARA}}}
"""


async def crowd(rig: Rig, **fields: Any) -> list[Answer]:
    """So many at once, and a ping beside them that is answered while they run."""
    running = CROWD

    async def ask() -> Answer:
        nonlocal running
        try:
            return await rig.chat(**fields)
        finally:
            running -= 1

    async def ping() -> int:
        pings = 0
        while running:
            await get(f"{rig.gateway.main_url}/healthz")
            pings += 1
        return pings

    pings, *answers = await asyncio.gather(ping(), *(ask() for _ in range(CROWD)))
    assert pings
    return answers


def cost(answer: Answer) -> float:
    return float(json.loads(answer.body)["usage"]["cost"])


SEARCH = {"web_search_options": {}}
PLAIN = {"max_tokens": 20}


def part(content: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [content]}], "max_tokens": 20}


@pytest.mark.parametrize(
    "fields",
    [
        SEARCH,
        part({"type": "file", "file": {"file_data": "https://e/a.pdf"}}),
        part({"type": "image_url", "image_url": {"url": "https://e/a.mp4"}}),
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "id": "msg_1"}]},
        {"enable_search": True, "max_tokens": 20},
        {"tools": [{"type": "web_search"}], "max_tokens": 20},
        {"extra_body": {"web_search_options": {}}, "max_tokens": 20},
    ],
)
async def test_what_may_fetch_is_refused_where_the_window_does_not_fit(
    gateway: StartGateway, fields: dict[str, Any]
) -> None:
    async with stating({"prompt_tokens": 500_000, "completion_tokens": 5}) as port:
        rig = await gateway(config(port, "0.05/day"))
        answers = await crowd(rig, **fields)
        assert {answer.status for answer in answers} == {429}
        assert {answer.error()["code"] for answer in answers} == {"insufficient_quota"}
        assert (await rig.chat(**PLAIN)).status == 200  # which costs a fraction of a cent


@pytest.mark.parametrize(
    "fields",
    [
        part({"type": "file", "file": {"file_id": "file-1"}}),
        part({"type": "text", "text": "a", "file_ids": ["file-1"]}),
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"cached_content": "cachedContents/1", "max_tokens": 20},
    ],
)
async def test_an_id_that_was_not_made_here_costs_nothing(gateway: StartGateway, fields: dict[str, Any]) -> None:
    async with stating({"prompt_tokens": 500_000, "completion_tokens": 5}) as port:
        rig = await gateway(config(port, "0.05/day"))
        answers = await crowd(rig, **fields)
        assert {answer.status for answer in answers} == {404}
        assert (await rig.chat(**PLAIN)).status == 200


@pytest.mark.parametrize(
    ("fields", "more", "budget"),
    [
        (SEARCH, {}, 1.0),
        (PLAIN, {}, 0.05),
        ({**PLAIN, "service_tier": "default"}, {"service_tier": "priority"}, 0.05),
        ({**PLAIN, "prediction": {"type": "content", "content": "x" * 200}}, {}, 0.05),
        ({**PLAIN, "n": 2, "thinking": {"type": "enabled", "budget_tokens": 400.0}}, {}, 0.1),
        (PLAIN, {"model": "o1-pro"}, 0.05),
    ],
)
@pytest.mark.parametrize("usage", [{"prompt_tokens": 25_000, "completion_tokens": 4_000}])
async def test_a_crowd_never_spends_more_than_the_budget(
    gateway: StartGateway, fields: dict[str, Any], more: dict[str, Any], budget: float, usage: dict[str, Any]
) -> None:
    if fields is SEARCH:
        usage = {"prompt_tokens": 500_000, "completion_tokens": 5}
    async with stating(usage, **more) as port:
        rig = await gateway(config(port, f"{budget}/day"))
        answers = await crowd(rig, **fields)
        served = [answer for answer in answers if answer.status == 200]
        assert served
        assert {answer.error()["code"] for answer in answers if answer.status != 200} <= {
            "rate_limit_exceeded",
            "insufficient_quota",
        }
        rows = await rig.rows(len(served))
        assert 0 < sum(row.charged for row in rows) <= budget * USD
        assert sorted(cost(answer) for answer in served) == sorted(row.charged / USD for row in rows)
        headers = [answer.header("x-gateway-cost-usd") or "" for answer in served]
        assert sorted(map(float, headers)) == sorted(row.charged / USD for row in rows)


async def test_what_is_above_the_bound_says_so(gateway: StartGateway) -> None:
    async with stating({"prompt_tokens": 25_000, "completion_tokens": 4}) as port:
        rig = await gateway(config(port, "1/day"))
        assert (await rig.chat(**PLAIN)).status == 200
        row: Row = await rig.row()
        [line] = await rig.log_lines("request")
        assert row.confidence == "estimated"
        assert line["above_bound"] is True
        assert row.charged < USD // 100 < row.upstream_cost  # less than a cent, of nearly five


async def test_without_a_budget_what_is_stated_is_charged(gateway: StartGateway) -> None:
    async with stating({"prompt_tokens": 25_000, "completion_tokens": 4}) as port:
        rig = await gateway(config(port, "1/day"))
        assert (await rig.chat(key=CARA, **PLAIN)).status == 200
        row = await rig.row()
        assert (row.charged, row.confidence) == (25_000 * 1_875 + 4 * 7_500, "measured")
