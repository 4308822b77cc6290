"""Orders as forms: the images, the mask and Flux's own fields, as OpenAI's SDK and others write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.raw_client import Answer

from .harness import PROMPT, Rig
from .image_orders import (
    EDITS,
    LORA,
    MASK,
    OTHER_SOURCE,
    SOURCE,
    bought,
    delivered,
    from_base64,
    image,
)
from .raw_orders import order as raw_order

SIDES = {"left": 500, "right": 500, "top": 0, "bottom": 8}
SIDES_IN_FULL = {"setting_type": "outpaint", **{f"outpaint_{side}": pixels for side, pixels in SIDES.items()}}


class TestFiles:
    """What the SDK calls ``image`` and ``image[]`` reaches the upstream whole and in order."""

    @pytest.mark.parametrize("images", [(SOURCE,), (SOURCE, OTHER_SOURCE)], ids=["image", "image[]"])
    @pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
    async def test_for_gpt_image_1(self, rig: Rig, images: tuple[bytes, ...], masked: bool) -> None:
        stencil: Any = {"mask": MASK} if masked else {}

        answer = await rig.openai().images.edit(model="gpt-image-1", image=_given(images), prompt=PROMPT, **stencil)

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        assert order.form is not None
        name = "image" if len(images) == 1 else "image[]"
        assert [(file.name, file.data) for file in order.form.files] == [
            *((name, data) for data in images),
            *stencil.items(),
        ]
        assert {file.content_type for file in order.form.files} == {"image/png"}
        assert answer.usage is not None
        assert answer.usage.input_tokens_details.image_tokens == 323 * len(images)

    @pytest.mark.parametrize("images", [(SOURCE,), (SOURCE, OTHER_SOURCE)], ids=["image", "image[]"])
    @pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
    async def test_for_gpt_4o_image(self, rig: Rig, images: tuple[bytes, ...], masked: bool) -> None:
        stencil: Any = {"mask": MASK} if masked else {}

        answer = await rig.openai().images.edit(model="gpt-4o-image", image=_given(images), prompt=PROMPT, **stencil)

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        *sent, words = order.json["messages"][0]["content"]
        assert [from_base64(part["image_url"]["url"]) for part in sent] == [*images, *stencil.values()]
        sentence, _, prompt = words["text"].rpartition("\n\n")
        assert prompt == PROMPT
        assert ("The last image is a mask of the first one" in sentence) is masked

    async def test_of_every_way_to_name_one(self, rig: Rig, tmp_path: Path) -> None:
        path = tmp_path / "anything.jpeg"  # what it is, its bytes say
        path.write_bytes(SOURCE)

        with path.open("rb") as opened:
            for image in (opened, path, ("fox.png", SOURCE), ("fox", SOURCE, "application/octet-stream")):
                await rig.openai().images.edit(model="flux-kontext", image=image, prompt=PROMPT)

        assert [from_base64(order.json["input"]["image"]) for order in bought(rig)] == [SOURCE] * 4

    @pytest.mark.parametrize(
        "names", [("image", "image"), ("image[]", "image[]"), ("image[0]", "image[1]"), ("image", "image[]")]
    )
    async def test_of_other_clients(self, rig: Rig, names: tuple[str, str]) -> None:
        files = list(zip(names, (SOURCE, OTHER_SOURCE), strict=True))

        answer = await post_form(rig, [("model", "gpt-4o-image"), ("prompt", PROMPT)], files)

        assert answer.status == 200
        [order] = bought(rig)
        *sent, _ = order.json["messages"][0]["content"]
        assert [from_base64(part["image_url"]["url"]) for part in sent] == [SOURCE, OTHER_SOURCE]


class TestExtraBody:
    """The SDK writes what is nested with brackets; JSON text is read as well."""

    @pytest.mark.parametrize(
        "extra",
        [
            {"outpaint": SIDES},
            {"outpaint": json.dumps(SIDES)},
            {"custom_settings": [SIDES_IN_FULL]},
            {"custom_settings": json.dumps([SIDES_IN_FULL])},
            {"extra_body": json.dumps({"outpaint": SIDES})},
            {"extra_body": {"outpaint": SIDES}},
        ],
        ids=["brackets", "json", "custom_brackets", "custom_json", "whole_as_json", "whole_as_brackets"],
    )
    async def test_of_an_outpaint(self, rig: Rig, extra: Any) -> None:
        answer = await rig.openai().images.edit(
            model="flux-outpaint", image=SOURCE, prompt=PROMPT, extra_body={"service_mode": "public"} | extra
        )

        [order] = bought(rig)
        assert order.json["task_type"] == "fill-outpaint"
        assert order.json["input"]["custom_settings"] == [SIDES_IN_FULL]
        assert order.json["config"] == {"service_mode": "public"}
        assert [made.size for made in await delivered(answer)] == [(1064, 56)]

    @pytest.mark.parametrize(
        "settings",
        [LORA["lora_settings"], json.dumps(LORA["lora_settings"])],
        ids=["brackets", "json"],
    )
    async def test_of_a_lora(self, rig: Rig, settings: Any) -> None:
        extra = {"lora_settings": settings, "denoise": 0.25, "guidance_scale": 3, "steps": 20, "negative_prompt": "20"}

        await rig.openai().images.edit(model="flux-dev-advanced", image=SOURCE, prompt=PROMPT, extra_body=extra)

        [order] = bought(rig)
        assert order.json["task_type"] == "img2img-lora"
        assert from_base64(order.json["input"].pop("image")) == SOURCE
        assert order.json["input"] == {"prompt": PROMPT, **extra, **LORA}

    async def test_of_numbers_and_flags(self, rig: Rig) -> None:
        control = {"control_type": "canny", "control_strength": 0.5, "return_preprocessed_image": False}
        extra = {"control_net_settings": [control], "task_type": "controlnet-lora"}

        await rig.openai().images.edit(model="flux-dev-advanced", image=SOURCE, prompt="2", extra_body=extra)

        [order] = bought(rig)
        assert order.json["input"]["control_net_settings"] == [control]
        assert order.json["input"]["prompt"] == "2"

    async def test_what_can_be_read_in_two_ways_is_not_guessed(self, rig: Rig) -> None:
        fields = [("model", "flux-dev-advanced"), ("prompt", PROMPT)]
        loras = [("lora_settings[][lora_type]", "mjv6"), ("lora_settings[][lora_type]", "art")]

        answer = await post_form(rig, [*fields, *loras, ("lora_settings[][lora_strength]", "1")], [("image", SOURCE)])

        assert (answer.status, answer.error()["code"]) == (400, "invalid_form")
        assert not rig.sandbox.requests


class TestLargeForms:
    async def test_a_form_may_be_larger_than_a_json_body(self, rig: Rig) -> None:
        noise = image(64, 48) + bytes(21 << 20)  # what follows a PNG's end does not matter to it

        answer = await rig.openai().images.edit(model="gpt-image-1", image=noise, prompt=PROMPT)

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        assert order.form is not None
        assert [len(file.data) for file in order.form.files] == [len(noise)]


def _given(images: tuple[bytes, ...]) -> Any:
    """One file is the SDK's ``image``, a list its ``image[]``."""
    return images[0] if len(images) == 1 else list(images)


async def post_form(rig: Rig, fields: Sequence[tuple[str, str]], files: Sequence[tuple[str, bytes]]) -> Answer:
    """A form written by hand, and the whole answer."""
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode() for name, text in fields]
    for name, data in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + data)
    body = b"".join(b"--fox\r\n" + part + b"\r\n" for part in parts) + b"--fox--\r\n"
    return await raw_order(rig, path=EDITS, body=body, content_type="multipart/form-data; boundary=fox")
