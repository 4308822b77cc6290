"""Images by the official OpenAI SDK for JavaScript: generate and edit, whole and streamed.

Without Node or its packages (scripts/node_sdk.sh) these tests skip.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig, get
from .image_orders import (
    ADVANCED,
    BACKUP_ONLY,
    CHAT,
    EDITS,
    GENERATIONS,
    IMAGE,
    LORA,
    MASK,
    OTHER_SOURCE,
    SCHNELL,
    SOURCE,
    Cell,
    bought,
    cells,
    check_books,
    check_what_was_bought,
    flux,
    from_base64,
    later_price,
    opened,
    relayed,
    tokens_price,
)
from .node_sdk import Node, file

KINDS = {"generate": "image_generation", "edit": "image_edit"}


async def pixels(image: dict[str, Any]) -> tuple[int, int]:
    """Of an item of an answer, or of an event."""
    return opened(from_base64(image["b64_json"]) if image.get("b64_json") else await get(image["url"])).size


async def painted(node: Node, rig: Rig, check: str, cell: Cell, *, stream: bool, **fields: Any) -> Any:
    """The one image that came, after a look at the shape in which it came."""
    wanted = {"model": cell.model, "prompt": PROMPT, **cell.extra, **fields}
    if not stream:
        report = await node.paint(rig, check, **wanted)
        assert report["ok"], report
        [image] = report["answer"]["data"]
        return image
    report = await node.paint(rig, check, **wanted, stream=True, partial_images=1)
    assert report["ok"], report
    *partial, image = report["events"]
    assert image["type"] == f"{KINDS[check]}.completed"
    has_previews = cell.buys in (GENERATIONS, EDITS)
    assert [event["type"] for event in partial] == [f"{KINDS[check]}.partial_image"] * has_previews
    return image


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
class TestImages:
    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", GENERATIONS, tokens_price()),
        flux("flux-schnell", "txt2img", SCHNELL),
        flux("flux-dev-advanced", "txt2img-lora", ADVANCED, **LORA),
    )
    async def test_generated(self, rig: Rig, node: Node, cell: Cell, stream: bool) -> None:
        image = await painted(node, rig, "generate", cell, stream=stream)

        check_what_was_bought(rig, cell)
        assert await pixels(image) == cell.pixels
        await check_books(rig, cell)

    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", EDITS, tokens_price(sources=1)),
        flux("flux-kontext", "kontext", ADVANCED),
        flux("flux-fill", "fill-inpaint", ADVANCED, masked=True),
        flux("flux-dev-advanced", "img2img-lora", ADVANCED, **LORA),
    )
    async def test_edited(self, rig: Rig, node: Node, cell: Cell, stream: bool) -> None:
        files = {"image": file(SOURCE), **({"mask": file(MASK)} if cell.masked else {})}

        image = await painted(node, rig, "edit", cell, stream=stream, **files)

        check_what_was_bought(rig, cell)
        assert await pixels(image) == cell.pixels
        await check_books(rig, cell)

    async def test_by_the_backup(self, gateway: StartGateway, node: Node, stream: bool) -> None:
        rig = await gateway(BACKUP_ONLY)
        cell = relayed("flux-dev", GENERATIONS, later_price(), "backup")

        image = await painted(node, rig, "generate", cell, stream=stream)

        assert await pixels(image) == (1024, 1024)
        await check_books(rig, cell)


class TestForms:
    async def test_several_files_for_gpt_image_1(self, rig: Rig, node: Node) -> None:
        images = [file(SOURCE, "one.png"), file(OTHER_SOURCE, "two.png")]

        report = await node.paint(
            rig, "edit", model="gpt-image-1", prompt=PROMPT, image=images, mask=file(MASK), n=2, quality="low"
        )

        assert [await pixels(image) for image in report["answer"]["data"]] == [(1024, 1024)] * 2
        assert len(bought(rig)) == 2  # what is streamed upstream is ordered one by one
        for order in bought(rig):
            form = order.form
            assert form is not None
            assert [(sent.name, sent.data) for sent in form.files] == [
                *(("image[]", SOURCE), ("image[]", OTHER_SOURCE)),
                ("mask", MASK),
            ]
            assert (form.get("n"), form.get("quality")) == ("1", "low")

    async def test_several_files_for_gpt_4o_image(self, rig: Rig, node: Node) -> None:
        images = [file(SOURCE), file(OTHER_SOURCE)]

        report = await node.paint(rig, "edit", model="gpt-4o-image", prompt=PROMPT, image=images, mask=file(MASK))

        assert report["ok"]
        *sent, words = bought(rig)[0].json["messages"][0]["content"]
        assert [from_base64(part["image_url"]["url"]) for part in sent] == [SOURCE, OTHER_SOURCE, MASK]
        assert "mask" in words["text"]

    @pytest.mark.parametrize("as_json", [False, True], ids=["brackets", "json"])
    async def test_nested_fields(self, rig: Rig, node: Node, as_json: bool) -> None:
        sides = {"left": 16, "right": 16, "top": 0, "bottom": 8}

        report = await node.paint(
            rig,
            "edit",
            model="flux-outpaint",
            prompt=PROMPT,
            image=file(SOURCE),
            outpaint=json.dumps(sides) if as_json else sides,
        )

        assert await pixels(report["answer"]["data"][0]) == (96, 56)
        assert bought(rig)[0].json["input"]["custom_settings"] == [
            {"setting_type": "outpaint", **{f"outpaint_{side}": added for side, added in sides.items()}}
        ]

    async def test_a_list_of_settings(self, rig: Rig, node: Node) -> None:
        report = await node.paint(
            rig, "edit", model="flux-dev-advanced", prompt=PROMPT, image=file(SOURCE), denoise=0.25, **LORA
        )

        assert report["ok"]
        sent = bought(rig)[0].json["input"]
        assert (sent["lora_settings"], sent["denoise"]) == (LORA["lora_settings"], 0.25)


class TestRefusals:
    @pytest.mark.parametrize(
        ("check", "param", "fields"),
        [
            ("generate", "guidance_scale", {"model": "flux-dev", "guidance_scale": 9}),
            ("generate", "response_format", {"model": "gpt-image-1", "response_format": "svg"}),
            ("edit", "mask", {"model": "flux-kontext", "image": file(SOURCE), "mask": file(MASK)}),
            ("edit", "image", {"model": "flux-kontext", "image": [file(SOURCE)] * 2}),
        ],
        ids=["number", "format", "mask", "several"],
    )
    async def test_become_the_sdks_own(self, rig: Rig, node: Node, check: str, param: str, fields: Any) -> None:
        report = await node.paint(rig, check, prompt=PROMPT, **fields)

        assert not report["ok"]
        error = report["error"]
        assert (error["kind"], error["status"], error["param"]) == ("BadRequestError", 400, param)
        assert rig.sandbox.requests == []
        await rig.rows(0)
