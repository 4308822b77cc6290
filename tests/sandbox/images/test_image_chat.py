"""gpt-4o-image: every variant of its text, and links that lead to real images."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.images.image_texts import VARIANTS, VARIANTS_WITH_IMAGES
from gateway.sandbox.images.picture_forms import CHAT_FORMS
from gateway.wire.image_text import ImageText, ImageTextReader
from tests.sandbox.client import ask

BODY: dict[str, Any] = {
    "model": "gpt-4o-image",
    "messages": [{"role": "user", "content": "draw a fox 320x200"}],
    "stream": True,
}
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


async def text_of(sandbox: Sandbox, scenario: str, role: str = "proxy") -> tuple[str, list[Any]]:
    payloads = (await ask(sandbox, BODY, scenario, role=role)).payloads
    assert payloads[-1] == b"[DONE]"
    chunks = [orjson.loads(payload) for payload in payloads[:-1]]
    return "".join(delta.get("content") or "" for delta in deltas(chunks)), chunks


def deltas(chunks: list[Any]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if "choices" in chunk]


async def read(sandbox: Sandbox, variant: str, images: int = 1) -> ImageText:
    """What the gateway's own parser reads, delta by delta."""
    _, chunks = await text_of(sandbox, f"ok;variant={variant};images={images}")
    reader = ImageTextReader()
    for delta in deltas(chunks):
        reader.feed(delta.get("content") or "", delta.get("reasoning_content") or "")
    return reader.result()


@pytest.mark.parametrize("variant", sorted(VARIANTS_WITH_IMAGES - {"base64"}))
@pytest.mark.parametrize("images", [1, 2])
async def test_every_good_variant_links_to_real_images(sandbox: Sandbox, variant: str, images: int) -> None:
    text, chunks = await text_of(sandbox, f"ok;variant={variant};images={images}")
    links = IMAGE.findall(text)

    assert len(links) == images
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in chunks), "the family sends none"
    for link in links:
        assert link.startswith(sandbox.urls["proxy"])
        png = await ask(sandbox, method="GET", path=link.removeprefix(sandbox.urls["proxy"]), key=None, role="proxy")
        assert png.body.startswith(b"\x89PNG")
        assert png.body[16:24] == (320).to_bytes(4, "big") + (200).to_bytes(4, "big")
    assert [line.amount for line in sandbox.bill] == [20_000_000], "one price an answer, however many images"


async def test_an_image_travels_in_the_text_itself(sandbox: Sandbox) -> None:
    text, chunks = await text_of(sandbox, "ok;variant=base64;images=2")
    images = [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in IMAGE.findall(text)]

    assert len(images) == 2
    assert all(image[16:24] == (320).to_bytes(4, "big") + (200).to_bytes(4, "big") for image in images)
    assert not any("iVBOR" in piece and ")" in piece for piece in (d.get("content") or "" for d in deltas(chunks)))
    assert sandbox.billed == 20_000_000

    huge = {**BODY, "messages": [{"role": "user", "content": "9000x9000"}]}
    received = await ask(sandbox, huge, "ok;variant=base64", role="proxy")
    assert b"iVBOR" in received.body, "what it cannot draw it draws smaller"


async def test_progress_comes_beside_the_text(sandbox: Sandbox) -> None:
    text, chunks = await text_of(sandbox, "ok;variant=reasoning")
    thoughts = [delta["reasoning_content"] for delta in deltas(chunks) if "reasoning_content" in delta]

    assert "".join(thoughts).endswith("生成进度: 70%\n")
    assert "进度" not in text

    received = await ask(sandbox, BODY, "whole_json;variant=reasoning", role="proxy")
    message = received.json["choices"][0]["message"]
    assert message == {"role": "assistant", "content": text, "reasoning_content": "".join(thoughts)}


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("variant", sorted(VARIANTS_WITH_IMAGES))
async def test_the_gateway_reads_every_image(sandbox: Sandbox, variant: str, images: int) -> None:
    said = await read(sandbox, variant, images)

    assert (len(said.images), said.failure, said.refusal) == (images, None, None)
    assert said.downgraded is (variant == "downgraded")
    assert said.revised_prompt == (None if variant in ("e", "reasoning") else "draw a fox 320x200")
    percents = {"piapi": 64, "a": 64, "b": 100, "c": 100, "d": 34, "deltas": 81, "reasoning": 70, "base64": 99}
    assert said.progress == percents.get(variant)


INPUT = "input_moderation (the request did not pass moderation)."
OUTPUT = "output_moderation (the image that was made did not pass moderation)."
NO = "Sandbox: this image cannot be made; it goes against the rules."
MODERATED = " Reason: Sandbox: the image was moderated. Suggestion: Sandbox: change the prompt."


@pytest.mark.parametrize(
    ("variant", "failure", "refusal"),
    [
        ("failed", INPUT, None),
        ("failed_en", OUTPUT + MODERATED, None),
        ("bare_failed", OUTPUT, None),
        ("input_moderation", INPUT, None),
        ("output_moderation", OUTPUT, None),
        ("terminal", "The generation failed, and no reason was given.", None),
        ("refused", None, NO),
        ("text_only", None, NO),
        ("silent", None, None),
        ("error_delta", None, None),
    ],
)
async def test_the_gateway_reads_why_there_is_no_image(
    sandbox: Sandbox, variant: str, failure: str | None, refusal: str | None
) -> None:
    said = await read(sandbox, variant)

    assert (said.images, said.failure, said.refusal) == ((), failure, refusal)
    assert sandbox.billed == 660_000


async def test_the_traps_of_the_variants_are_there(sandbox: Sandbox) -> None:
    progress, _ = await text_of(sandbox, "ok;variant=b")
    assert re.search(r"(?<!!)\[100\]\(http", progress)
    assert "[Click to download](http" in progress

    address, _ = await text_of(sandbox, "ok;variant=e")
    assert re.search(r"!\[(http[^\]]+)\]\(\1\)", address)

    names, _ = await text_of(sandbox, "ok;variant=deltas")
    assert re.search(r"!\[(http[^\]]+)\]\(\1\)", names)
    assert re.search(r"(?<!!)\[在线播放▶️\]\(http", names)

    _, chunks = await text_of(sandbox, "ok")
    assert {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None} in [
        chunk["choices"][0] for chunk in chunks
    ]


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("failed", "失败原因：input_moderation"),
        ("failed_en", "Reason: "),
        ("bare_failed", "失败原因：output_moderation"),
        ("input_moderation", "失败原因：input_moderation"),
        ("output_moderation", "失败原因：output_moderation"),
        ("terminal", '"type":"terminal"'),
        ("refused", "cannot be made"),
        ("text_only", "cannot be made"),
        ("unclear", "your picture waits at"),
        ("silent", ""),
    ],
)
async def test_an_answer_without_an_image_costs_less(sandbox: Sandbox, variant: str, words: str) -> None:
    text, _ = await text_of(sandbox, f"ok;variant={variant}")

    assert words in text
    assert len(IMAGE.findall(text)) == (1 if variant == "bare_failed" else 0), "one order quotes an image"
    assert [line.amount for line in sandbox.bill] == [660_000]


async def test_errors_inside_the_stream(sandbox: Sandbox) -> None:
    _, chunks = await text_of(sandbox, "ok;variant=error_delta")
    assert chunks[1]["choices"][0]["delta"] == {"error": "timeout"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"

    _, chunks = await text_of(sandbox, "ok;variant=error_string")
    assert chunks[-1] == {"error": "generation_failed", "code": "generation_failed"}


async def test_an_image_cut_off_is_not_billed_unless_it_was_bought(sandbox: Sandbox) -> None:
    await ask(sandbox, BODY, "cut;after_events=5")
    assert sandbox.bill == []

    await ask(sandbox, BODY, "wall;seconds=0.01;bought=1")
    assert [(line.amount, line.whole) for line in sandbox.bill] == [(20_000_000, True)]


async def test_it_only_comes_as_a_stream(sandbox: Sandbox) -> None:
    received = await ask(sandbox, {**BODY, "stream": False})

    assert received.status == 400
    assert "stream mode" in received.json["error"]["message"]


def test_no_variant_is_forgotten_here() -> None:
    painted = {"piapi", "a", "b", "c", "d", "e", "deltas", "reasoning", "base64", "downgraded"}
    failed = {"failed", "failed_en", "bare_failed", "input_moderation", "output_moderation", "terminal"}
    assert painted == VARIANTS_WITH_IMAGES
    silent = {"silent", "error_delta", "error_string"}
    assert set(VARIANTS) == painted | failed | {"refused", "text_only", "unclear"} | silent


@pytest.mark.parametrize("form", CHAT_FORMS)
async def test_a_picture_in_another_form_is_sold_as_one(sandbox: Sandbox, form: str) -> None:
    for scenario in ("ok", "whole_json"):
        await ask(sandbox, BODY, f"{scenario};form={form}")

    assert [(line.amount, line.images) for line in sandbox.bill] == [(20_000_000, 1)] * 2
