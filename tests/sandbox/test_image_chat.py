"""gpt-4o-image: every variant of its text, and links that lead to real pictures."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.image_chat import VARIANTS

from .client import ask

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
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if "choices" in chunk]
    return "".join(delta.get("content") or "" for delta in deltas), chunks


@pytest.mark.parametrize("variant", ["piapi", "a", "b", "c", "d", "e"])
@pytest.mark.parametrize("images", [1, 2])
async def test_every_good_variant_links_to_real_pictures(sandbox: Sandbox, variant: str, images: int) -> None:
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
    assert [line.amount for line in sandbox.bill] == [20_000_000], "one price an answer, however many pictures"


async def test_the_traps_of_the_variants_are_there(sandbox: Sandbox) -> None:
    progress, _ = await text_of(sandbox, "ok;variant=b")
    assert re.search(r"(?<!!)\[100\]\(http", progress)
    assert "[Click to download](http" in progress

    address, _ = await text_of(sandbox, "ok;variant=e")
    assert re.search(r"!\[(http[^\]]+)\]\(\1\)", address)

    _, chunks = await text_of(sandbox, "ok")
    assert {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None} in [
        chunk["choices"][0] for chunk in chunks
    ]


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("failed", "失败原因：input_moderation"),
        ("failed_en", "Reason: "),
        ("refused", "cannot be made"),
        ("silent", ""),
    ],
)
async def test_an_answer_without_a_picture_costs_less(sandbox: Sandbox, variant: str, words: str) -> None:
    text, _ = await text_of(sandbox, f"ok;variant={variant}")

    assert words in text
    assert IMAGE.findall(text) == []
    assert [line.amount for line in sandbox.bill] == [660_000]


async def test_errors_inside_the_stream(sandbox: Sandbox) -> None:
    _, chunks = await text_of(sandbox, "ok;variant=error_delta")
    assert chunks[1]["choices"][0]["delta"] == {"error": "timeout"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"

    _, chunks = await text_of(sandbox, "ok;variant=error_string")
    assert chunks[-1] == {"error": "generation_failed", "code": "generation_failed"}


async def test_a_picture_cut_off_is_not_billed_unless_it_was_bought(sandbox: Sandbox) -> None:
    await ask(sandbox, BODY, "cut;after_events=5")
    assert sandbox.bill == []

    await ask(sandbox, BODY, "wall;seconds=0.01;bought=1")
    assert [(line.amount, line.whole) for line in sandbox.bill] == [(20_000_000, True)]


async def test_it_only_comes_as_a_stream(sandbox: Sandbox) -> None:
    received = await ask(sandbox, {**BODY, "stream": False})

    assert received.status == 400
    assert "stream mode" in received.json["error"]["message"]


def test_no_variant_is_forgotten_here() -> None:
    tested = {
        "piapi",
        "a",
        "b",
        "c",
        "d",
        "e",
        "failed",
        "failed_en",
        "refused",
        "silent",
        "error_delta",
        "error_string",
    }
    assert set(VARIANTS) == tested
