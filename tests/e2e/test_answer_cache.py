"""Answers given again: for equal requests of one key, free of charge, written down; and what never is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.yaml_text import read_yaml, write_yaml

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Answer, Rig

BOB = "gw-bob-4440005550006660007777"
CAROL = "gw-carol-666777888999000111"
KEPT = """
models:
  gpt-4o: {cache: {ttl: 1h, max: 1MiB}}
  text-embedding-3-small: {cache: {ttl: 1h, max: 1MiB}}
"""
KEYS = f"""
keys:
- {{name: alice, team: growth, key: {ALICE}}}
- {{name: bob, team: growth, key: {BOB}}}
- {{name: carol, key: {CAROL}}}
"""


def is_hit(answer: Answer) -> bool:
    assert answer.status == 200, answer.body
    mark = answer.header("x-gateway-cache")
    assert mark in (None, "hit")
    return mark == "hit"


async def embed(rig: Rig, **fields: Any) -> Answer:
    body = {"model": "text-embedding-3-small", "input": PROMPT, **fields}
    return await rig.post(json.dumps(body).encode(), target="/v1/embeddings")


async def test_an_equal_request_gets_the_same_answer_for_nothing(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(KEPT)
    first, second = await rig.chat(), await rig.chat()
    assert [is_hit(first), is_hit(second)] == [False, True]
    assert len(sandbox.requests) == 1
    assert second.header("x-gateway-cost-usd") == "0.00"
    assert second.header("x-gateway-attempts") == "0"
    assert second.header("x-gateway-upstream") is None
    assert second.header("x-request-id") not in (None, first.header("x-request-id"))
    was, now = first.json(), second.json()
    cost = was["usage"].pop("cost")
    assert cost > 0
    assert now["usage"].pop("cost") == 0
    assert was == now

    one, other = await rig.rows(2)
    assert one.charged > 0
    assert (other.charged, other.upstream_cost, other.state) == (0, 0, "settled")
    figures = await rig.figures()
    assert figures.total("gateway_cache_hits_total", key="alice", model="gpt-4o") == 1
    assert figures.total("gateway_cache_misses_total", key="alice", model="gpt-4o") == 1
    assert figures.nano("gateway_cache_saved_usd_total") == one.charged
    assert figures.total("gateway_cache_bytes") > 0
    assert [line.get("cache") for line in await rig.log_lines("request", 2)] == [None, "hit"]
    [usage] = await rig.usage("key")
    assert usage["requests"] == 2


async def test_embeddings_too(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(KEPT)
    first, second = await embed(rig), await embed(rig)
    assert [is_hit(first), is_hit(second)] == [False, True]
    assert first.json()["data"] == second.json()["data"]
    assert len(sandbox.requests) == 1


async def test_the_order_of_fields_and_another_name_of_the_model_make_no_other_request(gateway: StartGateway) -> None:
    rig = await gateway(KEPT)
    messages = [{"role": "user", "content": PROMPT}]
    assert not is_hit(await rig.post(json.dumps({"model": "gpt-4o", "messages": messages, "seed": 1}).encode()))
    assert is_hit(await rig.post(json.dumps({"seed": 1, "messages": messages, "model": "openai/gpt-4o"}).encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.5},
        {"messages": [{"role": "user", "content": PROMPT + "."}]},
        {"user": "someone else"},
        {"seed": 1},
        {"a_field_of_tomorrow": True},
    ],
)
async def test_another_request_has_another_answer(gateway: StartGateway, fields: dict[str, Any]) -> None:
    rig = await gateway(KEPT)
    await rig.chat()
    assert not is_hit(await rig.chat(**fields))
    assert is_hit(await rig.chat(**fields))
    assert is_hit(await rig.chat())


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": True},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"functions": [{"name": "f", "parameters": {"type": "object"}}]},
        {"n": 2},
        {"n": 2, "temperature": 0.1},
        {"web_search_options": {}},
    ],
)
async def test_what_is_never_kept(gateway: StartGateway, sandbox: Sandbox, fields: dict[str, Any]) -> None:
    rig = await gateway(KEPT)
    for _ in range(2):
        assert not is_hit(await rig.chat(**fields))
    assert len(sandbox.requests) == 2


async def test_several_choices_at_temperature_zero_are_kept(gateway: StartGateway) -> None:
    rig = await gateway(KEPT)
    assert not is_hit(await rig.chat(n=2, temperature=0))
    assert is_hit(await rig.chat(n=2, temperature=0))


async def test_nothing_is_kept_of_a_model_that_has_no_cache(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway("models: {text-embedding-3-small: {cache: {}}}")
    for _ in range(2):
        assert not is_hit(await rig.chat())
    assert len(sandbox.requests) == 2


async def test_off_passes_by_in_both_directions(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(KEPT)
    off = {"x-gateway-cache": "off"}
    assert not is_hit(await rig.chat(headers=off))
    assert not is_hit(await rig.chat())
    assert not is_hit(await rig.chat(headers=off))
    assert is_hit(await rig.chat())
    assert len(sandbox.requests) == 3


async def test_another_key_is_given_nothing(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(KEPT + KEYS)
    await rig.chat()
    assert not is_hit(await rig.chat(key=BOB))
    assert not is_hit(await rig.chat(key=CAROL))
    assert len(sandbox.requests) == 3


async def test_a_team_may_share_and_no_other_key_has_a_part_in_it(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway("models: {gpt-4o: {cache: {share: team}}}" + KEYS)
    await rig.chat()
    assert is_hit(await rig.chat(key=BOB))
    assert not is_hit(await rig.chat(key=CAROL))
    assert is_hit(await rig.chat(key=CAROL))
    rows = await rig.rows(4)
    assert [row.charged > 0 for row in rows] == [True, False, True, False]


async def test_an_answer_grows_old(gateway: StartGateway) -> None:
    rig = await gateway("models: {gpt-4o: {cache: {ttl: 300ms}}}")
    await rig.chat()
    assert is_hit(await rig.chat())
    await asyncio.sleep(0.35)
    assert not is_hit(await rig.chat())


async def test_errors_are_never_kept(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway(KEPT)
    sandbox.script("rejected", role="api")
    assert (await rig.chat()).status == 400
    assert not is_hit(await rig.chat())
    assert is_hit(await rig.chat())


async def test_hits_count_in_the_requests_a_minute_and_not_in_the_budget(gateway: StartGateway) -> None:
    keys = f"keys: [{{name: alice, key: {ALICE}, rpm: 3, budget: 0.02/day}}]\n"
    rig = await gateway(KEPT + keys)
    first = await rig.chat(max_tokens=50)
    assert not is_hit(first)
    second = await rig.chat(max_tokens=50)
    assert is_hit(second)
    assert second.header("x-ratelimit-remaining-requests") == "1"
    assert is_hit(await rig.chat(max_tokens=50))
    refused = await rig.chat(max_tokens=50)
    assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
    figures = await rig.figures()
    charged = sum(row.charged for row in await rig.rows(3))
    assert figures.nano("gateway_key_budget_used_usd", key="alice") == charged


async def test_a_key_whose_budget_is_used_up_still_gets_what_costs_nothing(gateway: StartGateway) -> None:
    rig = await gateway(KEPT + f"keys: [{{name: alice, key: {ALICE}, budget: 0.003/day}}]")
    assert not is_hit(await rig.chat(max_tokens=50))
    statuses = [(await rig.chat(max_tokens=50, seed=seed)).status for seed in range(60)]
    assert statuses[-1] == 429
    assert is_hit(await rig.chat(max_tokens=50))


async def test_a_reload_that_changes_the_model_empties_its_answers_and_no_others(gateway: StartGateway) -> None:
    rig = await gateway(KEPT)
    await rig.chat()
    await embed(rig)
    path = rig.folder / "config.yaml"
    document = read_yaml(path.read_text(encoding="utf-8"))
    assert await rig.gateway.reload() == []
    assert is_hit(await rig.chat())
    document["models"]["gpt-4o"]["targets"] = [{"upstream": "backup"}]
    path.write_text(write_yaml(document), encoding="utf-8")
    assert await rig.gateway.reload() == []
    assert not is_hit(await rig.chat())
    assert is_hit(await embed(rig))
    del document["models"]["gpt-4o"]["cache"]
    path.write_text(write_yaml(document), encoding="utf-8")
    assert await rig.gateway.reload() == []
    assert not is_hit(await rig.chat())
    assert not is_hit(await rig.chat())


async def test_kept_answers_take_no_more_room_than_they_may(gateway: StartGateway) -> None:
    rig = await gateway("models: {gpt-4o: {cache: {max: 4KiB}}}")
    for number in range(20):
        await rig.chat(seed=number)
    assert 0 < (await rig.figures()).total("gateway_cache_bytes") <= 4096
    assert is_hit(await rig.chat(seed=19))
    assert not is_hit(await rig.chat(seed=0))


async def test_pictures_are_never_kept(gateway: StartGateway, sandbox: Sandbox) -> None:
    rig = await gateway("models: {gpt-4o-image: {cache: {}}}")
    for _ in range(2):
        assert not is_hit(await rig.chat(model="gpt-4o-image"))
    assert len(sandbox.requests) == 2
