"""How many images, and how large: what that comes to upstream, in the answer and in the books."""

from __future__ import annotations

from typing import Any

import pytest

from .harness import PROMPT, Rig
from .image_orders import (
    CHAT,
    GENERATIONS,
    IMAGE,
    Cell,
    bought,
    check_books,
    delivered,
    relayed,
    tokens_price,
)


class TestSeveral:
    """``n`` images: as few orders as the upstream has room for, one reservation, one charge."""

    @pytest.mark.parametrize(
        ("model", "n", "batches", "cost"),
        [
            ("flux-schnell", 6, [4, 2], 6 * 2_000_000),
            ("flux-schnell", 4, [4], 4 * 2_000_000),
            ("flux-dev", 2, [1, 1], 2 * 15_000_000),
        ],
    )
    async def test_of_flux(self, rig: Rig, model: str, n: int, batches: list[int], cost: int) -> None:
        answer = await rig.openai().images.generate(model=model, prompt=PROMPT, n=n)

        assert [made.size for made in await delivered(answer)] == [(1024, 1024)] * n
        assert sorted((order.json["input"].get("batch_size", 1) for order in bought(rig)), reverse=True) == batches
        await check_books(rig, Cell(model, "", cost), images=n)

    async def test_of_flux_by_its_own_word(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(model="flux-schnell", prompt=PROMPT, extra_body={"batch_size": 3})

        assert len(await delivered(answer)) == 3
        [order] = bought(rig)
        assert order.json["input"]["batch_size"] == 3

    async def test_of_gpt_4o_image(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, n=2)

        assert len(await delivered(answer)) == 2
        assert [order.path for order in bought(rig)] == [CHAT] * 2
        await check_books(rig, Cell("gpt-4o-image", CHAT, 2 * IMAGE), images=2)

    async def test_of_gpt_image_1(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, n=3)

        assert len(await delivered(answer)) == 3
        assert [(order.json["n"], order.json["stream"]) for order in bought(rig)] == [(1, True)] * 3
        await check_books(rig, relayed("gpt-image-1", GENERATIONS, 3 * tokens_price()), images=3)


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "made"),
        [
            ("auto", (1024, 1024)),
            ("256x256", (256, 256)),
            ("512x512", (512, 512)),
            ("1024x1024", (1024, 1024)),
            ("1536x1024", (1248, 832)),
            ("1024x1536", (832, 1248)),
            ("1792x1024", (1344, 768)),
            ("1024x1792", (768, 1344)),
        ],
    )
    async def test_of_flux_are_the_largest_that_fit(self, rig: Rig, size: Any, made: tuple[int, int]) -> None:
        answer = await rig.openai().images.generate(model="flux-schnell", prompt=PROMPT, size=size)

        [order] = bought(rig)
        assert (order.json["input"]["width"], order.json["input"]["height"]) == made
        assert answer.size == f"{made[0]}x{made[1]}"
        assert [one.size for one in await delivered(answer)] == [made]

    async def test_of_gpt_4o_image_are_said_in_words(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(model="gpt-4o-image", prompt=PROMPT, size="1536x1024")

        [order] = bought(rig)
        assert order.json["messages"][0]["content"] == f"{PROMPT}\n\nSize: 1536x1024 (3:2)."
        assert answer.size == "1536x1024"
        assert [one.size for one in await delivered(answer)] == [(1536, 1024)]

    async def test_of_gpt_image_1_are_the_nearest_it_has(self, rig: Rig) -> None:
        answer = await rig.openai().images.generate(
            model="gpt-image-1", prompt=PROMPT, size="1792x1024", quality="low", background="opaque"
        )

        [order] = bought(rig)
        assert (order.json["size"], order.json["quality"], order.json["background"]) == ("1536x1024", "low", "opaque")
        assert (answer.size, answer.quality, answer.output_format) == ("1536x1024", "low", "png")
        assert [one.size for one in await delivered(answer)] == [(1536, 1024)]
