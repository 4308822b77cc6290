"""The bill: what was delivered, at PiAPI's and OpenAI's prices, to the nano-dollar."""

from __future__ import annotations

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.server.billing import sale_amount, token_prices
from gateway.sandbox.wire.answers import Role, Sale
from tests.sandbox.client import HELLO, STREAM, Client, ask


@pytest.mark.parametrize(
    ("role", "sale", "expected"),
    [
        ("api", Sale("gpt-4o", 1000, 0, 100), 1000 * 1875 + 100 * 7500),
        ("proxy", Sale("gpt-4o", 1000, 400, 100), 1000 * 1875 + 100 * 7500),
        ("backup", Sale("gpt-4o", 1000, 400, 100), 600 * 2500 + 400 * 1250 + 100 * 10_000),
        ("api", Sale("gpt-4o-mini", 1, 0, 0), 113),  # 112.5 rounded half up
        ("api", Sale("gpt-4o-mini", 2, 0, 0), 225),
        ("api", Sale("gpt-4o-mini-2024-07-18", 2, 0, 0), 225),
        ("api", Sale("claude-sonnet-4-20250514", 4, 0, 4), 4 * 2250 + 4 * 11_250),
        ("api", Sale("gpt-unheard-of", 4, 0, 4), None),
        ("api", Sale("unheard-of", images=1, flat=True), None),
        ("api", Sale("Qubico/flux1-schnell", images=3, flat=True, points=60_000), 6_000_000),
        ("proxy", Sale("Qubico/flux1-dev", images=1, flat=True, points=150_000), 15_000_000),
        ("api", Sale("Qubico/flux1-dev-advanced", images=1, flat=True, points=200_000), 20_000_000),
        ("api", Sale("kling", images=1, flat=True), None),
        ("proxy", Sale("gpt-4o-image", 9, 0, 15, images=2, flat=True), 20_000_000),
        ("proxy", Sale("gpt-4o-image", 9, 0, 15, images=0, flat=True), 660_000),
        # Ten words at $5, of which four cached at $1.25, 323 image tokens at $10, 1,056 at $40 (per 1,000,000).
        ("api", Sale("gpt-image-1", 333, 4, 1056, 1, image_tokens=323), 30_000 + 5_000 + 3_230_000 + 42_240_000),
        # 10 fresh at $2, 20 cached at $0.10, 30 written for 12 hours at $5, 4 of output at $10, all twice; a search.
        (
            "backup",
            Sale("gpt-6.2-sol", 60, 20, 4, written_tokens=30, lifetime="12h", tier="priority", calls=1),
            2 * (20_000 + 2_000 + 150_000 + 40_000) + 10_000_000,
        ),
        ("backup", Sale("openai/gpt-6.2-sol-2026-11-17", 300_000, 0, 2), 300_000 * 4_000 + 2 * 15_000),
        ("backup", Sale("gpt-audio", 10, 0, 10, audio_tokens=4, spoken_tokens=3), 143_000 + 7 * 10_000 + 3 * 64_000),
        ("backup", Sale("claude-sonnet-4-6", 10, 0, 0, written_tokens=10, lifetime="1h"), 60_000),
        # More is cached than there are words: the rest are tokens of the image.
        ("backup", Sale("gpt-image-1", 333, 110, 1056, 1, image_tokens=323), 137_500 + 2_230_000 + 42_240_000),
    ],
)
def test_prices(role: Role, sale: Sale, expected: int | None) -> None:
    assert sale_amount(role, sale, sale.output_tokens, sale.images) == expected


def test_a_name_that_only_begins_alike_has_no_price() -> None:
    assert token_prices("api", "gpt-4o-2024-08-06") == token_prices("api", "gpt-4o")
    assert token_prices("api", "gpt-4o-audio") is None


async def test_whole_answers_are_billed_by_their_usage(sandbox: Sandbox) -> None:
    usage = (await ask(sandbox, HELLO, key="sk-one")).json["usage"]
    await ask(sandbox, STREAM, key="sk-two")

    whole, streamed = sandbox.bill
    assert (whole.input_tokens, whole.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert (whole.key, streamed.key) == ("sk-one", "sk-two")
    assert (whole.number, streamed.number) == (0, 1)
    assert whole.request_id == sandbox.requests[0].id
    assert whole.amount == streamed.amount == 9 * 1875 + 15 * 7500
    assert sandbox.billed == 2 * whole.amount
    assert "sk-one" not in repr(whole)
    assert "sk-one" not in repr(sandbox.requests[0])


IMAGE = {"model": "gpt-image-1", "prompt": "a red fox", "stream": True}
TASK = {"model": "Qubico/flux1-schnell", "task_type": "txt2img", "input": {"prompt": "x", "batch_size": 2}}


async def test_each_image_order_has_one_line(sandbox: Sandbox) -> None:
    """Three ways to sell images, each billed once by its own measure: tokens, points, an answer."""
    await ask(sandbox, IMAGE, path="/v1/images/generations", key="sk-one")
    task = await ask(sandbox, TASK, "ok;polls=0", path="/api/v1/task", key="sk-two")
    for _ in range(2):
        await ask(sandbox, method="GET", path=f"/api/v1/task/{task.json['data']['task_id']}", key="sk-two")
    await ask(sandbox, {**STREAM, "model": "gpt-4o-image"}, "ok;images=3", key="sk-three")
    await ask(sandbox, TASK, "task_failed;bought=1", path="/api/v1/task")

    assert [(line.key, line.images, line.amount) for line in sandbox.bill] == [
        ("sk-one", 1, 3 * 5_000 + 1056 * 40_000),
        ("sk-two", 2, 4_000_000),
        ("sk-three", 3, 20_000_000),
    ]
    assert sandbox.bill[1].request_id == sandbox.requests[1].id, "billed on the request that created it"


async def test_of_a_stream_of_images_those_that_came_are_billed(sandbox: Sandbox) -> None:
    for scenario, images in (("cut;after_events=0", []), ("cut;after_events=1", [1]), ("cut;bought=1", [1, 1])):
        await ask(sandbox, IMAGE, scenario, path="/v1/images/generations")
        assert [line.images for line in sandbox.bill] == images
    assert sandbox.bill[0].amount == 15_000 + 42_240_000


async def test_a_cut_stream_is_billed_by_what_was_sent(sandbox: Sandbox) -> None:
    await ask(sandbox, STREAM, "cut;after_events=4")

    assert [(line.input_tokens, line.output_tokens, line.whole) for line in sandbox.bill] == [(9, 3, False)]


@pytest.mark.parametrize(
    "scenario", ["server_error", "cut_early", "reset_before_head", "sse_error_first", "sse_empty", "html_200", "cf_524"]
)
async def test_what_delivers_nothing_costs_nothing_unless_it_was_bought(sandbox: Sandbox, scenario: str) -> None:
    await ask(sandbox, STREAM, scenario)
    assert sandbox.bill == []

    await ask(sandbox, STREAM, f"{scenario};bought=1")
    assert [line.output_tokens for line in sandbox.bill] == [15]


async def test_a_client_that_leaves_pays_for_what_was_sent(sandbox: Sandbox) -> None:
    client = await Client.to(sandbox)
    await client.order(STREAM, "stall_mid;after_events=3")
    await client.receive_events(3)
    await client.close()
    await sandbox.until_idle()

    assert [(line.output_tokens, line.whole) for line in sandbox.bill] == [(2, False)]


async def test_a_model_without_a_price_is_on_the_bill_without_an_amount(sandbox: Sandbox) -> None:
    await ask(sandbox, {**HELLO, "model": "gpt-4-gizmo-g-abc"})

    assert [line.amount for line in sandbox.bill] == [None]
    assert sandbox.billed == 0
