"""What images cost: told before the body, in the books, in the figures, and on the provider's own bill."""

from __future__ import annotations

import io

import openai
import pytest

from gateway.core.pricing.prices import format_usd

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .raw_orders import IMAGE, NO_BACKUP, NO_IMAGE, TABLE, WORDS, order, sandbox_image

TEXT, CACHED, IMAGES_IN, OUTPUT = 5_000, 1_250, 10_000, 40_000
"""Nano-dollars a token of gpt-image-1."""

SOURCE = 323
"""Tokens the sandbox counts for an image that was sent in."""

OUTPUT_TOKENS = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
CELLS = [(quality, size) for quality, sizes in TABLE.items() for size in sizes]


def image_file() -> io.BytesIO:
    file = io.BytesIO(sandbox_image("/gen-source-64x64.png"))
    file.name = "source.png"
    return file


async def check_everywhere(rig: Rig, model: str, cost: int, images: int, header: str | None) -> None:
    """One request's price, wherever it is told."""
    assert header == format_usd(cost)
    row = await rig.row()
    assert (row.charged, row.images, row.model) == (cost, images, model)
    figures = await rig.figures()
    assert figures.nano("gateway_cost_usd_total", model=model, key="alice", team="growth") == cost
    assert figures.nano("gateway_upstream_cost_usd_total", model=model, reason="billed") == cost
    assert figures.total("gateway_images_total", model=model, key="alice") == images
    [used] = await rig.usage("model")
    assert (used["model"], used["requests"], used["images"]) == (model, 1, images)
    assert used["cost_usd"] == pytest.approx(cost / 1e9, abs=1e-12)
    [by_key] = await rig.usage("key,upstream")
    assert (by_key["key"], by_key["upstream"], by_key["cost_usd"]) == ("alice", row.upstream, used["cost_usd"])


class TestGpt4oImage:
    @pytest.mark.parametrize("images", [1, 4])
    async def test_an_answer_with_images(self, rig: Rig, images: int) -> None:
        rig.sandbox.script(f"ok;images={images}")

        answer = await order(rig)

        await check_everywhere(rig, "gpt-4o-image", IMAGE, images, answer.header("x-gateway-cost-usd"))
        assert rig.sandbox.billed == IMAGE

    async def test_an_answer_without(self, rig: Rig) -> None:
        rig.sandbox.script("ok;variant=failed")

        answer = await order(rig)

        assert answer.status == 400
        assert answer.header("x-gateway-cost-usd") == "0.00066"
        row = await rig.row()
        assert (row.charged, row.upstream_cost, row.confidence) == (NO_IMAGE, NO_IMAGE, "measured")
        assert rig.sandbox.billed == NO_IMAGE
        [used] = await rig.usage("model")
        assert (used["cost_usd"], used["images"]) == (pytest.approx(0.00066), 0)
        assert (await rig.figures()).nano("gateway_cost_usd_total", model="gpt-4o-image") == NO_IMAGE

    @pytest.mark.parametrize("scenario", ["rejected", "too_large", "rate_limited;retry_after=60", "server_error"])
    async def test_a_status_that_is_an_error(self, gateway: StartGateway, scenario: str) -> None:
        rig = await gateway(NO_BACKUP)
        rig.for_all_roles(scenario)

        answer = await order(rig)

        assert answer.status >= 400
        assert answer.header("x-gateway-cost-usd") == "0.00"
        row = await rig.row()
        assert (row.charged, row.images) == (0, 0)
        assert rig.sandbox.billed == 0
        assert (await rig.figures()).nano("gateway_cost_usd_total") == 0
        assert sum(used["cost_usd"] for used in await rig.usage("model")) == 0


class TestGptImage1ByUsage:
    @pytest.mark.parametrize(("quality", "size"), CELLS)
    async def test_is_what_the_provider_bills(self, rig: Rig, quality: str, size: str) -> None:
        answer = await order(rig, model="gpt-image-1", quality=quality, size=size)

        assert answer.json()["quality"] == quality
        assert answer.json()["size"] == size
        tokens = OUTPUT_TOKENS[quality][size != "1024x1024"]
        assert answer.json()["usage"]["output_tokens"] == tokens
        cost = WORDS * TEXT + tokens * OUTPUT
        await check_everywhere(rig, "gpt-image-1", cost, 1, answer.header("x-gateway-cost-usd"))
        assert rig.sandbox.billed == cost
        row = await rig.row()
        assert (row.input_tokens, row.cached_input_tokens, row.output_tokens) == (WORDS, 0, tokens)
        assert row.confidence == "measured"

    async def test_counts_several_images(self, rig: Rig) -> None:
        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024", n=3)

        assert len(answer.json()["data"]) == 3
        cost = 3 * (WORDS * TEXT + 272 * OUTPUT)  # a stream brings one image, so each has an order of its own
        await check_everywhere(rig, "gpt-image-1", cost, 3, answer.header("x-gateway-cost-usd"))
        assert rig.sandbox.billed == cost
        assert answer.json()["usage"]["output_tokens"] == 3 * 272
        assert len(rig.sandbox.requests) == 3

    async def test_takes_cached_input_at_its_own_price(self, rig: Rig) -> None:
        rig.sandbox.script("ok;cached=3")

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1024")

        assert answer.json()["usage"]["input_tokens_details"]["cached_tokens"] == 3
        cost = (WORDS - 3) * TEXT + 3 * CACHED + 272 * OUTPUT
        await check_everywhere(rig, "gpt-image-1", cost, 1, answer.header("x-gateway-cost-usd"))
        assert rig.sandbox.billed == cost
        assert (await rig.row()).cached_input_tokens == 3

    async def test_takes_images_sent_in_at_theirs(self, rig: Rig) -> None:
        raw = await rig.openai().images.with_raw_response.edit(
            model="gpt-image-1", prompt=PROMPT, image=[image_file(), image_file()], quality="low", size="1024x1024"
        )

        usage = raw.parse().usage
        assert usage is not None
        assert (usage.input_tokens_details.text_tokens, usage.input_tokens_details.image_tokens) == (WORDS, 2 * SOURCE)
        cost = WORDS * TEXT + 2 * SOURCE * IMAGES_IN + 272 * OUTPUT
        await check_everywhere(rig, "gpt-image-1", cost, 1, raw.headers["x-gateway-cost-usd"])
        assert rig.sandbox.billed == cost
        assert (await rig.row()).input_tokens == WORDS + 2 * SOURCE

    async def test_counts_cached_text_before_cached_images(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;cached={WORDS + 100}")

        raw = await rig.openai().images.with_raw_response.edit(
            model="gpt-image-1", prompt=PROMPT, image=image_file(), quality="low", size="1024x1024"
        )

        cost = (WORDS + 100) * CACHED + (SOURCE - 100) * IMAGES_IN + 272 * OUTPUT
        await check_everywhere(rig, "gpt-image-1", cost, 1, raw.headers["x-gateway-cost-usd"])
        assert rig.sandbox.billed == cost

    async def test_of_a_stream_is_in_its_last_event(self, rig: Rig) -> None:
        stream = await rig.openai().images.generate(
            model="gpt-image-1", prompt=PROMPT, quality="medium", size="1024x1536", stream=True, partial_images=2
        )
        events = [event async for event in stream]

        assert [event.type for event in events] == [
            "image_generation.partial_image",
            "image_generation.partial_image",
            "image_generation.completed",
        ]
        last = events[-1]
        assert last.type == "image_generation.completed"
        assert last.usage.output_tokens == 1584
        row = await rig.row()
        assert row.charged == row.upstream_cost == rig.sandbox.billed == WORDS * TEXT + 1584 * OUTPUT
        assert row.images == 1


class TestGptImage1ByTable:
    @pytest.mark.parametrize(("quality", "size"), CELLS)
    async def test_where_no_usage_is_named(self, rig: Rig, quality: str, size: str) -> None:
        rig.sandbox.script("ok;usage=0")

        answer = await order(rig, model="gpt-image-1", quality=quality, size=size)

        assert answer.json()["usage"]["total_tokens"] == 0  # only what it costs is known
        await check_everywhere(rig, "gpt-image-1", TABLE[quality][size], 1, answer.header("x-gateway-cost-usd"))
        assert (await rig.row()).confidence == "estimated"

    async def test_for_each_of_several(self, rig: Rig) -> None:
        rig.sandbox.script("ok;usage=0", times=4)

        answer = await order(rig, model="gpt-image-1", quality="low", size="1024x1536", n=4)

        cost = 4 * TABLE["low"]["1024x1536"]
        await check_everywhere(rig, "gpt-image-1", cost, 4, answer.header("x-gateway-cost-usd"))

    async def test_by_what_the_upstream_says_it_made_where_the_client_left_the_choice(self, rig: Rig) -> None:
        rig.sandbox.script("ok;usage=0")

        answer = await order(rig, model="gpt-image-1", size="auto")

        assert (answer.json()["quality"], answer.json()["size"]) == ("medium", "1024x1024")
        cost = TABLE["medium"]["1024x1024"]
        await check_everywhere(rig, "gpt-image-1", cost, 1, answer.header("x-gateway-cost-usd"))


class TestTheOperatorsPrices:
    async def test_come_before_the_catalogues(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "models: {gpt-4o-image: {targets: [{upstream: piapi, price: {image: 0.031, no_image: 0.0007}}]}}"
        )

        answer = await order(rig)

        await check_everywhere(rig, "gpt-4o-image", 31_000_000, 1, answer.header("x-gateway-cost-usd"))

    async def test_may_set_a_minimum(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "models: {gpt-4o-image: {targets: [{upstream: piapi, price: {image: 0.02, minimum: 0.05}}]}}"
        )

        answer = await order(rig)

        await check_everywhere(rig, "gpt-4o-image", 50_000_000, 1, answer.header("x-gateway-cost-usd"))

    async def test_that_are_not_known_leave_the_charge_unknown(self, gateway: StartGateway) -> None:
        rig = await gateway("models: {paints: {targets: [{upstream: backup, model: gpt-image-9, operation: images}]}}")

        answer = await order(rig, model="paints")

        assert answer.status == 200
        assert answer.header("x-gateway-cost-usd") is None
        row = await rig.row()
        assert (row.charged, row.images, row.confidence, row.state) == (0, 1, "unknown", "settled")


async def test_all_models_together_add_up(rig: Rig) -> None:
    """Books, figures, the usage report and the provider's bill tell the same sum."""
    sdk = rig.openai()
    await sdk.images.generate(model="gpt-4o-image", prompt=PROMPT)
    await sdk.images.generate(model="gpt-image-1", prompt=PROMPT, quality="low")
    await sdk.images.generate(model="flux-schnell", prompt=PROMPT, n=3)
    rig.sandbox.script("ok;variant=refused")
    with pytest.raises(openai.BadRequestError):
        await sdk.images.generate(model="gpt-4o-image", prompt=PROMPT)

    rows = await rig.rows(4)

    charged = {
        "gpt-4o-image": IMAGE + NO_IMAGE,
        "gpt-image-1": WORDS * TEXT + 272 * OUTPUT,
        "flux-schnell": 3 * 2_000_000,
    }
    assert sum(row.charged for row in rows) == sum(row.upstream_cost for row in rows) == sum(charged.values())
    assert rig.sandbox.billed == sum(charged.values())
    figures = await rig.figures()
    for model, cost in charged.items():
        assert figures.nano("gateway_cost_usd_total", model=model) == cost
    used = {line["model"]: line for line in await rig.usage("model")}
    assert {model: round(line["cost_usd"] * 1e9) for model, line in used.items()} == charged
    assert {model: line["images"] for model, line in used.items()} == {
        "gpt-4o-image": 1,
        "gpt-image-1": 1,
        "flux-schnell": 3,
    }
