"""What a chat request asks for that has a price of its own, in the words of many vendors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.wire.asked_thinking as asked_thinking
from gateway.core.pricing.service_tiers import most_tier_factor
from gateway.core.types import Price, Usage
from gateway.wire.asked_thinking import MOST_THINKING, UNBOUNDED_THINKING
from gateway.wire.asked_work import (
    UNBOUNDED_CALLS,
    as_asked,
    asked_of,
    asked_tier,
    most_asked_output,
    most_beside,
    most_choices,
)

MESSAGES = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> dict[str, Any]:
    return {"messages": MESSAGES, **fields}


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, None),
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": None}, None),
        ({"service_tier": " "}, None),
        ({"service_tier": 7}, None),
        ({"service_tier": ["fast"]}, None),
        ({"speed": "fast"}, "fast"),
        ({"speed": "standard"}, None),
    ],
)
def test_the_tier(fields: dict[str, Any], tier: str | None) -> None:
    assert asked_tier(body(**fields)) == tier


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({}, 2),  # what an account's settings may say
        ({"service_tier": "default"}, 1),
        ({"service_tier": "flex"}, 1),
        ({"service_tier": "Priority"}, 2),
        ({"service_tier": "ultrafast"}, 6),
        ({"service_tier": "of tomorrow"}, 6),
        ({"service_tier": 7}, 6),
        ({"service_tier": ["fast"]}, 6),
        ({"speed": "fast"}, 2),
        ({"speed": "fast", "service_tier": "standard_only"}, 2),
        ({"speed": "fast", "service_tier": "ultrafast"}, 6),
        ({"speed": {"mode": "fast"}}, 6),
        ({"speed": "standard", "service_tier": "flex"}, 1),
        ({"extra_body": {"service_tier": "fast"}}, 6),
        ({"extra_body": {"extra_body": {"speed": "fast"}}, "service_tier": "default"}, 6),
    ],
)
def test_the_dearest_tier_that_a_request_may_get_is_reserved(fields: dict[str, Any], factor: int) -> None:
    price = Price(input=1, output=1, tiers={"flex": 500, "fast": 2000, "ultrafast": 6000})
    assert most_tier_factor(price, asked_of(body(**fields), "gpt-4o")) == factor * 1000


@pytest.mark.parametrize(
    ("fields", "model", "calls"),
    [
        ({}, "gpt-4o", 0),
        ({"web_search_options": {}}, "gpt-4o", 1),
        ({"web_search_options": {}, "n": 3}, "gpt-4o", 3),
        ({"web_search_options": {}, "max_tool_calls": 0}, "gpt-4o", 1),  # it is no tool's
        ({"tools": [{"type": "web_search_20250305", "max_uses": 3}], "n": 2}, "claude", 6),
        ({}, "gpt-4o-search-preview", 1),
        ({}, "perplexity/sonar-pro", 1),
        ({}, "sonar-deep-research", UNBOUNDED_CALLS),
        ({}, "gpt-5-search-api", 1),
        ({"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom"}]}, "gpt-4o", 0),
        ({"tools": [{"function": {"name": "f"}}]}, "gpt-4o", 0),
        ({"tools": [{"type": "web_search_20250305", "max_uses": 3}]}, "claude", 3),
        ({"tools": [{"google_search": {}}]}, "gemini", UNBOUNDED_CALLS),
        ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, "gpt-4o", UNBOUNDED_CALLS),  # not every vendor's
        ({"newer": {"id": 1}}, "gpt-4o", UNBOUNDED_CALLS),
        ({"tools": "all"}, "gpt-4o", 0),
        ({"search_parameters": {"mode": "auto", "max_search_results": 5}}, "grok", 5),
        ({"enable_search": True}, "qwen", UNBOUNDED_CALLS),
        ({"enable_search": False}, "qwen", 0),
        ({"plugins": [{"id": "web"}]}, "gpt-4o", UNBOUNDED_CALLS),
    ],
)
def test_calls(fields: dict[str, Any], model: str, calls: int) -> None:
    assert asked_of(body(**fields), model).calls == calls


@pytest.mark.parametrize(
    ("fields", "model", "tokens"),
    [
        ({}, "claude", 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 16_000}}, "claude", 16_000),
        ({"thinking": {"type": "adaptive"}}, "claude", UNBOUNDED_THINKING),
        ({"thinking": {"type": "disabled"}}, "claude", 0),
        ({"reasoning": {"max_tokens": 5_000}}, "claude", 5_000),
        ({"reasoning": {"effort": "high"}}, "claude", UNBOUNDED_THINKING),
        ({"reasoning_effort": "high"}, "claude", UNBOUNDED_THINKING),
        ({"reasoning_effort": "none"}, "claude", 0),
        ({"reasoning_effort": "high"}, "openai/gpt-6.2-sol", 0),  # within the client's bound
        ({"google": {"thinking_config": {"thinking_budget": 2_048}}}, "gemini", 2_048),
        ({"extra_body": {"google": {"thinkingConfig": {"thinkingBudget": 4_096}}}}, "gemini", 4_096),
        ({"google": {"thinking_config": {"thinking_budget": -1}}}, "gemini", UNBOUNDED_THINKING),
        ({"thinking_budget": 800, "enable_thinking": True}, "qwen", 800),
        ({"enable_thinking": True}, "qwen", UNBOUNDED_THINKING),
        ({"thinking": {"type": "enabled", "budget_tokens": "40000"}}, "claude", 40_000),  # relays take it as text
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "claude", UNBOUNDED_THINKING),
        ({"thinking": {"type": "enabled", "budget_tokens": 12_000.0}}, "claude", 12_000),
        ({"thinking": {"type": "enabled", "budget_tokens": 1.2e4}}, "gpt-4o", 12_000),
        ({"thinking": {"type": "enabled", "budget_tokens": 12_000.5}}, "claude", 12_001),
        ({"thinking": {"type": "enabled", "budget_tokens": " 1.2E4 "}}, "claude", 12_000),
        ({"thinking": {"type": "enabled", "budget_tokens": "00000000000012000"}}, "claude", 12_000),
        ({"thinking": {"type": "enabled", "budget_tokens": "+12_000"}}, "claude", 12_000),
        ({"thinking": {"type": "enabled", "budget_tokens": "12000 tokens"}}, "claude", MOST_THINKING),
        ({"thinking": {"type": "enabled", "budget_tokens": 1e300}}, "claude", MOST_THINKING),
        ({"thinking": {"type": "enabled", "budget_tokens": "-1"}}, "claude", UNBOUNDED_THINKING),
        ({"thinking": [{"budget_tokens": [12_000]}]}, "claude", 12_000),
        ({"thinking": {"type": "adaptive"}, "reasoning": {"max_tokens": 1}}, "claude", UNBOUNDED_THINKING),
        ({"output_config": {"effort": "max"}}, "claude", UNBOUNDED_THINKING),
        ({"google": {"thinking_config": {"thinking_level": "high"}}}, "gemini", UNBOUNDED_THINKING),
        ({"google": {"thinking_config": {"thinking_budget": 0, "include_thoughts": True}}}, "gemini", 0),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "qwen", UNBOUNDED_THINKING),
        ({"chat_template_kwargs": {"thinking": True, "thinking_budget": 900}}, "deepseek", 900),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "qwen", 0),
        ({"max_reasoning_tokens": 50_000}, "qwen", 50_000),
        ({"thinking": {"budget": 12_000}}, "claude", 12_000),
        ({"think": "high"}, "gpt-oss-ollama", 0),  # within the client's bound, as all of OpenAI's
        ({"think": True}, "qwen", UNBOUNDED_THINKING),
        ({"include_reasoning": True, "reasoning": {"exclude": True, "summary": "auto"}}, "qwen", 0),
        ({"reasoning": {"effort": "none"}}, "qwen", 0),
        ({"metadata": {"thinking_budget": 9}}, "claude", 0),
    ],
)
def test_thinking(fields: dict[str, Any], model: str, tokens: int) -> None:
    assert most_beside(body(**fields), model) == (tokens, 0)


def test_a_prediction_may_be_billed_beside() -> None:
    prediction = {"type": "content", "content": "x" * 100}
    assert most_beside(body(prediction=prediction), "gpt-4o")[1] >= 100


def test_a_prediction_in_an_envelope_is_one() -> None:
    prediction = {"type": "content", "content": "x" * 100}
    assert most_beside(body(extra_body={"prediction": prediction}), "gpt-4o")[1] >= 100


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({}, 1),
        ({"n": None}, 1),
        ({"n": 3}, 3),
        ({"n": 3, "extra_body": {"n": 8}}, 8),
        ({"extra_body": {"extra_body": {"n": 8}}}, 8),
        ({"extra_body": {"n": 10**9}}, 128),
        ({"extra_body": {"n": -5}}, 1),
        ({"extra_body": "n"}, 1),
    ],
)
def test_choices_count_wherever_they_are_asked_for(fields: dict[str, Any], choices: int) -> None:
    assert most_choices(body(**fields)) == choices


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({}, None),
        ({"max_tokens": 20}, 20),
        ({"max_tokens": 20, "max_completion_tokens": 30}, 30),
        ({"max_tokens": 20, "max_output_tokens": 16_000}, 16_000),
        ({"max_output_tokens": 20}, None),  # which is no field of a chat at OpenAI
        ({"max_tokens": 20, "max_output_tokens": "16000"}, None),
        ({"max_tokens": 20, "extra_body": {"max_tokens": 16_000}}, None),
        ({"max_tokens": 20, "extra_body": {"google": {"thinking_config": {"thinking_budget": 5}}}}, 20),
        ({"max_tokens": 20, "generationConfig": {"maxOutputTokens": 16_000}}, None),
        ({"max_tokens": 20, "temperature": 0.5, "metadata": {"a": "b"}, "user": "ann"}, 20),
    ],
)
def test_the_clients_bound_is_the_greatest_that_may_be_the_one_that_holds(
    fields: dict[str, Any], most: int | None
) -> None:
    assert most_asked_output(body(**fields)) == most


def cached(ttl: str | None, name: str = "prompt_cache_breakpoint") -> list[dict[str, Any]]:
    mark = {} if ttl is None else {"ttl": ttl}
    return [{"role": "user", "content": [{"type": "text", "text": "a", name: mark}]}]


@pytest.mark.parametrize(
    ("fields", "lifetime"),
    [
        ({}, "usual"),
        ({"prompt_cache_options": {"ttl": "12h"}}, "12h"),
        ({"prompt_cache_options": {"ttl": "30m"}}, "usual"),
        ({"prompt_cache_options": {"ttl": ["12h"]}}, "usual"),
        ({"prompt_cache_options": "12h"}, "usual"),
        ({"prompt_cache_retention": "24h"}, "usual"),
        ({"prompt_cache_retention": "12h"}, "12h"),
        ({"messages": cached("12h")}, "12h"),
        ({"messages": cached("30m"), "prompt_cache_options": {"ttl": "12h"}}, "12h"),
        ({"messages": cached(None), "prompt_cache_options": {"ttl": "12h"}}, "12h"),
        ({"messages": cached("1h", "cache_control")}, "hour"),
        ({"messages": cached(None, "cache_control")}, "usual"),
        ({"tools": [{"type": "function", "cache_control": {"ttl": "1h"}}]}, "hour"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "hour"),
    ],
)
def test_how_long_the_cache_keeps_it(fields: dict[str, Any], lifetime: str) -> None:
    assert asked_of(body(**fields), "gpt-6.2-sol").lifetime == lifetime


def test_what_the_usage_says_itself_is_believed() -> None:
    stated = Usage(10, 0, 5, cache_write_tokens=4, cache_write_hour_tokens=1, calls=3)
    asked = body(web_search_options={}, prompt_cache_options={"ttl": "12h"})
    assert as_asked(stated, asked, "gpt-4o") is stated
    plain = Usage(10, 0, 5)
    assert as_asked(plain, body(prompt_cache_options={"ttl": "12h"}), "gpt-4o") is plain


SAID = st.sampled_from([0, 9, -1, 5000, 1.5, "high", "off", "", None, True, False])
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "n",
            "stop",
            "user",
            "seed",
            "prediction",
            "stream_options",
            "reasoning_effort",
            "thinking",
            "effort",
            "x",
            "level",
        ]
    ),
    SAID | st.lists(SAID, max_size=2) | st.dictionaries(st.sampled_from(["thinking", "budget_tokens", "n"]), SAID),
    max_size=5,
)


@given(FIELDS, st.sampled_from(["gpt-4o", "claude-x"]))
def test_no_field_is_passed_over_that_asks_for_thinking(fields: dict[str, Any], model: str) -> None:
    quick = most_beside(body(**fields), model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asked_thinking, "_PLAIN", frozenset())
        assert most_beside(body(**fields), model) == quick
