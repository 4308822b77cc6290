"""Upstreams that state their own cost, streamed and whole."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import HELLO, ask
from tests.sandbox.event_client import chunks, text_of

COUNTS = {"prompt_tokens", "completion_tokens", "total_tokens"}


def last_usage(events: list[Any]) -> Any:
    return next(event["usage"] for event in reversed(events[:-1]) if "usage" in event)


async def whole(sandbox: Sandbox, scenario: str) -> Any:
    return orjson.loads((await ask(sandbox, HELLO, scenario)).body)["usage"]


@pytest.mark.parametrize(
    ("kind", "cost"), [("number", 0.5), ("text", "$0.5"), ("object", {"total": 0.5, "currency": "USD"}), ("null", None)]
)
async def test_it_stands_beside_the_counts(kind: str, cost: Any, sandbox: Sandbox) -> None:
    scenario = f"own_cost;cost=0.5;kind={kind}"
    for usage in (await whole(sandbox, scenario), last_usage(await chunks(sandbox, scenario))):
        assert usage["cost"] == cost
        assert usage.keys() >= COUNTS


async def test_it_may_be_all_there_is_or_there_may_be_nothing(sandbox: Sandbox) -> None:
    for usage in (
        await whole(sandbox, "own_cost;kind=alone"),
        last_usage(await chunks(sandbox, "own_cost;kind=alone")),
    ):
        assert set(usage) == {"cost", "cost_details", "is_byok"}
    assert await whole(sandbox, "own_cost;kind=no_usage") is None
    assert last_usage(await chunks(sandbox, "own_cost;kind=no_usage")) is None


async def test_other_names_have_no_cost(sandbox: Sandbox) -> None:
    usage = await whole(sandbox, "own_cost;kind=other")
    assert "cost" not in usage
    assert (usage["estimated_cost"], usage["cost_in_usd_ticks"]) == (0.00125, 12_500_000)


async def test_it_comes_beside_an_empty_delta_or_in_every_chunk(sandbox: Sandbox) -> None:
    beside = await chunks(sandbox, "own_cost;with_choice=1")
    assert beside[-2]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert beside[-2]["usage"]["cost"] == 0.00125
    everywhere = await chunks(sandbox, "own_cost;everywhere=1")
    assert all(event["usage"]["cost"] == 0.00125 for event in everywhere[:-1])
    assert text_of(everywhere) == text_of(await chunks(sandbox, "ok"))
