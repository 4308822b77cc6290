"""Routes beside chat, images and tasks: the account page, the models, and those that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox import Sandbox
from tests.sandbox.client import ask
from tests.sandbox.task_client import finished


async def test_the_account_page(sandbox: Sandbox) -> None:
    async def account(key: str | None, role: str = "api") -> Any:
        return await ask(sandbox, method="GET", path="/account/info", key=key, role=role)

    rich, broke = (await account("sk-test")).json["data"], (await account("sk-sandbox-broke", "proxy")).json["data"]
    assert rich["max_concurrent_task_count"] == 5
    assert rich["equivalent_in_usd"] == pytest.approx(12.3456789)
    assert (broke["plan"], broke["equivalent_in_usd"]) == ("Creator", 0)
    assert (await account(None)).status == 401
    assert (await account("sk-sandbox-invalid")).status == 401
    assert (await account("sk-test", "backup")).status == 404


async def test_what_is_bought_is_drawn_from_the_account_of_its_key(sandbox: Sandbox) -> None:
    async def account(key: str) -> Any:
        return (await ask(sandbox, method="GET", path="/account/info", key=key)).json["data"]

    before = await account("sk-test")
    await finished(sandbox)
    await ask(sandbox, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]})
    await ask(sandbox, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}, role="backup")
    after, other = await account("sk-test"), await account("sk-other")

    task, chat, _ = (line.amount for line in sandbox.bill)
    points = -(-(task + chat) // 100)
    assert before["credit_pack_info"]["available_credits"] - after["credit_pack_info"]["available_credits"] == points
    assert round((before["equivalent_in_usd"] - after["equivalent_in_usd"]) * 10_000_000) == points
    assert other["wallet"] == before["wallet"]
    assert other["id"] != before["id"]


async def test_routes_that_are_not_there(sandbox: Sandbox) -> None:
    assert (await ask(sandbox, {}, path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/nothing")).status == 404
    assert (await ask(sandbox, method="GET", path="/v1/models/nothing")).status == 404
    assert (await ask(sandbox, method="DELETE", path="/v1/models")).status == 405
    assert (await ask(sandbox, key=None)).status == 401
    assert (await ask(sandbox, b"{")).status == 400
    assert (await ask(sandbox, b"{", path="/api/v1/task")).status == 400


async def test_it_says_what_it_is_and_answers_a_head_without_a_body(sandbox: Sandbox) -> None:
    itself = await ask(sandbox, method="GET", path="/", key=None)
    assert (itself.status, itself.json["sandbox"]) == (200, True)
    for path, status in (("/v1/models", 200), ("/v1/models/nothing", 404), ("/", 200)):
        head = await ask(sandbox, method="HEAD", path=path)
        first, _, body = head.raw.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nx-sandbox: 1\r\n" in first
        assert body == b""
    missing = (await ask(sandbox, method="GET", path="/v1/models/nothing")).json["error"]
    assert (missing["code"], missing["param"]) == ("model_not_found", "model")


async def test_links_lead_to_where_it_was_asked_if_it_listens_everywhere(sandbox: Sandbox) -> None:
    order = {"model": "gpt-image-2", "prompt": "a fox"}
    async with Sandbox(host="0.0.0.0", roles=("backup",)) as everywhere:
        made = await ask(everywhere, order, "ok;link=1", path="/v1/images/generations")
        here = await ask(sandbox, order, "ok;link=1", path="/v1/images/generations", role="backup")
    assert made.json["data"][0]["url"].startswith("http://sandbox/files/")  # the name by which the client asked
    assert here.json["data"][0]["url"].startswith(f"{sandbox.urls['backup']}/files/")
