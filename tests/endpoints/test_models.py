"""``/v1/models``: what a key may use, in OpenAI's shape, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import GatewayError
from gateway.core.routing.listed_models import NOTHING_LISTED
from gateway.core.routing.model_listing import CREATED, ModelListing
from gateway.core.routing.route_table import RouteTable
from gateway.core.types import Route, Target, VirtualKey
from gateway.endpoints.models import model_routes
from tests.exchange.stage import BACKUP, PIAPI

from .gateway import Keys, ask, handlers, sent

ROUTES = RouteTable(
    [
        Route("gpt-4o", (Target(PIAPI, "gpt-4o"), Target(BACKUP, "gpt-4o"))),
        Route("claude-3", (Target(BACKUP, "claude-3"),)),
        Route("without-targets", ()),
        Route("gemini-*", (Target(PIAPI, "gemini-*"),)),
    ]
)


def routes(*models: str, budget: bool = False) -> list[Any]:
    """For Alice, who may use these models, of those with a price if she has a budget."""
    keys = Keys(VirtualKey("alice", models=models or ("*",)))
    listing = ModelListing(ROUTES, NOTHING_LISTED, 0)
    return handlers(model_routes(keys, lambda: listing, lambda key: budget))  # type: ignore[arg-type]


async def listed(*models: str) -> list[dict[str, Any]]:
    document = json.loads((await ask(routes(*models)[0])).body)
    assert document["object"] == "list"
    data: list[dict[str, Any]] = document["data"]
    return data


async def test_lists_what_is_served_and_who_made_it() -> None:
    assert await listed() == [
        {"id": "claude-3", "object": "model", "created": CREATED, "owned_by": "anthropic"},
        {"id": "gpt-4o", "object": "model", "created": CREATED, "owned_by": "openai"},
    ]


@pytest.mark.parametrize(
    ("models", "seen"),
    [(["gpt-4o"], ["gpt-4o"]), (["gpt-*"], ["gpt-4o"]), (["gemini-pro"], ["gemini-pro"]), (["none"], [])],
)
async def test_lists_only_what_the_key_may_use(models: list[str], seen: list[str]) -> None:
    assert [model["id"] for model in await listed(*models)] == seen


@pytest.mark.parametrize(
    ("model", "owner"),
    [
        ("gpt-4o", "openai"),
        ("gemini-2.5-pro", "google"),
        ("openai/gpt-4o", "openai"),
        ("gpt-4o-2024-08-06", "openai"),
        ("GPT-4o", "openai"),
    ],
)
async def test_shows_one_model(model: str, owner: str) -> None:
    document = json.loads((await ask(routes()[1], sent(model=model))).body)
    assert (document["id"], document["owned_by"]) == (model, owner)


async def test_a_key_with_a_budget_is_shown_what_it_may_use() -> None:
    """None of these has a price."""
    whole, one = routes(budget=True)
    assert json.loads((await ask(whole)).body)["data"] == []
    with pytest.raises(GatewayError) as refused:
        await ask(one, sent(model="gpt-4o"))
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("models", "model"),
    [("*", "gemini-*"), ("*", "gpt-5000"), ("claude-*", "gpt-4o"), ("*", "without-targets"), ("*", "gemini-")],
)
async def test_a_model_that_the_key_may_not_use_is_not_there(models: str, model: str) -> None:
    with pytest.raises(GatewayError) as refused:
        await ask(routes(models)[1], sent(model=model))
    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


@pytest.mark.parametrize("which", [0, 1])
async def test_asks_for_a_key(which: int) -> None:
    with pytest.raises(GatewayError) as refused:
        await ask(routes()[which], sent("mallory", model="gpt-4o"))
    assert refused.value.status == 401


CLAUDES = [(b"anthropic-version", b"2023-06-01")]


async def test_a_client_of_claudes_is_shown_them_in_its_own_shape() -> None:
    whole, one = routes()
    page = json.loads((await ask(whole, sent(headers=CLAUDES))).body)
    assert [model["id"] for model in page["data"]] == ["claude-3", "gpt-4o"]
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("claude-3", "gpt-4o", False)
    model = json.loads((await ask(one, sent(headers=CLAUDES, model="gpt-4o"))).body)
    assert (model["type"], model["id"], model["lifecycle"]) == ("model", "gpt-4o", "active")
    assert model == page["data"][1]


async def test_a_client_of_claudes_may_ask_by_pages() -> None:
    request = sent(headers=CLAUDES)
    request.query = b"limit=1&after_id=claude-3"
    page = json.loads((await ask(routes()[0], request)).body)
    assert [model["id"] for model in page["data"]] == ["gpt-4o"]
