"""Upstreams that refuse what only the gateway asked for: the stream of a client that wants none, and its usage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.faults.wish_faults import OPTIONS_WORDS, STREAM_WORDS

from .conftest import StartGateway
from .harness import ALICE, Answer, Rig
from .streams import TOOLS, direct
from .test_nonstream import plain

ATTEMPTS = "gateway_upstream_attempts_total"
AUDIO: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
IN_JSON = [{"role": "user", "content": "hello in JSON"}]
JSON: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}


def asked(rig: Rig) -> list[tuple[str, object, object]]:
    """Each request upstream: the host, and what it was asked of a stream; "-" where the field was not there."""
    return [
        (one.role, one.json.get("stream", "-"), one.json.get("stream_options", "-")) for one in rig.sandbox.requests
    ]


STREAMED = (True, {"include_usage": True})
BARE = (True, "-")
WHOLE = ("-", "-")


def check_served(answer: Answer) -> None:
    assert answer.status == 200
    message = answer.json()["choices"][0]["message"]
    assert message["content"] or message["audio"]["transcript"]
    assert answer.json()["usage"]["total_tokens"] > 0
    assert b"stream" not in answer.body


class TestAStreamThatOnlyWeWanted:
    @pytest.mark.parametrize("words", STREAM_WORDS)
    @pytest.mark.parametrize("code", [400, 422])
    async def test_is_asked_for_again_as_the_client_asked(self, rig: Rig, words: str, code: int) -> None:
        rig.for_all_roles(f"refuses_stream;words={words};code={code}")

        answer = await rig.chat()

        check_served(answer)
        assert asked(rig) == [("api", *STREAMED), ("proxy", *WHOLE)]
        assert answer.header("x-gateway-attempts") == "2"
        row = await rig.row()
        assert row.outcomes == ["wish_refused", "ok"]
        assert (row.state, row.confidence) == ("settled", "measured")
        assert row.upstream_cost == row.charged == rig.sandbox.bill[0].amount
        figures = await rig.figures()
        assert figures.total(ATTEMPTS, endpoint=rig.sandbox.urls["api"], outcome="wish_refused") == 1
        [line] = await rig.log_lines("attempt")
        assert (line["outcome"], line["phase"], line["upstream_status"]) == ("wish_refused", 1, code)

    @pytest.mark.parametrize("code", [403, 404, 405, 415, 500, 501])
    async def test_whatever_the_status_if_the_words_leave_no_doubt(self, rig: Rig, code: int) -> None:
        rig.for_all_roles(f"refuses_stream;words=verify;code={code}")

        answer = await rig.chat()

        check_served(answer)
        assert [one[1:] for one in asked(rig)] == [STREAMED, WHOLE]
        assert (await rig.row()).outcomes == ["wish_refused", "ok"]

    @pytest.mark.parametrize("inside", ["event", "body", "text"])
    async def test_wherever_it_is_told(self, rig: Rig, inside: str) -> None:
        rig.for_all_roles(f"refuses_stream;words=plain;inside={inside}")

        answer = await rig.chat()

        check_served(answer)
        assert [one[1:] for one in asked(rig)] == [STREAMED, WHOLE]

    async def test_the_whole_answer_is_the_upstreams_own(self, rig: Rig) -> None:
        fields = {"n": 2, "logprobs": True, "tools": TOOLS}
        expected = (await direct(rig.sandbox, "tool_calls", **fields)).json()
        rig.sandbox.script("refuses_stream")
        rig.sandbox.script("tool_calls")

        answer = await rig.chat(**fields)

        assert plain(answer.json()) == plain(expected)
        assert asked(rig)[2][1:] == WHOLE

    async def test_an_explicit_false_stays(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream")

        await rig.chat(stream=False, stream_options=None)

        assert asked(rig)[1] == ("proxy", False, None)

    async def test_a_big_answer_comes_through(self, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream")
        rig.sandbox.script("ok;reasoning=250000")

        answer = await rig.chat()

        check_served(answer)
        assert len(answer.body) > 1_000_000

    async def test_costs_none_of_the_attempts(self, gateway: StartGateway) -> None:
        rig = await gateway("failover: {attempts: 1, retry_budget: 0}")
        rig.for_all_roles("refuses_wishes")

        answer = await rig.chat()

        check_served(answer)
        assert [one[1:] for one in asked(rig)] == [STREAMED, BARE, WHOLE]
        assert (await rig.row()).outcomes == ["wish_refused", "wish_refused", "ok"]

    async def test_nothing_is_held_against_anybody(self, rig: Rig) -> None:
        for number in range(8):  # eight shapes, more than what opens a breaker
            rig.sandbox.script("refuses_stream", role="api")
            await rig.chat(**{f"odd_{number}": 1} if number else {}, **{"web_search_options": {"n": number}})
        figures = await rig.figures()
        assert figures.total("gateway_endpoint_available", endpoint=rig.sandbox.urls["api"]) == 1
        assert figures.total("gateway_upstream_key_available", upstream="piapi") == 1

    async def test_goes_on_elsewhere_if_the_whole_answer_fails(self, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream", role="api", times=None)
        rig.sandbox.script("server_error", role="proxy", times=None)

        answer = await rig.chat()

        assert answer.status == 200
        assert [one[:2] for one in asked(rig)] == [("api", True), ("proxy", "-"), ("api", "-")]
        assert (await rig.row()).outcomes == ["wish_refused", "upstream_5xx", "ok"]


class TestItsUsage:
    @pytest.mark.parametrize("words", OPTIONS_WORDS)
    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_is_given_up_and_the_stream_kept(self, rig: Rig, words: str, stream: bool) -> None:
        rig.for_all_roles(f"refuses_stream_options;words={words}")

        answer = await rig.chat(stream=stream)

        assert answer.status == 200
        assert asked(rig) == [("api", *STREAMED), ("api", *BARE)]
        if stream:
            assert answer.payloads[-1] == b"[DONE]"
            assert not [one for one in answer.payloads if b'"usage":{' in one]
        else:
            check_served(answer)
        row = await rig.row()
        assert row.outcomes == ["wish_refused", "ok"]
        assert (row.confidence, row.state) == ("estimated", "settled")

    async def test_options_of_the_clients_own_stay(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream_options;words=openai")

        answer = await rig.chat(stream=True, stream_options={"include_obfuscation": False})

        assert answer.status == 400  # which it asked for itself
        assert [one[2] for one in asked(rig)] == [
            {"include_obfuscation": False, "include_usage": True},
            {"include_obfuscation": False},
        ]

    async def test_that_the_client_asked_for_is_its_own_affair(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream_options;words=openai")

        answer = await rig.chat(stream=True, stream_options={"include_usage": True})

        assert (answer.status, answer.json()["error"]["param"]) == (400, "stream_options")
        assert len(rig.sandbox.requests) == 1

    async def test_a_stream_that_the_client_asked_for_too(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream;words=verify")

        answer = await rig.chat(stream=True)

        assert (answer.status, answer.json()["error"]["param"]) == (400, "stream")
        assert len(rig.sandbox.requests) == 1
        assert (await rig.row()).outcomes == ["rejected"]


class TestMemory:
    async def test_the_next_of_the_shape_is_asked_for_whole_at_once(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_audio_stream")
        await rig.chat(**AUDIO)

        answer = await rig.chat(**AUDIO, temperature=0.5, messages=[{"role": "user", "content": "something else"}])

        check_served(answer)
        assert asked(rig)[2:] == [("proxy", *WHOLE)]
        assert answer.header("x-gateway-attempts") == "1"

    @pytest.mark.parametrize(
        "other",
        [
            {},
            {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}},
            JSON,
            {"tools": TOOLS},
            {"n": 2},
        ],
        ids=["plain", "pcm16", "json", "tools", "n"],
    )
    async def test_another_shape_is_still_streamed(self, rig: Rig, other: dict[str, Any]) -> None:
        rig.for_all_roles("refuses_audio_stream")
        await rig.chat(**AUDIO)

        await rig.chat(**other)

        assert asked(rig)[2:] == [("api", *STREAMED)]

    @pytest.mark.parametrize("kind", ["json_object", "json_schema"])
    async def test_json_is_a_shape_of_its_own(self, rig: Rig, kind: str) -> None:
        rig.for_all_roles("refuses_json_stream")
        form = {"type": kind, "json_schema": {"name": "a", "schema": {}}}

        for fields in ({"response_format": form}, {}, {"response_format": form}):
            assert (await rig.chat(**fields, messages=IN_JSON)).status == 200

        assert [one[1] for one in asked(rig)] == [True, "-", True, "-"]

    async def test_another_model_and_another_upstream_are_asked_anew(self, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream", role="api")
        await rig.chat()

        await rig.chat(model="gpt-4o-mini")

        assert asked(rig)[2][1:] == STREAMED

    async def test_usage_is_not_asked_for_of_streams_either(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream_options")
        await rig.chat()

        await rig.chat(stream=True)

        assert asked(rig)[2:] == [("api", *BARE)]

    async def test_a_stream_that_a_client_wants_is_asked_for_all_the_same(self, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream")
        await rig.chat()

        answer = await rig.chat(stream=True)

        assert answer.payloads[-1] == b"[DONE]"
        assert asked(rig)[2] == ("api", *STREAMED)

    async def test_a_refusal_that_was_none_is_forgotten(self, rig: Rig) -> None:
        """The words spoke of a stream, but the request was at fault."""
        rig.for_all_roles("rejected;message=The prompt of your streaming request is not valid")
        answer = await rig.chat()
        assert answer.json()["error"]["message"] == "The prompt of your streaming request is not valid"
        assert [one[1] for one in asked(rig)] == [True, "-"]

        await rig.chat()

        assert asked(rig)[2][1:] == STREAMED

    async def test_lives_through_a_reload(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream")
        await rig.chat()

        await rig.gateway.reload()
        await rig.chat()

        assert asked(rig)[2:] == [("proxy", *WHOLE)]


class TestTime:
    async def test_a_whole_answer_may_be_silent_for_longer_than_a_stream(self, gateway: StartGateway) -> None:
        times = "{head: 150ms, content: 150ms, idle: 150ms}"
        rig = await gateway(f"upstreams: {{piapi: {{timeouts: {times}}}}}")
        rig.for_all_roles("refuses_stream;seconds=0.8")

        for _ in range(2):
            check_served(await rig.chat())

        assert [one[:2] for one in asked(rig)] == [("api", True), ("proxy", "-"), ("proxy", "-")]

    async def test_a_stream_may_not(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {head: 150ms}}}")
        rig.sandbox.script("stall_head;seconds=0.8", role="api")

        await rig.chat()

        assert (await rig.row()).outcomes == ["stall_head", "ok"]

    async def test_where_every_host_has_a_wall_it_holds(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        walls = [{"url": sandbox.urls[role], "wall": "300ms"} for role in ("api", "proxy")]
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: {walls}}}}}")
        rig.sandbox.script("refuses_stream;seconds=2", role="api", times=None)
        rig.sandbox.script("refuses_stream;seconds=0", role="proxy", times=None)

        answer = await rig.chat()

        check_served(answer)
        assert [one[:2] for one in asked(rig)] == [("api", True), ("api", "-"), ("proxy", "-")]
        assert (await rig.row()).outcomes == ["wish_refused", "stall_head", "ok"]

    async def test_no_time_to_ask_again_is_told_without_its_words(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {timeouts: {total: 900ms}}}")
        rig.for_all_roles("refuses_stream")

        answer = await rig.chat()

        assert (answer.status, answer.json()["error"]["code"]) == (504, "upstream_timeout")
        assert b"verified" not in answer.body
        assert len(rig.sandbox.requests) == 1
        row = await rig.row()
        assert (row.state, row.charged, row.outcomes) == ("released", 0, ["wish_refused"])


class TestWhatTheClientIsTold:
    async def test_another_fault_of_the_request_in_the_end(self, rig: Rig) -> None:
        rig.sandbox.script("refuses_stream")
        rig.sandbox.script("rejected;message=max_tokens is too large: 999999")

        answer = await rig.chat()

        assert (answer.status, answer.json()["error"]["message"]) == (400, "max_tokens is too large: 999999")
        assert (await rig.row()).outcomes == ["wish_refused", "rejected"]

    @pytest.mark.parametrize(
        "words",
        [
            "Invalid schema for function 'stream_reader'",
            "messages[3]: upstream model does not exist",
            "Invalid value for tool 'stream'",
            "the content type text/event-stream is not wanted",
            "Could not decode the audio stream",
        ],
    )
    async def test_other_streams_are_no_wish(self, rig: Rig, words: str) -> None:
        rig.for_all_roles(f"rejected;message={words}")

        answer = await rig.chat()

        assert answer.json()["error"]["message"] == words
        assert len(rig.sandbox.requests) == 1


class TestPictures:
    async def test_one_by_chat(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream_options")

        answer = await rig.chat(model="gpt-4o-image")

        assert "![" in answer.json()["choices"][0]["message"]["content"]
        row = await rig.row()
        assert row.outcomes == ["wish_refused", "ok"]
        assert (row.images, row.charged, row.upstream_cost) == (1, 20_000_000, 20_000_000)

    async def test_one_by_chat_refused_either_way(self, rig: Rig) -> None:
        """PiAPI's gpt-4o-image answers in streams only: what it says of the whole answer is what the client reads."""
        rig.for_all_roles("refuses_stream")

        answer = await rig.chat(model="gpt-4o-image")

        assert (answer.status, b"only be used in stream mode" in answer.body) == (400, True)
        assert asked(rig) == [("api", *STREAMED), ("proxy", *WHOLE)]
        row = await rig.row()
        assert (row.outcomes, row.charged, row.upstream_cost) == (["wish_refused", "rejected"], 0, 0)

    async def test_one_that_was_not_refused_for_the_stream(self, rig: Rig) -> None:
        """The host would have the stream, and says so of the whole answer: but the request was at fault."""
        words = "The picture in your streaming request cannot be read"
        rig.sandbox.script(f"rejected;message={words}")

        answer = await rig.chat(model="gpt-4o-image")

        assert (answer.status, answer.json()["error"]["message"]) == (400, words)
        assert [one[1] for one in asked(rig)] == [True, "-"]
        row = await rig.row()
        assert (row.state, row.charged, row.upstream_cost) == ("released", 0, 0)

    async def test_one_in_doubt_is_not_asked_for_again(self, rig: Rig) -> None:
        """The error stands inside a 200: what was done is not known."""
        rig.for_all_roles("sse_error_string;error=streaming is not supported")

        await rig.chat(model="gpt-4o-image")

        assert "wish_refused" not in (await rig.row()).outcomes

    async def test_one_by_the_images_route(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream_options;words=fastapi;code=422")

        answer = await order(rig, {"model": "gpt-4o-image", "prompt": "a cat"})

        assert (answer.status, len(answer.json()["data"])) == (200, 1)
        assert asked(rig) == [("api", *STREAMED), ("api", *BARE)]
        row = await rig.row()
        assert (row.outcomes, row.images, row.charged) == (["wish_refused", "ok"], 1, 20_000_000)

    async def test_one_by_an_images_api(self, sandbox: Sandbox, gateway: StartGateway) -> None:
        """PiAPI's gpt-image-1 is asked for a stream in any case; here by a host that can do without."""
        rig = await gateway(f"upstreams: {{piapi: {{endpoints: [{{url: {sandbox.urls['backup']}}}]}}}}")
        rig.for_all_roles("refuses_stream;words=unsupported")

        for _ in range(2):
            answer = await order(rig, {"model": "gpt-image-1", "prompt": "a cat"})
            assert (answer.status, len(answer.json()["data"])) == (200, 1)

        assert [one[1] for one in asked(rig)] == [True, "-", "-"]
        assert [row.outcomes for row in await rig.rows(2)] == [["wish_refused", "ok"], ["ok"]]

    async def test_one_streamed_by_an_images_api_as_the_client_wants(self, rig: Rig) -> None:
        rig.for_all_roles("refuses_stream;words=unsupported")

        answer = await order(rig, {"model": "gpt-image-1", "prompt": "a cat", "stream": True})

        assert (answer.status, answer.json()["error"]["param"]) == (400, "stream")
        assert [one[1] for one in asked(rig)] == [True]


async def order(rig: Rig, body: dict[str, Any]) -> Answer:
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), ALICE, target="/v1/images/generations")
        return await client.rest(await client.head())
