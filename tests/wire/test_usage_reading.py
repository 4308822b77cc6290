"""Usage in every vendor's words: all input, all output, and the parts of both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

import gateway.wire.usage_reading as usage_reading
from gateway.core.types import Usage
from gateway.wire.chat_chunk import chunk_facts
from gateway.wire.usage_reading import calls_in, read_usage, tier_in, usage_for_clients, write_usage


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {
                    "cached_tokens": 20,
                    "cache_write_tokens": 30,
                    "audio_tokens": 8,
                    "image_tokens": 9,
                    "text_tokens": 83,
                },
                "completion_tokens_details": {"reasoning_tokens": 7, "audio_tokens": 6, "image_tokens": 5},
            },
            Usage(
                100,
                20,
                50,
                image_input_tokens=9,
                cache_write_tokens=30,
                image_output_tokens=5,
                audio_input_tokens=8,
                audio_output_tokens=6,
                reasoning_tokens=7,
            ),
        ),
        (  # OpenAI's Responses
            {
                "input_tokens": 100,
                "input_tokens_details": {
                    "cached_tokens": 20,
                    "cache_write_tokens": 30,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 10, "ttl_12h_tokens": 20},
                },
                "output_tokens": 50,
                "output_tokens_details": {"reasoning_tokens": 7},
                "total_tokens": 150,
            },
            Usage(100, 20, 50, cache_write_tokens=30, cache_write_12h_tokens=20, reasoning_tokens=7),
        ),
        (  # Anthropic
            {"input_tokens": 50, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 30, "output_tokens": 5},
            Usage(100, 20, 5, cache_write_tokens=30),
        ),
        (
            {"input_tokens": 50, "cache_read_input_tokens": None, "cache_creation_input_tokens": 0, "output_tokens": 5},
            Usage(50, 0, 5),
        ),
        (
            {"input_tokens": 1, "output_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 9}},
            Usage(1, 0, 5, cache_write_tokens=1, cache_write_hour_tokens=1),
        ),
        (  # Google, as its REST answers and its Python SDK write it
            {
                "promptTokenCount": 100,
                "candidatesTokenCount": 40,
                "thoughtsTokenCount": 10,
                "totalTokenCount": 150,
                "cachedContentTokenCount": 20,
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 30}],
            },
            Usage(100, 20, 50, image_output_tokens=30, reasoning_tokens=10),
        ),
        (
            {"prompt_token_count": 100, "thoughts_token_count": 10, "tool_use_prompt_token_count": 7},
            Usage(107, 0, 10, reasoning_tokens=10),
        ),
        ({"promptTokenCount": 100, "totalTokenCount": 100}, Usage(100, 0, 0)),
        ({"promptTokenCount": 100}, None),
        ({"promptTokenCount": -1, "candidatesTokenCount": 1}, None),
        (  # Moonshot, DeepSeek, Qwen, LiteLLM
            {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 4},
            Usage(10, 4, 1),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6},
            Usage(10, 4, 1),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_creation_input_tokens": 5},
            },
            Usage(10, 4, 1, cache_write_tokens=5),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "cache_creation_input_tokens": 5},
            Usage(10, 0, 1, cache_write_tokens=5),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": True}, Usage(10, 0, 1)),
        ({"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 20}, Usage(10, 0, 10, confidence="estimated")),
        ({"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": "none"}, Usage(10, 0, 1)),
        ({"prompt_tokens": 10.5, "completion_tokens": 1}, None),
        ({"prompt_tokens": 10}, None),
        ([], None),
        ("", None),
    ],
)
def test_read(stated: Any, usage: Usage | None) -> None:
    assert read_usage(stated) == usage


@pytest.mark.parametrize(
    ("stated", "calls"),
    [
        ({}, 0),
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 9}}, 2),
        ({"server_tool_use": None, "num_search_queries": 4}, 4),
        ({"num_sources_used": 4}, 4),
        ({"web_search_requests": 10**9}, 0),
        ({"web_search_calls": "many"}, 0),
        ({"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": "?"}}, 2),
    ],
)
def test_calls(stated: dict[str, Any], calls: int) -> None:
    assert calls_in(stated) == calls


@pytest.mark.parametrize(
    ("document", "tier"),
    [
        ({}, None),
        ({"service_tier": "default"}, "default"),
        ({"service_tier": None, "usage": {"service_tier": "batch"}}, "batch"),
        ({"service_tier": 3}, None),
        ({"usage": {"service_tier": "standard", "speed": "fast"}}, "fast"),
        ({"service_tier": "x" * 1000}, "x" * 64),
    ],
)
def test_the_tier(document: dict[str, Any], tier: str | None) -> None:
    assert tier_in(document) == tier


def test_googles_name_for_usage_is_found_where_an_answer_ends() -> None:
    stated = {"promptTokenCount": 5, "candidatesTokenCount": 2}
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usageMetadata": stated}
    assert chunk_facts(ended).usage == Usage(5, 0, 2)
    alone = chunk_facts({"choices": [], "usageMetadata": stated})
    assert (alone.usage, alone.usage_only) == (Usage(5, 0, 2), True)
    bare = chunk_facts({"usageMetadata": stated})
    assert (bare.usage, bare.usage_only) == (Usage(5, 0, 2), True)


def test_what_has_openais_words_reaches_the_client_as_it_came() -> None:
    stated = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "cost": 0.1, "x": {}}
    assert usage_for_clients(stated, Usage(5, 0, 2)) is stated
    lacking = {"prompt_tokens": 5, "completion_tokens": 2}
    assert usage_for_clients(lacking, Usage(5, 0, 2)) == {**lacking, "total_tokens": 7}


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({"prompt_tokens": 100.0, "completion_tokens": 10.0, "total_tokens": 110.0}, Usage(100, 0, 10)),
        (
            {"input_tokens": 100.0, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 60.0}},
            Usage(100, 60, 10),
        ),
        ({"promptTokenCount": 100.0, "candidatesTokenCount": 10.0}, Usage(100, 0, 10)),
        ({"prompt_tokens": 100, "total_tokens": 110}, Usage(100, 0, 10)),
        ({"prompt_tokens": 100, "completion_tokens": None, "total_tokens": 110.0}, Usage(100, 0, 10)),
        ({"prompt_tokens": 100, "completion_tokens": None, "total_tokens": 100}, None),  # of a stream's beginning
        ({"prompt_tokens": 100, "completion_tokens": "10", "total_tokens": 110}, None),
        ({"prompt_tokens": 100, "total_tokens": 90}, None),
        ({"input_tokens": 10, "cache_read_input_tokens": 90, "total_tokens": 110}, None),
        ({"prompt_tokens": 100.5, "completion_tokens": 10}, None),
        ({"prompt_tokens": 1e300, "completion_tokens": 10}, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, None),
        ({"total_tokens": 110}, None),
    ],
)
def test_figures_that_can_only_mean_one_thing_are_read(stated: dict[str, Any], usage: Usage | None) -> None:
    assert read_usage(stated) == usage
    if usage is not None:
        told = usage_for_clients(stated, usage)
        assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (100, 10, 110)


COUNTS = st.integers(-5, 1000) | st.none() | st.booleans() | st.text(max_size=2) | st.floats()
NAMES = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens", "cached_tokens"),
        *("cache_read_input_tokens", "cache_creation_input_tokens", "prompt_cache_hit_tokens", "reasoning_tokens"),
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount", "audio_tokens"),
        *("cache_write_tokens", "image_tokens", "ttl_12h_tokens", "ephemeral_1h_input_tokens", "num_search_queries"),
    ]
)
PARTS = st.sampled_from(["prompt_tokens_details", "completion_tokens_details", "cache_creation", "server_tool_use"])
STATED = st.dictionaries(NAMES, COUNTS, max_size=12).flatmap(
    lambda plain: st.dictionaries(PARTS, st.dictionaries(NAMES, COUNTS) | COUNTS, max_size=4).map(
        lambda parts: {**plain, **parts}
    )
)


@given(STATED)
def test_whatever_is_stated_no_part_is_larger_than_its_whole(stated: dict[str, Any]) -> None:
    usage = read_usage(stated)
    if usage is None:
        return
    assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.image_input_tokens + usage.audio_input_tokens <= usage.input_tokens
    assert usage.image_output_tokens + usage.audio_output_tokens <= usage.output_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.cache_write_hour_tokens + usage.cache_write_12h_tokens <= usage.cache_write_tokens
    told = usage_for_clients(stated, usage)
    assert stated.keys() <= told.keys()
    assert type(told["prompt_tokens"]) is int


@given(st.integers(0, 1000), st.integers(0, 1000), st.data())
def test_what_is_written_reads_as_it_was(prompt: int, completion: int, data: st.DataObject) -> None:
    images = data.draw(st.integers(0, prompt))
    cached = data.draw(st.integers(0, prompt))
    made = data.draw(st.integers(0, completion))
    usage = Usage(
        prompt,
        cached,
        completion,
        image_input_tokens=images,
        cache_write_tokens=data.draw(st.integers(0, prompt - cached)),
        image_output_tokens=made,
        audio_input_tokens=data.draw(st.integers(0, prompt - images)),
        audio_output_tokens=data.draw(st.integers(0, completion - made)),
        reasoning_tokens=data.draw(st.integers(0, completion)),
    )
    assert read_usage(write_usage(usage)) == usage
    CompletionUsage.model_validate(write_usage(usage))


@given(STATED)
def test_a_usage_without_parts_is_read_like_any_other(stated: dict[str, Any]) -> None:
    quick, parts = read_usage(stated), usage_reading._parts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage_reading, "_parts", lambda details: usage_reading._Parts(*parts(details)))
        assert read_usage(stated) == quick
