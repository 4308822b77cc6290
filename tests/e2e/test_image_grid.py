"""Every route for images with every kind of model, by OpenAI's own SDK: what is bought, what comes, what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import ImagesResponse

from gateway.translate.image_stream import VARIATION_PROMPT

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .image_orders import (
    ADVANCED,
    BACKUP_ONLY,
    CHAT,
    CONTROL,
    DEV,
    EDITS,
    GENERATIONS,
    IMAGE,
    LATER,
    LORA,
    MASK,
    SCHNELL,
    SOURCE,
    Cell,
    by_the_backup,
    cells,
    check_books,
    check_what_was_bought,
    delivered,
    flux,
    from_base64,
    later_price,
    opened,
    relayed,
    tokens_price,
)

OUTPAINT = {"left": 16, "right": 16, "top": 0, "bottom": 8}


async def check_the_answer(cell: Cell, answer: ImagesResponse) -> None:
    """One image of the right size. Base64 is only for gpt-image-1; tokens, only an Images API tells.

    ``size`` is told where it was asked for upstream, or told by it.
    """
    [made] = await delivered(answer)
    assert answer.data
    assert made.size == cell.pixels
    assert answer.created > 1_700_000_000
    relayed_answer = cell.buys in (GENERATIONS, EDITS)
    assert (answer.data[0].b64_json is not None) is (cell.model == "gpt-image-1")
    assert answer.usage is not None
    assert (answer.usage.total_tokens > 0) is relayed_answer
    assert answer.usage.to_dict()["cost"] == pytest.approx(cell.cost / 1e9, abs=1e-12)
    told = relayed_answer or cell.task_type in ("txt2img", "kontext")
    assert answer.size == (f"{made.width}x{made.height}" if told else None)


class TestGenerations:
    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", GENERATIONS, tokens_price()),
        flux("flux-schnell", "txt2img", SCHNELL),
        flux("flux-dev", "txt2img", DEV),
        flux("flux-dev-advanced", "txt2img", ADVANCED),
        flux(SCHNELL, "txt2img", SCHNELL),
        flux(DEV, "txt2img", DEV, pixels=(512, 256), width=512, height=256),
        flux(ADVANCED, "txt2img", ADVANCED, task_type="txt2img"),
        flux("flux-dev-advanced", "txt2img-lora", ADVANCED, **LORA),
        flux(ADVANCED, "txt2img-lora", ADVANCED, task_type="txt2img-lora", **LORA),
        flux("flux-dev-advanced", "controlnet-lora", ADVANCED, pixels=(1024, 1024), **CONTROL),
        flux(ADVANCED, "controlnet-lora", ADVANCED, pixels=(1024, 1024), **CONTROL, **LORA),
    )
    async def test_by_piapi(self, rig: Rig, cell: Cell) -> None:
        answer = await rig.openai().images.generate(model=cell.model, prompt=PROMPT, extra_body=cell.extra)

        order = check_what_was_bought(rig, cell)
        await check_the_answer(cell, answer)
        await check_books(rig, cell)
        if cell.task_type:
            given = {name: value for name, value in cell.extra.items() if name != "task_type"}
            assert given.items() <= order.json["input"].items()
            assert order.json["input"]["prompt"] == PROMPT
        elif cell.buys == CHAT:
            assert order.json["messages"] == [{"role": "user", "content": PROMPT}]
        else:
            assert order.json == {"model": "gpt-image-1", "prompt": PROMPT, "n": 1, "stream": True}

    @cells(*by_the_backup(GENERATIONS, later_price()))
    async def test_by_the_backup(self, gateway: StartGateway, cell: Cell) -> None:
        rig = await gateway(BACKUP_ONLY)

        answer = await rig.openai().images.generate(model=cell.model, prompt=PROMPT)

        order = check_what_was_bought(rig, cell)
        assert order.json == {"model": LATER, "prompt": PROMPT, "n": 1}
        await check_the_answer(cell, answer)
        await check_books(rig, cell)


class TestEdits:
    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        Cell("gpt-4o-image", CHAT, IMAGE, masked=True),
        relayed("gpt-image-1", EDITS, tokens_price(sources=1)),
        flux("flux-kontext", "kontext", ADVANCED),
        flux("flux-dev-advanced", "kontext", ADVANCED, seed=7, steps=10),
        flux(ADVANCED, "kontext", ADVANCED),
        flux("flux-schnell", "img2img", SCHNELL),
        flux("flux-dev", "img2img", DEV, denoise=0.5, guidance_scale=3),
        flux("flux-dev-advanced", "img2img", ADVANCED, denoise=0.5),
        flux("flux-dev-advanced", "img2img", ADVANCED, negative_prompt="rain"),
        flux(DEV, "img2img", DEV, task_type="img2img", negative_prompt="rain"),
        flux("flux-dev-advanced", "img2img-lora", ADVANCED, **LORA, denoise=0.6),
        flux("flux-dev-advanced", "controlnet-lora", ADVANCED, **CONTROL),
        flux("flux-fill", "fill-inpaint", ADVANCED, masked=True),
        flux("flux-dev-advanced", "fill-inpaint", ADVANCED, masked=True),
        flux("flux-outpaint", "fill-outpaint", ADVANCED, pixels=(96, 56), outpaint=OUTPAINT),
        flux("flux-dev-advanced", "fill-outpaint", ADVANCED, pixels=(96, 56), outpaint=OUTPAINT),
        flux("flux-redux", "redux-variation", ADVANCED),
    )
    async def test_by_piapi(self, rig: Rig, cell: Cell) -> None:
        stencil: Any = {"mask": MASK} if cell.masked else {}

        answer = await rig.openai().images.edit(
            model=cell.model, image=SOURCE, prompt=PROMPT, extra_body=cell.extra, **stencil
        )

        order = check_what_was_bought(rig, cell)
        await check_the_answer(cell, answer)
        await check_books(rig, cell)
        if cell.task_type:
            _check_task_input(cell, order.json["input"])
        elif cell.buys == CHAT:
            [message] = order.json["messages"]
            sent = [part["image_url"]["url"] for part in message["content"][:-1]]
            assert [from_base64(url) for url in sent] == [SOURCE, *stencil.values()]
            assert message["content"][-1]["text"].endswith(PROMPT)
        else:
            assert order.form is not None
            assert [(file.name, file.data) for file in order.form.files] == [("image", SOURCE)]
            assert dict(order.form.fields) == {"model": "gpt-image-1", "prompt": PROMPT, "n": "1", "stream": "true"}

    @cells(*by_the_backup(EDITS, later_price(sources=1)))
    async def test_by_the_backup(self, gateway: StartGateway, cell: Cell) -> None:
        rig = await gateway(BACKUP_ONLY)

        answer = await rig.openai().images.edit(model=cell.model, image=SOURCE, mask=MASK, prompt=PROMPT)

        order = check_what_was_bought(rig, cell)
        assert order.form is not None
        assert [(file.name, file.data) for file in order.form.files] == [("image", SOURCE), ("mask", MASK)]
        await check_the_answer(cell, answer)
        await check_books(rig, cell)


def _check_task_input(cell: Cell, sent: dict[str, Any]) -> None:
    """The prompt, the image as base64, what was given, and nothing that was not."""
    given = {name: value for name, value in cell.extra.items() if name != "task_type"}
    if margins := given.pop("outpaint", None):
        sides = {f"outpaint_{side}": pixels for side, pixels in margins.items()}
        given["custom_settings"] = [{"setting_type": "outpaint", **sides}]
    if cell.task_type == "kontext":
        given = {"width": 1152, "height": 864, "steps": 28, "seed": -1} | given  # in the shape of the source
    source = from_base64(sent.pop("image"))
    assert sent == {"prompt": PROMPT, **given}
    if not cell.masked:
        assert source == SOURCE
        return
    painted = opened(source).convert("RGB")
    assert painted.getpixel((0, 0)) == (255, 255, 255)  # the mask's transparent half
    assert painted.getpixel((63, 47)) == opened(SOURCE).getpixel((63, 47))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # OpenAI has retired variations; the SDK still has them
class TestVariations:
    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", EDITS, tokens_price(VARIATION_PROMPT, sources=1)),
        flux("flux-redux", "redux-variation", ADVANCED),
        flux("flux-redux", "redux-variation", ADVANCED, prompt=PROMPT),
        flux("flux-dev-advanced", "redux-variation", ADVANCED),
        flux("flux-kontext", "redux-variation", ADVANCED),
        flux(ADVANCED, "redux-variation", ADVANCED),
    )
    async def test_by_piapi(self, rig: Rig, cell: Cell) -> None:
        answer = await rig.openai().images.create_variation(model=cell.model, image=SOURCE, extra_body=cell.extra)

        order = check_what_was_bought(rig, cell)
        await check_the_answer(cell, answer)
        await check_books(rig, cell)
        if cell.task_type:
            words, sent = order.json["input"]["prompt"], order.json["input"]["image"]
            assert words == PROMPT if cell.extra else "variation" in words
            assert from_base64(sent) == SOURCE
        elif cell.buys == CHAT:
            sent, words = order.json["messages"][0]["content"]
            assert from_base64(sent["image_url"]["url"]) == SOURCE
            assert words == {"type": "text", "text": VARIATION_PROMPT}
        else:
            assert order.form is not None
            assert order.form.get("prompt") == VARIATION_PROMPT
            assert [file.data for file in order.form.files] == [SOURCE]

    @cells(*by_the_backup(EDITS, later_price(VARIATION_PROMPT, sources=1)))
    async def test_by_the_backup(self, gateway: StartGateway, cell: Cell) -> None:
        rig = await gateway(BACKUP_ONLY)

        answer = await rig.openai().images.create_variation(model=cell.model, image=SOURCE)

        form = check_what_was_bought(rig, cell).form
        assert form is not None
        assert form.get("prompt") == VARIATION_PROMPT
        await check_the_answer(cell, answer)
        await check_books(rig, cell)
