"""What a long request reserves, and what it is charged: no more input than its model's context window has."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import ALICE, Rig

PDF = base64.b64encode(b"%PDF-1.7\n" + b"x" * 3_700_000).decode()
"""5 MB on the wire, which count as five million tokens."""


def keys(budget: str) -> str:
    return f'keys: [{{name: alice, key: {ALICE}, budget: "{budget}"}}]\n'


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}, **fields}


async def ask(rig: Rig, *parts: dict[str, Any], model: str = "gpt-4o", **fields: Any) -> Any:
    content = [{"type": "text", "text": "What does it say?"}, *parts]
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **fields}).encode()
    async with rig.client() as client:
        await client.ask(body, ALICE, {"connection": "close"})
        return await client.rest(await client.head())


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-4o", file()),
        ("gpt-4o-mini", file()),
        ("gpt-4o", {"type": "text", "text": "y" * 5_000_000}),
        ("gpt-4o", {"type": "input_audio", "input_audio": {"data": PDF, "format": "wav"}}),
        ("gpt-4o", {"type": "of tomorrow", "data": PDF}),
        ("openai/gpt-4o", file()),
    ],
)
async def test_a_small_budget_is_enough_for_a_long_request(
    gateway: StartGateway, model: str, part: dict[str, Any]
) -> None:
    rig = await gateway(keys("0.40/day"))
    passed = 400 if part["type"] == "of tomorrow" else 200  # which the upstream itself refuses
    assert (await ask(rig, part, model=model)).status == passed
    assert (await ask(rig, part, model=model, stream=True)).status == passed


async def test_a_refusal_says_what_was_reserved_for_what(gateway: StartGateway) -> None:
    rig = await gateway(keys("0.20/day"))
    refused = await ask(rig, file())
    message = refused.error()["message"]
    assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
    assert "128,000 input tokens at up to $1.875 and 16,384 output tokens at up to $7.50 per 1M" in message
    assert "may cost up to $0.36288" in message
    assert "A smaller max_tokens lowers what is reserved." in message
    refused = await ask(rig, file(), max_tokens=4_000)
    assert "and 4,000 output tokens" in refused.error()["message"]


async def test_a_window_may_be_configured_and_one_that_is_not_known_is_no_bound(gateway: StartGateway) -> None:
    price = "price: {input: 1, output: 1}"
    rig = await gateway(
        keys("0.50/day") + "models:\n"
        f"  small: {{context: 8000, max_output: 1000, targets: [{{upstream: piapi, model: gpt-4o, {price}}}]}}\n"
        f"  ours: {{max_output: 1000, targets: [{{upstream: piapi, model: our-own, {price}}}]}}\n"
        f"  like-4o: {{max_output: 1000, targets: [{{upstream: piapi, model: gpt-4o, {price}}}]}}\n"
    )
    assert (await ask(rig, file(), model="like-4o")).status == 200, "it has the window of the model behind it"
    assert (await ask(rig, file(), model="small")).status == 200
    refused = await ask(rig, file(), model="ours")
    assert "2,000,000 input tokens" in refused.error()["message"], "the largest window there is"


async def test_more_than_the_window_is_not_charged(gateway: StartGateway) -> None:
    rig = await gateway(keys("0.40/day"))
    rig.sandbox.script("ok")
    answer = await ask(rig, file(), max_tokens=100)
    assert answer.status == 200
    [row] = await rig.rows(1)
    assert row.charged <= 128_000 * 1875 + 16_384 * 7500
