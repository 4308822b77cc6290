"""Golden bills: usage as each vendor sends it, and nano-dollars worked out by hand from the vendors' prices.

The prices are those of 2026-11 in US dollars per 1M tokens. A dollar a million is 1,000 nano-dollars a token, so that
gpt-6.2-sol costs 2,000 for a token of input, 100 cached, 2,500 written to the cache, 10,000 of output.
"""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.billing_terms import USUAL_TERMS, Terms
from gateway.core.pricing.prices import Bill, bill
from gateway.core.types import LongContext, Price, Usage
from gateway.wire.asked_work import as_asked
from gateway.wire.usage_reading import read_usage

USD = 1_000_000_000

SOL = Price(
    input=2 * USD,
    cached_input=USD // 10,
    cache_write=5 * USD // 2,
    output=10 * USD,
    call=USD // 100,
    long=LongContext(272_000, 2000, 1500),
    tiers={"flex": 500, "fast": 2000, "ultrafast": 6000},
)
GPT_5_5 = Price(input=5 * USD, cached_input=USD // 2, output=30 * USD, tiers={"flex": 500, "priority": 2500})
SONNET = Price(input=3 * USD, cached_input=3 * USD // 10, cache_write=15 * USD // 4, output=15 * USD, call=USD // 100)
FLASH = Price(input=3 * USD // 10, cached_input=3 * USD // 100, audio_input=USD, output=5 * USD // 2)
AUDIO = Price(input=5 * USD // 2, output=10 * USD, audio_input=32 * USD, audio_output=64 * USD)
PAINTER = Price(input=5 * USD, cached_input=5 * USD // 4, image_input=8 * USD, output=10 * USD, image_output=32 * USD)

OPENAI = {
    "prompt_tokens": 10_000,
    "completion_tokens": 500,
    "total_tokens": 10_500,
    "prompt_tokens_details": {"cached_tokens": 6_000, "cache_write_tokens": 3_000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 320, "rejected_prediction_tokens": 40, "audio_tokens": 0},
}
# 1,000 fresh + 6,000 cached + 3,000 written + 500 out: 2,000,000 + 600,000 + 7,500,000 + 5,000,000
OPENAI_NANO = 15_100_000

LONG = {
    "prompt_tokens": 300_000,
    "completion_tokens": 2_000,
    "total_tokens": 302_000,
    "prompt_tokens_details": {"cached_tokens": 280_000, "cache_write_tokens": 10_000},
}
# 10,000 fresh 20,000,000 + 280,000 cached 28,000,000 + 10,000 written 25,000,000 = 73,000,000, twice;
# 2,000 out 20,000,000, one and a half times
LONG_NANO = 2 * 73_000_000 + 30_000_000

ANTHROPICS = {
    "input_tokens": 1_000,
    "cache_read_input_tokens": 6_000,
    "cache_creation_input_tokens": 3_000,
    "output_tokens": 500,
}
# 1,000 × 3,000 + 6,000 × 300 + 3,000 × 3,750 + 500 × 15,000
ANTHROPICS_NANO = 3_000_000 + 1_800_000 + 11_250_000 + 7_500_000

GOOGLES = {
    "promptTokenCount": 10_000,
    "cachedContentTokenCount": 4_000,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 800,
    "toolUsePromptTokenCount": 500,
    "totalTokenCount": 11_500,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8_000}, {"modality": "AUDIO", "tokenCount": 2_000}],
}
# 10,500 in, of them 2,000 heard and 4,000 cached: 4,500 × 300 + 4,000 × 30 + 2,000 × 1,000; out 1,000 × 2,500
GOOGLES_NANO = 1_350_000 + 120_000 + 2_000_000 + 2_500_000


def usage_of(stated: dict[str, Any]) -> Usage:
    read = read_usage(stated)
    assert read is not None
    return read


def billed(price: Price, usage: dict[str, Any], terms: Terms = USUAL_TERMS, **fields: Any) -> Bill:
    read = usage_of(usage)
    body = {"messages": [{"role": "user", "content": "hello"}], **fields}
    found = bill(price, as_asked(read, body, "model"), terms=terms)
    return found if read.confidence == "measured" else Bill(found.amount, False)


@pytest.mark.parametrize(
    ("tier", "asked", "times", "certain"),
    [
        (None, None, 1, True),
        ("default", "priority", 1, True),  # downgraded
        ("default", "ultrafast", 1, True),
        (None, "auto", 1, True),
        ("auto", "fast", 2, True),  # says nothing of what came of it
        (None, "fast", 2, True),
        ("fast", "priority", 2, True),
        ("priority", "fast", 2, True),  # the same tier by its older name, which is not listed
        ("PRIORITY", None, 2, True),
        ("ultrafast", None, 6, True),
        ("warp", None, 6, False),
        ("scale", "default", 6, False),
        (None, "warp", 6, False),
        (None, " ", 1, True),
    ],
)
@pytest.mark.parametrize(("usage", "nano"), [(OPENAI, OPENAI_NANO), (LONG, LONG_NANO)])
def test_tiers_and_length_multiply(
    usage: dict[str, Any], nano: int, tier: str | None, asked: str | None, times: int, certain: bool
) -> None:
    assert billed(SOL, usage, Terms(asked, tier)) == Bill(nano * times, certain)


def test_half_a_price_is_rounded_half_up_once() -> None:
    odd = {"prompt_tokens": 1, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 1}}
    assert billed(SOL, odd, Terms("flex")) == Bill(50)  # 100 / 2
    assert bill(Price(input=1_000_000, output=0, tiers={"flex": 500}), usage_of(odd), terms=Terms("flex")) == (
        Bill(1)  # half a nano-dollar
    )


@pytest.mark.parametrize(("tokens", "times"), [(272_000, 1), (272_001, 2)])
def test_long_is_what_is_above_by_the_prompt_as_a_whole(tokens: int, times: int) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": tokens}}
    assert billed(SOL, usage) == Bill(tokens * 100 * times)


def test_a_factor_with_a_fraction() -> None:
    # 2.5 × (1,000 × 5,000 + 10 × 30,000)
    usage = {"prompt_tokens": 1_000, "completion_tokens": 10}
    assert billed(GPT_5_5, usage, Terms("priority", "priority")) == Bill(13_250_000)
    assert billed(GPT_5_5, usage, Terms("fast", "fast")) == Bill(13_250_000)


def test_a_tier_where_none_is_listed_is_booked_at_the_price_but_never_as_measured() -> None:
    assert billed(SONNET, ANTHROPICS, Terms("priority", None)) == Bill(ANTHROPICS_NANO, False)
    assert billed(SONNET, ANTHROPICS, Terms(None, "flex")) == Bill(ANTHROPICS_NANO, False)
    assert billed(SONNET, ANTHROPICS, Terms("auto", "standard")) == Bill(ANTHROPICS_NANO)


@pytest.mark.parametrize(
    "usage",
    [
        ANTHROPICS,
        # as relays put it into OpenAI's words: without what was cached, or with it
        {"prompt_tokens": 1_000, "completion_tokens": 500, **ANTHROPICS},
        {"prompt_tokens": 10_000, "completion_tokens": 500, "total_tokens": 10_500, **ANTHROPICS},
        {
            "prompt_tokens": 10_000,
            "completion_tokens": 500,
            "cache_read_input_tokens": 6_000,
            "cache_creation_input_tokens": 3_000,
            "prompt_tokens_details": {"cached_tokens": 6_000, "cache_creation_tokens": 3_000},
        },
        {"prompt_tokens": 0, "completion_tokens": 0, **ANTHROPICS},
    ],
)
def test_anthropics_words(usage: dict[str, Any]) -> None:
    assert billed(SONNET, usage) == Bill(ANTHROPICS_NANO)


def test_an_hour_in_anthropics_cache_costs_twice_the_input() -> None:
    split = {**ANTHROPICS, "cache_creation": {"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 2_000}}
    # 2,000 of the 3,000 written at 6,000 in place of 3,750
    assert billed(SONNET, split) == Bill(ANTHROPICS_NANO + 2_000 * 2_250)
    marked = [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"ttl": "1h"}}]}]
    assert billed(SONNET, ANTHROPICS, messages=marked) == Bill(ANTHROPICS_NANO + 3_000 * 2_250)


@pytest.mark.parametrize(
    ("fields", "certain"),
    [
        ({"prompt_cache_options": {"ttl": "12h"}}, True),
        ({"prompt_cache_options": {"ttl": "30m"}}, None),
        ({"prompt_cache_retention": "24h"}, None),  # how long at most, and independent
        (
            {
                "prompt_cache_options": {"mode": "explicit"},
                "messages": [{"role": "user", "content": [{"prompt_cache_breakpoint": {"ttl": "12h"}}]}],
            },
            True,
        ),
        ({"messages": [{"role": "user", "content": [{"prompt_cache_breakpoint": {"ttl": "12h"}}]}]}, False),
    ],
)
def test_twelve_hours_in_openais_cache_cost_twice_a_write(fields: dict[str, Any], certain: bool | None) -> None:
    body = {"messages": [], **fields}
    asked = as_asked(usage_of(OPENAI), body, SOL_NAME)
    more = 0 if certain is None else 3_000 * 2_500
    assert bill(SOL, asked).amount == OPENAI_NANO + more
    assert asked.confidence == ("estimated" if certain is False else "measured")


SOL_NAME = "gpt-6.2-sol"


def test_googles_words() -> None:
    assert billed(FLASH, GOOGLES) == Bill(GOOGLES_NANO)


def test_sound() -> None:
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 200,
        "prompt_tokens_details": {"audio_tokens": 100, "text_tokens": 20},
        "completion_tokens_details": {"audio_tokens": 150, "text_tokens": 50},
    }
    # 20 × 2,500 + 100 × 32,000 + 50 × 10,000 + 150 × 64,000
    assert billed(AUDIO, usage) == Bill(50_000 + 3_200_000 + 500_000 + 9_600_000)
    assert billed(GPT_5_5, usage) == Bill(120 * 5_000 + 200 * 30_000, False)


@pytest.mark.parametrize(
    "said",
    [
        {"server_tool_use": {"web_search_requests": 3}},
        {"num_search_queries": 3},
        {"server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 1, "code_interpreter_calls": 0}},
    ],
)
def test_calls(said: dict[str, Any]) -> None:
    assert billed(SOL, {**OPENAI, **said}) == Bill(OPENAI_NANO + 30_000_000)
    assert billed(SOL, {**OPENAI, **said}, Terms(None, "fast")) == Bill(2 * OPENAI_NANO + 30_000_000)  # tokens only
    without = Price(input=5 * USD, cached_input=USD // 2, output=30 * USD)
    assert not billed(without, {"prompt_tokens": 1, "completion_tokens": 1, **said}).certain


def test_a_chat_with_web_search_is_one_call() -> None:
    assert billed(SOL, OPENAI, web_search_options={}) == Bill(OPENAI_NANO + 10_000_000)


@pytest.mark.parametrize(
    ("usage", "output", "certain"),
    [
        # xAI: beside the completion, in the total
        (
            {"completion_tokens": 9, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}},
            103,
            True,
        ),
        # OpenAI: within it
        (
            {"completion_tokens": 103, "total_tokens": 135, "completion_tokens_details": {"reasoning_tokens": 94}},
            103,
            True,
        ),
        # the total says nothing, or too little
        ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 94}}, 9, True),
        ({"completion_tokens": 9, "total_tokens": 0, "completion_tokens_details": {"reasoning_tokens": 94}}, 9, True),
        # Gemini's OpenAI routes have no details at all
        ({"completion_tokens": 9, "total_tokens": 135}, 103, False),
    ],
)
def test_reasoning_that_is_counted_beside_the_completion(usage: dict[str, Any], output: int, certain: bool) -> None:
    assert billed(GPT_5_5, {"prompt_tokens": 32, **usage}) == Bill(32 * 5_000 + output * 30_000, certain)


def test_deepseeks_words() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 1,
        "prompt_cache_hit_tokens": 60,
        "prompt_cache_miss_tokens": 40,
    }
    assert billed(GPT_5_5, usage) == Bill(40 * 5_000 + 60 * 500 + 30_000)


def test_what_overlaps_counts_once_and_nothing_falls_below_zero() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 0,
        "prompt_tokens_details": {
            "cached_tokens": 80,
            "cache_write_tokens": 90,
            "audio_tokens": 70,
            "image_tokens": 70,
        },
    }
    assert billed(SOL, usage).amount == 80 * 100 + 20 * 2_500


def test_without_a_price_for_writes_they_cost_as_input_and_are_no_measurement() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 0, "prompt_tokens_details": {"cache_write_tokens": 10}}
    assert billed(GPT_5_5, usage) == Bill(50_000, False)
    assert billed(Price(input=0, output=0), usage) == Bill(0)  # what is free is free in any form


def test_a_guess_is_never_measured() -> None:
    assert billed(Price(input=USD, output=USD, estimated=True), OPENAI).certain is False
    assert bill(Price(image=USD, estimated=True), usage_of(OPENAI), images=1).certain is False


def test_pictures_that_are_made_have_their_own_price() -> None:
    usage = usage_of({"input_tokens": 10, "output_tokens": 300, "output_tokens_details": {"image_tokens": 272}})
    assert bill(PAINTER, usage, operation="images") == Bill(10 * 5_000 + 28 * 10_000 + 272 * 32_000)
    assert bill(GPT_5_5, usage, operation="images").certain
    assert not bill(GPT_5_5, usage, operation="chat").certain
