"""What an upstream claims to have used is checked as a client's request is: no charge is negative, none is no number,
none is beyond what was reserved.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from .conftest import StartGateway
from .harness import MESSAGES, PATH, Answer, Rig, get
from .plain_servers import PlainServer
from .test_steering import ask

NUMBERS = [
    *("-1", "-0", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "1" + "0" * 400, "1e999"),
    *("-1e999", "1e308", "0.5", "-0.5", "NaN", "Infinity", "-Infinity", '"7"', '"-7"', '"NaN"', "true", "null"),
    *("[]", "{}", "[7]", '{"n": 7}', "1000000000", '"' + "9" * 5000 + '"', '"\\u0660"'),
]
"""JSON, and what only looks like it, in the place of a count."""

NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cost", "total_cost")


def usages() -> list[str]:
    """Usage objects as text: each number under one name, and under all of them at once."""
    found = []
    for number in NUMBERS:
        found.append("{" + ", ".join(f'"{name}": {number}' for name in NAMES) + "}")
        details = f'{{"cached_tokens": {number}, "cache_write_tokens": {number}, "audio_tokens": {number}}}'
        found.append(
            f'{{"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {details}, '
            f'"completion_tokens_details": {{"reasoning_tokens": {number}}}, "cost": {number}}}'
        )
    return [*found, "7", "[]", '"x"', '{"prompt_tokens": {"prompt_tokens": {"prompt_tokens": -1}}}']


def whole(usage: str) -> bytes:
    said = {"role": "assistant", "content": "hello"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    text = json.dumps({**body, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
    return _message("application/json", (text[:-1] + f', "usage": {usage}}}').encode())


def stream(usage: str) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    said = {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}}]}
    over = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    last = json.dumps({**chunk, "choices": []})[:-1] + f', "usage": {usage}}}'
    events = [json.dumps(said), json.dumps(over), last, "[DONE]"]
    return _message("text/event-stream", "".join(f"data: {event}\n\n" for event in events).encode())


def _message(kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("asked_as_stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("sent", [whole, stream])
async def test_of_a_chat(gateway: StartGateway, sent: Callable[[str], bytes], asked_as_stream: bool) -> None:
    async with PlainServer() as upstream:
        hosts = f"{{endpoints: [{{url: '{upstream.url}'}}]}}"
        rig = await gateway(
            f"upstreams: {{piapi: {hosts}, backup: {hosts}}}\n"
            "failover: {breaker: {failures: 100000}, retry_budget: 1.0}"
        )
        served = 0
        for usage in usages():
            upstream.answer = sent(usage)
            answer = await ask(rig, PATH, {"model": "gpt-4o", "messages": MESSAGES, "stream": asked_as_stream})
            assert answer.status in (200, 502), (usage, answer.body)  # 502: what it said was no JSON at all
            served += answer.status == 200
            _sane(answer)
        assert served > len(usages()) / 2
        await check_books(rig, len(usages()))


def _sane(answer: Answer) -> None:
    told = answer.header("x-gateway-cost-usd")
    assert told is None or 0 <= float(told) < math.inf
    if not answer.is_stream:
        answer.json()


async def check_books(rig: Rig, count: int) -> None:
    """Every amount is a whole number of nano-dollars from nothing to what was reserved, and no figure is odd."""
    await rig.rows(count)
    path = (rig.folder / "gateway.db").resolve()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        rows = store.execute(
            "SELECT typeof(s.charged), s.charged, i.reserved, s.upstream_cost, s.input_tokens, s.output_tokens"
            " FROM intents i JOIN settlements s ON s.id = i.id"
        ).fetchall()
    assert len(rows) == count
    for kind, charged, reserved, upstream_cost, *tokens in rows:
        assert kind == "integer"
        assert 0 <= charged <= reserved
        assert upstream_cost >= 0
        assert all(number >= 0 for number in tokens)
    for line in (await get(f"{rig.gateway.admin_url}/metrics")).decode().splitlines():
        if not line.startswith("#"):
            assert 0 <= float(line.rpartition(" ")[2]) < math.inf, line


POINTS = [*NUMBERS, "99999999999"]


async def test_of_a_task(gateway: StartGateway) -> None:
    """The points that PiAPI says a task took."""
    task = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "a hat"}}
    async with PlainServer() as upstream:
        rig = await gateway(
            f"upstreams: {{piapi: {{endpoints: [{{url: '{upstream.url}'}}]}}}}\n"
            "failover: {breaker: {failures: 100000}}"
        )
        answered = []
        for number, points in enumerate(POINTS):
            usage = f'{{"type": "point", "frozen": {points}, "consume": {points}}}'
            made = '"output": {"image_url": "http://127.0.0.1:9/a.png"}'
            data = f'{{"task_id": "task-{number:09}", "status": "completed", {made}, "meta": {{"usage": {usage}}}}}'
            upstream.answer = _message("application/json", f'{{"code": 200, "data": {data}}}'.encode())
            answer = await ask(rig, "/api/v1/task", task)
            assert answer.status in (200, 502, 504), (points, answer.body)
            answered.append(answer.status)
        assert answered.count(200) > len(POINTS) / 2
        await check_books(rig, len(POINTS))
