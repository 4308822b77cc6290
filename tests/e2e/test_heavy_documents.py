"""JSON that is small on the wire and would be large in memory, and long documents that are honest, in both directions.

Beside each a client pings. That nobody waits is shown by order: a document is held where it is weighed until pings have
been answered, which never happens where that is done on the loop.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest

import gateway.core.json_weight as json_weight
import gateway.wire.client_json as client_json
from gateway.core.json_weight import LONG, MOST_MEMBERS

from .conftest import StartGateway
from .flux import TASKS
from .harness import PATIENCE, Answer, Rig, chat_body
from .raw_orders import EDITS, order

T = TypeVar("T")
MIB = 1 << 20
PINGS = 20

NEST = b"[" * 200 + b"]" * 200


def nested_lists(size: int) -> bytes:
    """Lists within lists, ``size`` bytes of them: an object in memory for every two bytes, and few commas."""
    return b"[" + b",".join([NEST] * (size // (len(NEST) + 1))) + b"]"


def chat_with(extra: bytes) -> bytes:
    return chat_body()[:-1] + b"," + extra + b"}"


async def ping(rig: Rig, times: int) -> None:
    async with rig.client() as client:
        for _ in range(times):
            await client.ask(method="GET", target="/healthz", key=None)
            answer = await client.rest(await client.head())
            assert answer.status == 200


async def with_pings(rig: Rig, attack: Coroutine[Any, Any, T]) -> T:
    """The attack's result; pings beside it and after it are all answered."""
    async with asyncio.TaskGroup() as group:
        work = group.create_task(attack)
        await ping(rig, PINGS)
    await ping(rig, 1)
    return work.result()


@contextmanager
def weighing_held(monkeypatch: pytest.MonkeyPatch, module: Any) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Long documents are held where they are weighed. Yields what is set once one is, and what lets it go."""
    held, go = threading.Event(), threading.Event()
    weigh = module.too_heavy

    def held_back(data: bytes, *most: int) -> bool:
        if len(data) > LONG and not go.is_set():
            held.set()
            assert go.wait(PATIENCE / 2), "on the loop: pings were not answered"
        return bool(weigh(data, *most))

    monkeypatch.setattr(module, "too_heavy", held_back)
    yield held, go
    go.set()


async def pinged_while_weighed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, module: Any, asking: Callable[[], Coroutine[Any, Any, Answer]]
) -> Answer:
    with weighing_held(monkeypatch, module) as (held, go):
        async with asyncio.TaskGroup() as group:
            work = group.create_task(asking())
            assert await asyncio.to_thread(held.wait, PATIENCE)
            await ping(rig, PINGS)
            assert not work.done()
            go.set()
        return work.result()


LONG_TEXT = 'some words, {[:"\\ and 😀 ' * 30_000


class TestNobodyWaits:
    async def test_while_a_chat_is_read(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        body = chat_body(messages=[{"role": "user", "content": LONG_TEXT}])
        answer = await pinged_while_weighed(rig, monkeypatch, client_json, lambda: rig.post(body))
        assert answer.status == 200

    async def test_while_a_task_is_read(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        body = json.dumps({"model": "Qubico/flux1-dev", "input": {"prompt": LONG_TEXT}}).encode()
        answer = await pinged_while_weighed(rig, monkeypatch, client_json, lambda: order(rig, path=TASKS, body=body))
        assert answer.status == 400  # without a task_type

    async def test_while_an_order_for_images_is_read(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        asking = partial(order, rig, extra=LONG_TEXT, n="none")
        answer = await pinged_while_weighed(rig, monkeypatch, client_json, asking)
        assert answer.status == 400

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_while_an_answer_is_read(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, stream: bool
    ) -> None:
        async with answering(completion(LONG_TEXT, stream), stream) as url:
            rig = await gateway(at(url))
            answer = await pinged_while_weighed(rig, monkeypatch, json_weight, lambda: rig.chat(stream=stream))
        assert answer.status == 200
        assert (answer.text if stream else answer.json()["choices"][0]["message"]["content"]) == LONG_TEXT

    async def test_a_client_that_leaves_while_its_answer_is_read(
        self, gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with answering(completion(LONG_TEXT, False), False) as url:
            rig = await gateway(at(url))
            with weighing_held(monkeypatch, json_weight) as (held, go):
                async with rig.client() as client:
                    await client.ask(chat_body())
                    assert await asyncio.to_thread(held.wait, PATIENCE)
                await ping(rig, PINGS)
                go.set()
            await rig.row()  # the only one, and settled


HEAVY = {
    "19 MB of nested lists": lambda: chat_with(b'"x":' + nested_lists(19 * MIB)),
    "2 MB of nested lists": lambda: chat_with(b'"x":' + nested_lists(2 * MIB)),
    "a million messages": lambda: b'{"model":"gpt-4o","messages":[' + b"{}," * 1_000_000 + b"{}]}",
    "a million texts": lambda: chat_with(b'"x":[' + b'"",' * 1_000_000 + b"1]"),
    "a million biases": lambda: chat_with(
        b'"logit_bias":{' + b",".join(b'"%d":1' % token for token in range(1_000_000)) + b"}"
    ),
    "one name a million times": lambda: chat_with(b'"x":{' + b'"a":1,' * 1_000_000 + b'"a":1}'),
    "heavy, and broken at its end": lambda: chat_with(b'"x":[' + b"[]," * 1_000_000)[:-1],
}


class TestHeavyBodies:
    @pytest.mark.parametrize("body", HEAVY.values(), ids=HEAVY)
    async def test_are_refused_before_they_are_parsed(self, rig: Rig, body: Callable[[], bytes]) -> None:
        answer = await with_pings(rig, rig.post(body()))
        assert answer.status == 400
        error = answer.error()
        assert error["code"] == "invalid_json"
        assert str(MOST_MEMBERS) in error["message"]
        assert rig.sandbox.requests == []

    async def test_inside_a_form(self, rig: Rig) -> None:
        part = b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        fields = {
            b"model": b"gpt-4o-image",
            b"prompt": b"a hat",
            b"extra_body": b'{"x":' + nested_lists(MIB - 99) + b"}",
        }
        body = b"".join(part % field for field in fields.items()) + b"--x--\r\n"
        answer = await with_pings(
            rig, order(rig, path=EDITS, body=body, content_type="multipart/form-data; boundary=x")
        )
        assert answer.status == 400
        assert answer.error()["code"] == "invalid_json"

    async def test_depth_is_refused_whatever_is_around_it(self, rig: Rig) -> None:
        for around in (b"", b'"y":"' + b"x" * MIB + b'",'):
            answer = await with_pings(rig, rig.post(chat_with(around + b'"x":' + b"[" * 300 + b"]" * 300)))
            assert answer.status == 400
            assert answer.error()["code"] == "invalid_json"


HONEST = {
    "a picture of 14 MB": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0K" * 2_300_000}}
    ],
    "5 MB of code": "for (i = 0; i < n; i++) { a[i] = b[i], c: 'd' }\n" * 110_000,
    "minified JSON": json.dumps([{"id": 1, "tags": ["a", "b"], "at": None}], separators=(",", ":")) * 100_000,
    "CSV": '1,2,3,"4"\n' * 400_000,
    "backslashes": "\\" * 2_000_000,
}


class TestHonestDocuments:
    @pytest.mark.parametrize("content", HONEST.values(), ids=HONEST)
    async def test_pass_as_they_are(self, rig: Rig, content: Any) -> None:
        answer = await with_pings(rig, rig.post(chat_body(messages=[{"role": "user", "content": content}])))
        assert answer.status == 200
        assert rig.sandbox.requests[-1].json["messages"][0]["content"] == content

    async def test_two_thousand_tools_pass(self, rig: Rig) -> None:
        fields = {f"p{n}": {"type": "string", "description": "What it is.", "enum": ["a", "b"]} for n in range(8)}
        parameters = {"type": "object", "properties": fields, "required": ["p0"]}
        tools = [
            {"type": "function", "function": {"name": f"look_{n}", "description": "Looks.", "parameters": parameters}}
            for n in range(2_000)
        ]
        await with_pings(rig, rig.chat(tools=tools))
        assert rig.sandbox.requests[-1].json["tools"] == tools


def completion(content: str, stream: bool, extra: bytes = b"") -> bytes:
    names = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    part = {"delta" if stream else "message": {"role": "assistant", "content": content}}
    document = json.dumps(
        {**names, "choices": [{"index": 0, **part, "finish_reason": "stop"}], "usage": usage}
    ).encode()
    document = document[:-1] + extra + b"}"
    return b"data: " + document + b"\n\ndata: [DONE]\n\n" if stream else document


@asynccontextmanager
async def answering(body: bytes, stream: bool) -> AsyncIterator[str]:
    """An upstream that answers everything with ``body``; its URL."""
    kind = b"text/event-stream" if stream else b"application/json"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %s\r\n\r\n" % kind)
            writer.write(body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def at(url: str) -> str:
    return (
        f"{{limits: {{event: 32MiB}}, upstreams: {{piapi: {{endpoints: [{{url: '{url}'}}]}}}}, "
        "models: {gpt-4o: {targets: [{upstream: piapi, price: {input: 2.5, output: 10}}]}}}"
    )


HEAVY_ANSWERS = {
    "60 MB of nested lists": (False, lambda: completion("hi", False, b',"x":' + nested_lists(60 * MIB))),
    "an event of 30 MB of nested lists": (True, lambda: completion("hi", True, b',"x":' + nested_lists(30 * MIB))),
    "a million choices": (False, lambda: b'{"choices":[' + b"{}," * 1_000_000 + b"{}]}"),
    "an event wrapped up a million times": (True, lambda: b"data:" * 1_000_000 + b"oops\n\n"),
    "a million levels": (True, lambda: b"data: " + b"[" * 1_000_000 + b"\n\n"),
}


class TestHeavyAnswers:
    @pytest.mark.parametrize(("stream", "body"), HEAVY_ANSWERS.values(), ids=HEAVY_ANSWERS)
    async def test_are_no_answers(self, gateway: StartGateway, stream: bool, body: Callable[[], bytes]) -> None:
        async with answering(body(), stream) as url:
            rig = await gateway(at(url))
            answer = await with_pings(rig, rig.chat(stream=stream))
        assert answer.status == 502
        assert answer.error()["code"] == "upstream_invalid_response"

    async def test_many_choices_with_one_index_are_read_once(self, gateway: StartGateway) -> None:
        choices = b",".join([b'{"index":0,"delta":{"content":"a"}}'] * 30_000)
        async with answering(b'data: {"choices":[' + choices + b"]}\n\ndata: [DONE]\n\n", True) as url:
            rig = await gateway(at(url))
            answer = await with_pings(rig, rig.chat(stream=True))
        assert answer.status == 200
        assert answer.is_stream
