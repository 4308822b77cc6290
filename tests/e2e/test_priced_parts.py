"""What an answer is billed by beside plain tokens: the ledger says what the provider's own bill says, part by part."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, Rig

MODELS = """
models:
  gpt-6.2-sol:
    targets:
      - upstream: backup
        price: {input: 2, cached_input: 0.10, cache_write: 2.50, output: 10, call: 0.01,
                long: {above: 272000, input: 2, output: 1.5},
                tiers: {flex: 0.5, fast: 2, priority: 2, ultrafast: 6}}
  claude-sonnet-4-6:
    targets:
      - {upstream: backup, price: {input: 3, cached_input: 0.30, cache_write: 3.75, output: 15, call: 0.01}}
  gemini-2.5-flash:
    targets:
      - {upstream: backup, price: {input: 0.30, cached_input: 0.03, audio_input: 1, output: 2.50}}
  gpt-audio:
    targets:
      - {upstream: backup, price: {input: 2.50, output: 10, audio_input: 32, audio_output: 64}}
  gpt-4.1:
    targets: [{upstream: backup, price: {input: 2, cached_input: 0.50, output: 8}}]
  gpt-4o-mini:
    targets: [{upstream: backup, price: {input: 0.15, cached_input: 0.075, output: 0.60}}]
"""

SOL = "gpt-6.2-sol"

PLAYED = [
    (SOL, "cache_writes", {}, "measured"),
    (SOL, "cache_writes;cached=2;written=5", {"prompt_cache_options": {"ttl": "12h"}}, "measured"),
    (SOL, "tier_downgraded", {"service_tier": "priority"}, "measured"),
    (SOL, "tier_downgraded", {"service_tier": "ultrafast"}, "measured"),
    (SOL, "tier_fast", {"service_tier": "fast"}, "measured"),
    (SOL, "tier_fast", {}, "measured"),
    (SOL, "ok", {"service_tier": "fast"}, "measured"),  # echoed as priority
    (SOL, "ok", {"service_tier": "flex"}, "measured"),
    (SOL, "ok;tier=none", {"service_tier": "ultrafast"}, "measured"),
    (SOL, "ok;tier=none;usage=0", {"service_tier": "auto"}, "measured"),
    (SOL, "reasoning_beside", {}, "measured"),
    (SOL, "reasoning_beside;cached=3", {"service_tier": "flex"}, "measured"),
    (SOL, "web_search", {}, "measured"),
    (SOL, "ok", {"web_search_options": {}}, "measured"),
    (SOL, "ok;named=gpt-6.2-sol-2026-11-17", {}, "measured"),
    (SOL, "ok;named=openai/gpt-6.2-sol", {}, "measured"),
    (SOL, "deepseek_usage", {}, "measured"),
    ("claude-sonnet-4-6", "anthropic_usage", {}, "measured"),
    ("claude-sonnet-4-6", "anthropic_usage;written=4;searches=3", {}, "measured"),
    ("gemini-2.5-flash", "google_usage", {}, "measured"),
    ("gemini-2.5-flash", "google_usage;heard=3", {}, "measured"),
    ("gpt-audio", "audio_usage", {}, "measured"),
    ("gpt-4.1", "other_model", {}, "measured"),
    ("gpt-4.1", "audio_usage", {}, "estimated"),
    ("gpt-4.1", "cache_writes", {}, "estimated"),
    ("gpt-4.1", "web_search", {}, "estimated"),
    ("gpt-4.1", "ok;tier=flex", {"service_tier": "flex"}, "estimated"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "scenario", "fields", "confidence"), PLAYED)
async def test_the_books_say_what_the_provider_says(
    gateway: StartGateway, model: str, scenario: str, fields: dict[str, Any], confidence: str, stream: bool
) -> None:
    rig = await gateway(MODELS)
    rig.sandbox.script(scenario)
    answer = await rig.chat(model=model, stream=stream, **fields)
    assert answer.status == 200
    row = await rig.row()
    [sold] = rig.sandbox.bill
    assert sold.amount is not None
    assert (row.charged, row.upstream_cost, row.confidence) == (sold.amount, sold.amount, confidence)
    assert (row.input_tokens, row.cached_input_tokens) == (sold.input_tokens, sold.cached_tokens)
    assert row.output_tokens == sold.output_tokens


async def test_a_long_prompt_costs_more_as_a_whole(gateway: StartGateway) -> None:
    rig = await gateway(MODELS)
    rig.sandbox.script("ok;cached=1000;written=500")
    words = [{"role": "user", "content": "a " * 272_000}]
    await rig.chat(model=SOL, messages=words, service_tier="fast")
    row = await rig.row()
    assert row.input_tokens == 272_007
    inputs = 270_507 * 2_000 + 1_000 * 100 + 500 * 2_500
    assert row.charged == (inputs * 2 + row.output_tokens * 10_000 * 3 // 2) * 2 == rig.sandbox.bill[0].amount


async def test_a_tier_nobody_listed_costs_as_the_dearest_and_is_no_measurement(gateway: StartGateway) -> None:
    rig = await gateway(MODELS)
    rig.sandbox.script("tier_unknown")
    await rig.chat(model=SOL)
    row = await rig.row()
    assert row.charged == (row.input_tokens * 2_000 + row.output_tokens * 10_000) * 6
    assert row.confidence == "estimated"


async def test_a_model_nobody_has_a_price_for_is_charged_as_the_one_that_was_asked(gateway: StartGateway) -> None:
    rig = await gateway(MODELS)
    rig.sandbox.script("other_model;named=gpt-7-mystery")
    await rig.chat(model=SOL)
    row = await rig.row()
    assert row.charged == row.input_tokens * 2_000 + row.output_tokens * 10_000
    assert row.confidence == "estimated"


@pytest.mark.parametrize("scenario", ["anthropic_usage", "google_usage", "cache_writes", "reasoning_beside"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_reads_openais_words_and_loses_none_of_the_vendors(
    gateway: StartGateway, scenario: str, stream: bool
) -> None:
    rig = await gateway(MODELS)
    rig.sandbox.script(scenario)
    told = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = await rig.chat(model=SOL, **told)
    document = json.loads(answer.payloads[-2] if stream else answer.body)
    usage = document["usage"]
    row = await rig.row()
    assert usage["prompt_tokens"] == row.input_tokens
    assert usage["total_tokens"] == row.input_tokens + row.output_tokens
    if scenario == "anthropic_usage":
        assert usage["cache_creation_input_tokens"] == 3
        assert usage["prompt_tokens_details"] == {"cached_tokens": 2, "cache_write_tokens": 3}
    if scenario == "google_usage":
        assert usage["thoughtsTokenCount"] == usage["completion_tokens_details"]["reasoning_tokens"] == 7
    if scenario == "cache_writes":
        assert usage["prompt_tokens_details"]["cache_write_tokens"] == 3


BUDGETED = MODELS + f"keys: [{{name: alice, team: growth, key: {ALICE}, budget: 100/day}}]\n"
"""Room for a whole window in the dearest tier, which is reserved where something may be fetched."""


ASKED = [
    *(played[:3] for played in PLAYED if "search" not in played[1]),
    (SOL, "web_search", {"tools": [{"type": "web_search", "max_uses": 2}]}),
    (SOL, "web_search;searches=9", {"tools": [{"type": "web_search"}]}),
    (SOL, "reasoning_beside;reasoning=900", {"thinking": {"type": "enabled", "budget_tokens": 1000}}),
    (SOL, "ok", {"n": 3}),
]


@pytest.mark.parametrize(("model", "scenario", "fields"), ASKED)
async def test_a_budget_reserves_for_whatever_may_come(
    gateway: StartGateway, model: str, scenario: str, fields: dict[str, Any]
) -> None:
    rig = await gateway(BUDGETED)
    rig.sandbox.script(f"{scenario};any_fields=1")
    answer = await rig.chat(model=model, max_completion_tokens=40, **fields)
    assert answer.status == 200
    row = await rig.row()
    assert 0 < row.charged <= _reserved(rig)


def _reserved(rig: Rig) -> int:
    with closing(sqlite3.connect(rig.folder / "gateway.db")) as store:
        [(reserved,)] = store.execute("SELECT reserved FROM intents").fetchall()
    return int(reserved)
