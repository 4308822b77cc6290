"""The official OpenAI SDK for Python, asynchronous and in a thread, against the whole gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .conftest import StartGateway
from .harness import ALICE, MESSAGES, PROMPT, Rig
from .sdk_errors import ERRORS, Refused

WORDS = f"Sandbox ✓ This is a simulated answer; no model was asked. You said: {PROMPT}"
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
    for name in ("get_weather", "get_tide")
]
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {"name": "shape", "schema": {"type": "object", "properties": {"size": {"type": "integer"}}}},
}


class Asker:
    """One way of using the SDK. ``ask`` returns the completion, ``stream`` all chunks; errors are the SDK's own."""

    def __init__(self, rig: Rig, **options: Any) -> None:
        self.options: dict[str, Any] = {
            "base_url": rig.url,
            "api_key": ALICE,
            "max_retries": 0,
            "timeout": 20,
            **options,
        }

    async def ask(self, **fields: Any) -> ChatCompletion:
        raise NotImplementedError

    async def stream(self, **fields: Any) -> list[ChatCompletionChunk]:
        raise NotImplementedError


class AsyncAsker(Asker):
    async def ask(self, **fields: Any) -> ChatCompletion:
        async with openai.AsyncOpenAI(**self.options) as sdk:
            completion: ChatCompletion = await sdk.chat.completions.create(**_request(fields))
            return completion

    async def stream(self, **fields: Any) -> list[ChatCompletionChunk]:
        async with openai.AsyncOpenAI(**self.options) as sdk:
            return [chunk async for chunk in await sdk.chat.completions.create(stream=True, **_request(fields))]


class ThreadAsker(Asker):
    async def ask(self, **fields: Any) -> ChatCompletion:
        def run() -> ChatCompletion:
            with openai.OpenAI(**self.options) as sdk:
                completion: ChatCompletion = sdk.chat.completions.create(**_request(fields))
                return completion

        return await asyncio.to_thread(run)

    async def stream(self, **fields: Any) -> list[ChatCompletionChunk]:
        def run() -> list[ChatCompletionChunk]:
            with openai.OpenAI(**self.options) as sdk:
                return list(sdk.chat.completions.create(stream=True, **_request(fields)))

        return await asyncio.to_thread(run)


def _request(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": MESSAGES, **fields}


@pytest.fixture(params=[AsyncAsker, ThreadAsker], ids=["async", "sync"])
def asker(request: pytest.FixtureRequest) -> Callable[..., Asker]:
    kind: Callable[..., Asker] = request.param
    return kind


def text(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index)


class TestAnswers:
    async def test_whole(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        completion = await asker(rig).ask()

        choice = completion.choices[0]
        assert (completion.object, completion.model) == ("chat.completion", "gpt-4o")
        assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", WORDS, "stop")
        assert completion.usage is not None
        assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (12, 18)
        assert completion.system_fingerprint == "fp_sandbox"
        row = await rig.row()
        assert completion._request_id == row.request_id
        assert (row.key, row.team, row.model, row.charged) == ("alice", "growth", "gpt-4o", 12 * 1875 + 18 * 7500)

    async def test_streamed(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        chunks = await asker(rig).stream()

        assert text(chunks) == WORDS
        assert [chunk.usage for chunk in chunks] == [None] * len(chunks)
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert (await rig.row()).charged == 12 * 1875 + 18 * 7500

    async def test_usage_when_asked(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        chunks = await asker(rig).stream(stream_options={"include_usage": True})

        assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 30

    async def test_two_choices(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        completion = await asker(rig).ask(n=2)
        chunks = await asker(rig).stream(n=2)

        said = [choice.message.content for choice in completion.choices]
        assert [choice.index for choice in completion.choices] == [0, 1]
        assert said[0] != said[1]
        assert said == [text(chunks, 0), text(chunks, 1)]

    async def test_log_probabilities(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        completion = await asker(rig).ask(logprobs=True)
        chunks = await asker(rig).stream(logprobs=True)

        folded = completion.choices[0].logprobs
        assert folded is not None
        assert folded.content is not None
        assert "".join(token.token for token in folded.content) == WORDS
        streamed = [chunk.choices[0].logprobs for chunk in chunks]
        assert [token for part in streamed if part is not None for token in part.content or ()] == folded.content

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [({"type": "json_object"}, {"sandbox": True, "you_said": "hello in JSON"}), (SCHEMA, {"size": 42})],
        ids=["json_object", "json_schema"],
    )
    async def test_json(self, rig: Rig, asker: Callable[..., Asker], shape: Any, expected: Any) -> None:
        asked: Any = [{"role": "user", "content": "hello in JSON"}]
        completion = await asker(rig).ask(response_format=shape, messages=asked)

        assert json.loads(completion.choices[0].message.content or "") == expected
        assert json.loads(text(await asker(rig).stream(response_format=shape, messages=asked))) == expected

    async def test_what_the_sdk_does_not_know_is_kept(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        rig.sandbox.script("reasoning", times=2)

        completion = await asker(rig).ask()
        chunks = await asker(rig).stream()

        thought = (completion.choices[0].message.model_extra or {})["reasoning_content"]
        pieces = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content") or "" for chunk in chunks]
        assert thought == "".join(pieces) == "This is the sandbox ✓"

    async def test_a_refusal(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        rig.sandbox.script("refusal")

        message = (await asker(rig).ask()).choices[0].message

        assert (message.content, message.refusal) == (None, "Sandbox: I will not answer that.")

    async def test_models(self, rig: Rig) -> None:
        names = [model.id async for model in rig.openai().models.list()]

        assert {"gpt-4o", "gpt-4o-image", "claude-sonnet-4-20250514"} <= set(names)
        assert (await rig.openai().models.retrieve("gpt-4o")).id == "gpt-4o"


class TestTools:
    async def test_parallel_calls(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        rig.sandbox.script("tool_calls", times=2)

        choice = (await asker(rig).ask(tools=TOOLS)).choices[0]
        chunks = await asker(rig).stream(tools=TOOLS)

        assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
        calls = choice.message.tool_calls or []
        assert [call.id for call in calls] == ["call_sandbox_0", "call_sandbox_1"]
        assert [call.function.name for call in calls if call.type == "function"] == ["get_weather", "get_tide"]
        arguments = [json.loads(call.function.arguments) for call in calls if call.type == "function"]
        assert arguments == [{"city": PROMPT, "days": 42}] * 2
        streamed: dict[int, str] = {}
        for chunk in chunks:
            for piece in chunk.choices[0].delta.tool_calls or ():
                assert piece.function is not None
                streamed[piece.index] = streamed.get(piece.index, "") + (piece.function.arguments or "")
        assert [json.loads(streamed[index]) for index in (0, 1)] == arguments

    async def test_through_the_sdks_own_folding(self, rig: Rig) -> None:
        rig.sandbox.script("tool_calls")

        async with rig.openai().chat.completions.stream(model="gpt-4o", messages=MESSAGES, tools=TOOLS) as stream:
            completion = await stream.get_final_completion()

        calls = completion.choices[0].message.tool_calls or []
        assert [call.function.name for call in calls] == ["get_weather", "get_tide"]

    async def test_the_tools_answer_goes_back(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        messages: list[Any] = [{"role": "user", "content": "call get_weather"}]
        first = (await asker(rig).ask(messages=messages, tools=TOOLS)).choices[0].message
        call = (first.tool_calls or [])[0]
        messages += [first.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]

        second = (await asker(rig).ask(messages=messages, tools=TOOLS)).choices[0].message

        assert second.content == "Sandbox ✓ The tool said: rain"


class TestErrors:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize("refused", ERRORS, ids=str)
    async def test_become_the_sdks_own(self, gateway: StartGateway, refused: Refused, stream: bool) -> None:
        rig = await gateway(refused.config)
        async with refused.arranged(rig):
            before = len(rig.sandbox.requests)
            sdk = rig.openai(api_key=refused.key)
            fields = {"model": refused.model, "messages": MESSAGES, **refused.fields}

            with pytest.raises(openai.APIStatusError) as raised:
                await sdk.chat.completions.create(
                    **{name: fields.pop(name) for name in ("model", "messages")},
                    stream=stream,
                    extra_body=fields,
                    extra_headers=refused.headers,
                )

            error = raised.value
            assert type(error).__name__ == refused.python
            assert (error.status_code, error.type, error.code) == (refused.status, refused.type, refused.code)
            assert error.param == refused.param
            assert error.request_id
            assert error.request_id == error.response.headers["x-request-id"]
            assert error.response.headers["x-should-retry"] == str(refused.retry).lower()
            assert ("retry-after" in error.response.headers) is (refused.retry or refused.wakeup)
            assert "sandbox" not in error.response.headers.get("server", "")
            if refused.scenario:
                assert len(rig.sandbox.requests) - before == refused.attempts
            else:
                assert len(rig.sandbox.requests) == before

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            (b'{"model": "gpt-4o", "messages": [', "invalid_json", None),
            (b'["no", "object"]', "invalid_json", None),
            (b'{"model": "gpt-4o", "messages": [], "temperature": NaN}', "invalid_json", None),
            (b'{"model": "gpt-4o", "messages": [], "seed": 18446744073709551616}', "invalid_json", None),
            (b'{"model": "gpt-4o", "messages": [{}], "messages": []}', "invalid_value", "messages"),
            (b'{"messages": [{"role": "user", "content": "hi"}]}', "missing_required_parameter", "model"),
        ],
    )
    async def test_of_bodies_no_sdk_writes(self, rig: Rig, body: bytes, code: str, param: str | None) -> None:
        answer = await rig.post(body)

        error = answer.error()
        assert answer.status == 400
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        assert rig.sandbox.requests == []

    async def test_one_body_for_every_kind_of_wrong_key(self, rig: Rig) -> None:
        bodies = {(await rig.chat(key=key)).body for key in (None, "x", "gw-nobody", ALICE + "x", "not a key")}

        assert len(bodies) == 1

    async def test_the_key_may_come_as_x_api_key(self, rig: Rig) -> None:
        assert (await rig.chat(key=None, headers={"x-api-key": ALICE})).status == 200

    async def test_the_clients_request_id_comes_back(self, rig: Rig) -> None:
        sdk = rig.openai(default_headers={"x-request-id": "my-own.id_7"})

        completion = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)

        assert completion._request_id == "my-own.id_7"
        assert (await rig.row()).request_id == "my-own.id_7"
        assert (await rig.log_lines("request"))[0]["request_id"] == "my-own.id_7"

    async def test_a_cut_stream_raises(self, rig: Rig, asker: Callable[..., Asker]) -> None:
        rig.sandbox.script("cut;after_events=5")

        with pytest.raises(openai.APIError) as raised:
            await asker(rig).stream()

        error = raised.value
        assert (error.type, error.code) == ("upstream_error", "upstream_stream_interrupted")
        assert len(rig.sandbox.requests) == 1


class TestTheSdksOwnRetries:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    async def test_stop_at_an_error_that_must_not_be_sent_again(
        self, rig: Rig, asker: Callable[..., Asker], stream: bool
    ) -> None:
        rig.for_all_roles("server_error")
        sdk = asker(rig, max_retries=4)

        with pytest.raises(openai.InternalServerError):
            await (sdk.stream() if stream else sdk.ask())

        assert (await rig.figures()).total("gateway_requests_total") == 1

    async def test_come_again_after_the_time_they_are_told(self, rig: Rig) -> None:
        rig.for_all_roles("rate_limited;retry_after=6")  # longer than the gateway itself holds a client
        slept: list[float] = []
        sdk = rig.openai(max_retries=2)

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            rig.sandbox.clear_scripts()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("openai._base_client.anyio.sleep", sleep)
            with pytest.raises(openai.RateLimitError):
                await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)

        assert len(slept) == 2
        assert all(5 < seconds <= 6 for seconds in slept)
        assert (await rig.figures()).total("gateway_requests_total", status="429") == 3
        assert len(rig.sandbox.requests) == 2  # the keys of both upstreams, once: they are cooling

    async def test_multiply_our_attempts_less(self, rig: Rig) -> None:
        rig.for_all_roles("server_error")

        await rig.chat(headers={"x-stainless-retry-count": "1"})

        assert len((await rig.row()).attempts) == 2


class TestFailover:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
    @pytest.mark.parametrize(
        ("dead", "upstream", "attempts"),
        [(("api",), "piapi", "2"), (("api", "proxy"), "backup", "3")],
        ids=["one_host", "one_upstream"],
    )
    async def test_from_dead_hosts(
        self, rig: Rig, asker: Callable[..., Asker], stream: bool, dead: Any, upstream: str, attempts: str
    ) -> None:
        for role in dead:
            await rig.sandbox.refuse(role)

        if stream:
            assert text(await asker(rig).stream()) == WORDS
        else:
            assert (await asker(rig).ask()).choices[0].message.content == WORDS

        row = await rig.row()
        assert row.outcomes == ["connect_refused"] * len(dead) + ["ok"]
        assert (row.upstream, str(len(row.attempts))) == (upstream, attempts)
        assert row.charged == rig.sandbox.billed

    async def test_is_told_in_headers(self, rig: Rig) -> None:
        rig.sandbox.script("server_error", role="api")
        rig.sandbox.script("server_error", role="proxy")

        answer = await rig.chat()

        assert answer.header("x-gateway-upstream") == "backup"
        assert answer.header("x-gateway-attempts") == "3"
        assert answer.header("x-gateway-cost-usd") == "0.00021"
        assert (await rig.row()).charged == 210_000

    async def test_uses_the_next_key(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "upstreams: {piapi: {keys: [{name: broke, value: sk-sandbox-broke-1, weight: 1000},"
            " {name: good, value: sk-good-key-2}]}}"
        )
        rig.sandbox.script("key_unfunded", key="sk-sandbox-broke-1", times=None)
        for _ in range(4):
            assert (await rig.chat()).status == 200

        asked = [request.key for request in rig.sandbox.requests]
        assert asked.count("sk-sandbox-broke-1") <= 1  # left alone from then on
        assert asked.count("sk-good-key-2") == 4
