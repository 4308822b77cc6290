"""What a chat has and the gateway does not act on is the upstream's to judge; what would steer goes to none unasked."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import StartGateway
from .flux import created
from .harness import ALICE, MESSAGES, Rig

USER: dict[str, Any] = {"role": "user", "content": "hi"}

ODD: dict[str, dict[str, Any]] = {
    "a newer field": {"brand_new": {"deep": [1, {"a": None}]}, "top_a": 0.5},
    "a misspelt field": {"max_token": 5},
    "ranges": {"temperature": 5, "top_p": -1, "presence_penalty": 9, "seed": 2**64 - 1, "top_logprobs": 99},
    "types": {"logprobs": "x", "stop": 5, "user": 7, "logit_bias": [1], "metadata": "m", "modalities": "text"},
    "an effort of a newer shape": {"reasoning_effort": {"level": "xhigh"}, "response_format": {"kind": "newer"}},
    "a newer role": {"messages": [{"role": "critic", "content": "hm"}, USER]},
    "no role": {"messages": [{"content": "hm"}, USER]},
    "a tool without type": {"tools": [{"function": {"name": "f"}}], "tool_choice": ["f"]},
    "a newer tool": {"tools": [{"type": "computer_2027", "display": 1}]},
    "calls without arguments": {
        "messages": [USER, {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}]
    },
    "arguments as an object": {
        "messages": [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}]
    },
    "a part without type": {"messages": [{"role": "user", "content": [{"text": "hi"}, "hi", 5, None, {}]}]},
    "a newer part": {"messages": [{"role": "user", "content": [{"type": "hologram", "hologram": {"url": "x"}}]}]},
    "an image as text": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x"}]}]},
    "a number as content": {"messages": [{"role": "user", "content": 5}]},
    "nothing as content": {"messages": [{"role": "user", "content": None}, {"role": "user"}]},
    "thoughts of a history": {
        "messages": [USER, {"role": "assistant", "content": "x", "reasoning_details": [{"type": "y"}]}, USER]
    },
    "words that sound like orders": {"extra_headers": {"authorization": "x"}, "timeout": 0, "webhook_url": "http://x"},
}


def sent(rig: Rig, position: int = -1) -> dict[str, Any]:
    """What an upstream was asked, but for what the gateway sets itself."""
    body: dict[str, Any] = rig.sandbox.requests[position].json
    ours = ("model", "stream", "stream_options")
    return {name: value for name, value in body.items() if name not in ours}


class TestWhatIsNotActedOn:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
    async def test_goes_upstream_unchanged(self, rig: Rig, fields: dict[str, Any], stream: bool) -> None:
        answer = await rig.chat(**fields, stream=stream)

        assert sent(rig) == {"messages": MESSAGES, **fields}
        assert answer.status in (200, 400)  # the sandbox has its own mind about a few
        assert answer.header("x-gateway-attempts") == "1"
        assert answer.header("x-gateway-note") is None

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    @pytest.mark.parametrize(
        ("fields", "code", "param"),
        [
            ({"brand_new": 1}, "unknown_parameter", "brand_new"),
            ({"temperature": 5}, "decimal_above_max_value", "temperature"),
            ({"temperature": "hot"}, "invalid_type", "temperature"),
            ({"messages": [{"role": "critic", "content": "hm"}]}, "invalid_value", "messages[0].role"),
        ],
    )
    async def test_is_refused_in_the_upstreams_words(
        self, rig: Rig, fields: dict[str, Any], code: str, param: str, stream: bool
    ) -> None:
        rig.for_all_roles("strict_fields")

        answer = await rig.chat(**fields, stream=stream)

        error = answer.error()
        assert (answer.status, error["type"], error["code"]) == (400, "invalid_request_error", code)
        assert error["param"] == param
        assert param.rpartition(".")[2] in error["message"] or "Supported values" in error["message"]
        assert len(rig.sandbox.requests) == 1
        assert answer.header("x-should-retry") == "false"

    async def test_is_known_to_a_strict_upstream_if_it_is_openais(self, rig: Rig) -> None:
        rig.for_all_roles("strict_fields")

        assert (await rig.chat(temperature=1, seed=7, stream_options={"include_usage": True})).status == 200
        assert (await rig.chat(stream=True, stream_options={"include_usage": True})).status == 200

    async def test_is_counted_for_a_key_with_a_budget(self, gateway: StartGateway) -> None:
        rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}, budget: 5/day, tpm: 1000000}}]")

        for fields in ODD.values():
            assert (await rig.chat(**fields, max_tokens=20)).status in (200, 400)

        assert len(rig.sandbox.requests) == len(ODD)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": {}}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "100"}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": 5}, "stream_options"),
        ({"model": ["gpt-4o"]}, "model"),
    ],
)
async def test_what_the_gateway_acts_on_is_checked_to_the_letter(rig: Rig, fields: dict[str, Any], param: str) -> None:
    answer = await rig.chat(**fields)

    assert (answer.status, answer.error()["param"]) == (400, param)
    assert rig.sandbox.requests == []


@pytest.mark.parametrize("budget", ["", ", budget: 5/day, tpm: 1000000"], ids=["free", "limited"])
async def test_bounds_beyond_all_measure_are_no_fault_of_ours(gateway: StartGateway, budget: str) -> None:
    rig = await gateway(f"keys: [{{name: alice, team: growth, key: {ALICE}{budget}}}]")
    for name in ("max_tokens", "max_completion_tokens"):
        answer = await rig.chat(**{name: 2**64 - 1}, n=128, thinking={"budget_tokens": 2**64 - 1})
        assert answer.status == (429 if budget else 200)


@pytest.mark.parametrize("stream", [False, None])
async def test_stream_options_may_come_without_a_stream(rig: Rig, stream: bool | None) -> None:
    answer = await rig.chat(stream=stream, stream_options={"include_usage": True})

    assert answer.status == 200
    assert answer.json()["usage"]["total_tokens"] > 0


class TestWhatWouldSteer:
    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_is_left_out_and_named(self, rig: Rig, stream: bool) -> None:
        steering = {
            **{"models": ["gpt-4.1"], "provider": {"order": ["x"]}, "route": "fallback", "fallbacks": ["x"]},
            **{"plugins": [{"id": "web"}], "api_key": "sk-mine", "api_base": "http://x", "base_url": "http://x"},
            "webhook_config": {"endpoint": "http://x", "secret": "s"},
        }

        answer = await rig.chat(**steering, brand_new=1, stream=stream)

        assert answer.status == 200
        assert sent(rig) == {"messages": MESSAGES, "brand_new": 1}
        assert answer.header("x-gateway-note") == f"ignored: {', '.join(steering)}"

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    async def test_goes_to_the_upstream_that_is_to_get_it_and_to_no_other(
        self, gateway: StartGateway, stream: bool
    ) -> None:
        rig = await gateway("upstreams: {backup: {pass_fields: [provider, models]}}")
        rig.sandbox.script("server_error", role="api", times=None)
        rig.sandbox.script("server_error", role="proxy", times=None)
        rig.sandbox.script("ok;any_fields=1", role="backup")
        fields = {"provider": {"order": ["x"]}, "route": "fallback", "models": None}

        answer = await rig.chat(**fields, stream=stream)

        assert answer.status == 200
        assert answer.header("x-gateway-upstream") == "backup"
        assert answer.header("x-gateway-note") == "ignored: route"
        asked = [(request.role, sent(rig, place)) for place, request in enumerate(rig.sandbox.requests)]
        assert [fields for role, fields in asked if role != "backup"] == [{"messages": MESSAGES}] * (len(asked) - 1)
        assert asked[-1] == ("backup", {"messages": MESSAGES, "provider": {"order": ["x"]}, "models": None})

    async def test_is_named_in_a_refusal_too(self, rig: Rig) -> None:
        rig.for_all_roles("strict_fields")

        answer = await rig.chat(provider={}, brand_new=1)

        assert (answer.status, answer.error()["param"]) == (400, "brand_new")
        assert answer.header("x-gateway-note") == "ignored: provider"

    async def test_is_left_out_for_openais_sdk(self, rig: Rig) -> None:
        answer = await rig.openai().chat.completions.with_raw_response.create(
            model="gpt-4o", messages=MESSAGES, extra_body={"provider": {"sort": "price"}, "usage": {"include": True}}
        )

        assert answer.headers["x-gateway-note"] == "ignored: provider"
        assert sent(rig) == {"messages": MESSAGES, "usage": {"include": True}}


class TestAChatWithFlux:
    async def test_does_without_what_chat_clients_send(self, rig: Rig) -> None:
        odd = {"temperature": 5, "tools": [{"function": {}}], "logprobs": "x", "stop": 5, "provider": {}, "seed": 2**63}

        answer = await rig.chat(model="flux-dev", stream_options={"include_usage": True}, guidance_scale=3, **odd)

        assert answer.status == 200
        assert answer.header("x-gateway-note") == "ignored: provider"
        [task] = created(rig)
        assert task.json["input"]["guidance_scale"] == 3

    async def test_has_no_unknown_field(self, rig: Rig) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await rig.openai().chat.completions.create(
                model="flux-schnell", messages=MESSAGES, extra_body={"guidence_scale": 3}
            )

        assert (refused.value.code, refused.value.param) == ("unknown_parameter", "guidence_scale")
        assert "guidance_scale" in refused.value.message
        assert rig.sandbox.requests == []


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "image_url", "newer", "url"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
_PASSED = (
    *("tools", "tool_choice", "functions", "temperature", "stop", "response_format", "thinking", "modalities", "seed"),
    *(
        "service_tier",
        "web_search_options",
        "prediction",
        "logprobs",
        "provider",
        "models",
        "newer",
        "reasoning_effort",
    ),
)
_ACTED_ON = ("n", "max_tokens", "max_completion_tokens", "stream", "stream_options")
odd_messages = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "audio", "newer"]), anything, max_size=3),
    min_size=1,
    max_size=3,
)
odd_bodies = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt-4o", "gpt-4o", "flux-schnell"]), "messages": odd_messages | anything},
    optional={
        **dict.fromkeys(_PASSED, anything),
        **{name: st.none() | st.integers(1, 9) | st.booleans() | anything for name in _ACTED_ON},
    },
)


def odd_bodies_of(count: int) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = []

    @settings(max_examples=count, database=None, derandomize=True)
    @given(odd_bodies)
    def collect(body: dict[str, Any]) -> None:
        bodies.append(body)

    collect()
    return bodies


async def test_odd_bodies_are_answered_by_the_upstream_or_refused(rig: Rig) -> None:
    """Grammar-based: what passes must reach the upstream as it came, what does not must name a field."""
    rig.for_all_roles("rejected")  # any body will do for it
    reached = 0
    async with rig.client() as client:
        for body in odd_bodies_of(300):
            before = len(rig.sandbox.requests)
            await client.ask(json.dumps(body).encode())
            answer = await client.rest(await client.head())
            assert answer.status == 400, (answer.status, body)
            if len(rig.sandbox.requests) == before:
                named = answer.error()["param"]
                assert str(named).partition("[")[0].partition(".")[0] in body, (named, body)
            elif body["model"] == "gpt-4o":
                reached += 1
                ours = ("model", "stream", "stream_options", "provider", "models")
                assert sent(rig) == {name: value for name, value in body.items() if name not in ours}
    assert reached > 10
