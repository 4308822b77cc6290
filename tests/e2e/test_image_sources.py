"""An image that a client sends in is never dropped, in whatever form and place it comes, and the task fits it."""

from __future__ import annotations

import io
from typing import Any

import openai
import pytest
from PIL import Image

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .image_orders import (
    ADVANCED,
    BACKUP_ONLY,
    DEV,
    EDITS,
    SOURCE,
    as_base64,
    bought,
    delivered,
    from_base64,
    image,
    mask,
    opened,
)

LINK = "https://cdn.example/in.png"
DATA_URL = f"data:image/png;base64,{as_base64(SOURCE)}"


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def shown(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


WINTER = {"role": "user", "content": PROMPT}

CHATS: dict[str, list[dict[str, Any]]] = {
    "one message earlier": [user(shown(LINK)), WINTER],
    "an answer between": [user({"type": "text", "text": "hm"}, shown(LINK)), said("there"), WINTER],
    "what the model made": [{"role": "user", "content": "a bear"}, said(f"![image]({LINK})"), WINTER],
    "input_image": [user({"type": "text", "text": PROMPT}, {"type": "input_image", "image_url": LINK})],
    "image": [user({"type": "text", "text": PROMPT}, {"type": "image", "image": LINK})],
    "source": [user({"type": "text", "text": PROMPT}, {"type": "image", "source": {"type": "url", "url": LINK}})],
    "a bare address": [user({"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": LINK})],
}


class TestChats:
    @pytest.mark.parametrize("messages", CHATS.values(), ids=CHATS)
    @pytest.mark.parametrize(
        ("model", "flux", "task_type"), [("flux-dev", DEV, "img2img"), ("flux-dev-advanced", ADVANCED, "kontext")]
    )
    async def test_the_task_works_on_the_picture(
        self, rig: Rig, messages: list[dict[str, Any]], model: str, flux: str, task_type: str
    ) -> None:
        answer = await rig.chat(model=model, messages=messages)

        assert answer.status == 200, answer.body
        [task] = bought(rig)
        assert (task.json["model"], task.json["task_type"]) == (flux, task_type)
        assert (task.json["input"]["image"], task.json["input"]["prompt"]) == (LINK, PROMPT)
        row = await rig.row()
        assert (row.charged, row.images) == (rig.sandbox.billed, 1)

    @pytest.mark.parametrize(
        "part",
        [
            {"type": "file", "file": {"filename": "in.png", "file_data": DATA_URL}},
            {"type": "input_file", "file_data": DATA_URL},
            {"type": "image_url", "image_url": as_base64(SOURCE).rstrip("=")},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": as_base64(SOURCE)}},
        ],
    )
    async def test_of_bytes_the_bytes_go_on(self, rig: Rig, part: dict[str, Any]) -> None:
        answer = await rig.chat(model="flux-kontext", messages=[user({"type": "text", "text": PROMPT}, part)])

        assert answer.status == 200, answer.body
        [task] = bought(rig)
        assert from_base64(task.json["input"]["image"]) == SOURCE
        assert (task.json["input"]["width"], task.json["input"]["height"]) == (1152, 864)

    async def test_a_file_that_is_not_here_is_named_and_nothing_bought(self, rig: Rig) -> None:
        part = {"type": "file", "file": {"file_id": "file-1"}}

        answer = await rig.chat(model="flux-dev", messages=[user({"type": "text", "text": PROMPT}, part)])

        assert (answer.status, answer.error()["param"]) == (404, "messages[0].content[1].file.file_id")
        assert answer.error()["code"] == "file_not_found"
        assert bought(rig) == []

    @pytest.mark.parametrize("stream", [False, True])
    async def test_a_picture_that_is_kept_here_goes_on_as_bytes(self, gateway: StartGateway, stream: bool) -> None:
        """The backup brought bytes, so the link is one of ours, which no upstream could follow."""
        rig = await gateway(BACKUP_ONLY)
        first = await rig.chat(model="flux-dev")
        made = first.json()["choices"][0]["message"]
        assert "/images/" in made["content"]

        messages = [{"role": "user", "content": "a bear"}, made, WINTER]
        answer = await rig.chat(model="flux-dev", messages=messages, stream=stream)

        assert answer.status == 200, answer.body
        drawn, edited = bought(rig)
        assert edited.path == EDITS
        [file] = edited.form.files
        assert opened(file.data).size == (1024, 1024)
        assert drawn.path != EDITS
        assert sum(row.charged for row in await rig.rows(2)) == rig.sandbox.billed

    async def test_one_that_is_no_longer_kept_is_told(self, rig: Rig) -> None:
        gone = f"{rig.gateway.main_url}/images/{'x' * 43}.png"

        answer = await rig.chat(model="flux-dev", messages=[said(f"![image]({gone})"), WINTER])

        assert answer.status == 400
        assert "no longer" in answer.error()["message"] or "any more" in answer.error()["message"]
        assert bought(rig) == []

    async def test_a_variation_needs_no_words(self, rig: Rig) -> None:
        answer = await rig.chat(model="flux-redux", messages=[user(shown(DATA_URL))])

        assert answer.status == 200, answer.body
        [task] = bought(rig)
        assert task.json["task_type"] == "redux-variation"
        assert from_base64(task.json["input"]["image"]) == SOURCE


class TestShapes:
    @pytest.mark.parametrize("size", [None, "auto", "", "2K"])
    @pytest.mark.parametrize(
        ("source", "made"), [((1920, 1080), (1280, 720)), ((600, 800), (864, 1152)), ((500, 500), (1024, 1024))]
    )
    async def test_kontext_keeps_that_of_its_picture(
        self, rig: Rig, size: str | None, source: tuple[int, int], made: tuple[int, int]
    ) -> None:
        extra = {} if size is None else {"size": size}

        answer = await rig.openai().images.edit(
            model="flux-kontext", prompt=PROMPT, image=image(*source), extra_body=extra
        )

        [picture] = await delivered(answer)
        assert picture.size == made
        assert answer.size == f"{made[0]}x{made[1]}"

    async def test_of_a_linked_picture_the_client_is_told(self, rig: Rig) -> None:
        answer = await rig.openai().images.with_raw_response.generate(
            model="flux-kontext", prompt=PROMPT, extra_body={"image": LINK}
        )

        assert answer.headers["x-gateway-note"] == "size_left_to_upstream"
        [task] = bought(rig)
        assert not {"width", "height"} & task.json["input"].keys()

    @pytest.mark.parametrize("size", ["64x48", "64*48", "4:3", "auto", ""])
    @pytest.mark.parametrize("masked", [False, True])
    async def test_a_size_that_is_the_pictures_own_is_no_wish(self, rig: Rig, size: str, masked: bool) -> None:
        fields: dict[str, Any] = {"mask": mask()} if masked else {}

        answer = await rig.openai().images.edit(
            model="flux-fill" if masked else "flux-dev",
            prompt=PROMPT,
            image=SOURCE,
            extra_body={"size": size},
            **fields,
        )

        [picture] = await delivered(answer)
        assert picture.size == (64, 48)
        [task] = bought(rig)
        assert task.json["task_type"] == ("fill-inpaint" if masked else "img2img")

    async def test_another_is_refused_before_anything_is_bought(self, rig: Rig) -> None:
        with pytest.raises(openai.BadRequestError, match="its image's own, 64x48"):
            await rig.openai().images.edit(model="flux-dev", prompt=PROMPT, image=SOURCE, size="1024x1024")
        assert bought(rig) == []


class TestForms:
    @pytest.mark.parametrize(
        "extra",
        [
            {"images": [{"image_url": {"url": DATA_URL}}]},
            {"images": [{"b64_json": as_base64(SOURCE)}]},
            {"image": DATA_URL},
            {"image": {"url": as_base64(SOURCE).rstrip("=")}},
            {"image": "\n".join((as_base64(SOURCE)[:60], as_base64(SOURCE)[60:]))},
            {"image": as_base64(SOURCE).replace("+", "-").replace("/", "_")},
        ],
    )
    @pytest.mark.parametrize("model", ["flux-dev", "gpt-image-1", "gpt-4o-image"])
    async def test_of_a_picture_in_json(self, rig: Rig, model: str, extra: dict[str, Any]) -> None:
        answer = await rig.openai().images.generate(model=model, prompt=PROMPT, extra_body=extra)

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        if model == "flux-dev":
            assert from_base64(order.json["input"]["image"]) == SOURCE
        elif model == "gpt-image-1":
            assert [file.data for file in order.form.files] == [SOURCE]
        else:
            assert from_base64(order.json["messages"][0]["content"][0]["image_url"]["url"]) == SOURCE
        assert (await rig.row()).charged == rig.sandbox.billed

    @pytest.mark.parametrize("model", ["flux-kontext", "gpt-image-1", "gpt-4o-image"])
    @pytest.mark.parametrize("transparent", [False, True])
    async def test_avif_is_converted(self, rig: Rig, model: str, transparent: bool) -> None:
        written = io.BytesIO()
        Image.new("RGBA" if transparent else "RGB", (64, 48), (10, 200, 30, 128)[: 3 + transparent]).save(
            written, "AVIF"
        )

        answer = await rig.openai().images.edit(model=model, prompt=PROMPT, image=written.getvalue())

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        if model == "flux-kontext":
            data = from_base64(order.json["input"]["image"])
            assert (order.json["input"]["width"], order.json["input"]["height"]) == (1152, 864)
        elif model == "gpt-image-1":
            [file] = order.form.files
            data = file.data
        else:
            data = from_base64(order.json["messages"][0]["content"][0]["image_url"]["url"])
        with Image.open(io.BytesIO(data)) as sent:
            assert (sent.format, sent.size) == ("PNG" if transparent else "JPEG", (64, 48))

    async def test_heic_is_refused_with_what_is_taken(self, rig: Rig) -> None:
        heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 40

        with pytest.raises(openai.BadRequestError, match="PNG, JPEG, WebP, GIF or AVIF"):
            await rig.openai().images.edit(model="flux-dev", prompt=PROMPT, image=heic)

        assert bought(rig) == []
