"""Every form a picture can come in, by every route, in every form a client can ask for: bought once, delivered, priced.

The forms are the sandbox's (gateway/sandbox/images/picture_forms.py), and its bill is the judge.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.sandbox.images.picture_forms import CHAT_FORMS, DOCUMENTS, IMAGES_FORMS
from tests.raw_client import Answer

from .harness import Rig, get
from .image_orders import CHAT, EDITS, GENERATIONS, IMAGE, SOURCE, bought, tokens_price
from .raw_orders import order, sandbox_image, sandbox_links

LINK = re.compile(r"!\[image\]\((http[^)]+)\)")


@dataclass(frozen=True)
class Form:
    """How the upstream of ``model`` hands a picture over."""

    name: str
    model: str
    scenario: str = "ok"

    def __str__(self) -> str:
        return f"{self.model}-{self.name}{'' if self.scenario == 'ok' else '-whole'}"


FORMS = (
    *(Form(name, "gpt-4o-image") for name in CHAT_FORMS),
    *(Form(name, "gpt-4o-image", "whole_json") for name in (*DOCUMENTS, "delta_images", "part_image", "bare_link")),
    *(Form(name, "gpt-image-1") for name in IMAGES_FORMS),
    *(Form(name, "gpt-image-1", "whole_json") for name in IMAGES_FORMS),
)
"""The table: each is ordered by every route and in every way below."""

WAYS: Mapping[str, dict[str, Any]] = {
    "url": {"response_format": "url"},
    "b64_json": {"response_format": "b64_json"},
    "stream": {"stream": True},
}


async def generated(rig: Rig, model: str, way: str) -> Answer:
    return await order(rig, path=GENERATIONS, model=model, **WAYS[way])


async def edited(rig: Rig, model: str, way: str) -> Answer:
    images = [{"image_url": f"data:image/png;base64,{base64.b64encode(SOURCE).decode()}"}]
    return await order(rig, path=EDITS, model=model, images=images, **WAYS[way])


async def chatted(rig: Rig, model: str, way: str) -> Answer:
    """By chat, which knows no ``response_format``."""
    return await rig.chat(model=model, stream=way == "stream")


ROUTES: Mapping[str, Callable[[Rig, str, str], Awaitable[Answer]]] = {
    "generations": generated,
    "edits": edited,
    "chat": chatted,
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("form", FORMS, ids=str)
async def test_every_picture_is_bought_once_and_delivered(rig: Rig, form: Form, route: str) -> None:
    price = IMAGE if form.model == "gpt-4o-image" else tokens_price(sources=int(route == "edits"))
    [link] = sandbox_links(rig)

    for number, way in enumerate(WAYS, 1):
        rig.sandbox.script(f"{form.scenario};form={form.name}", path=_path(form.model, route))
        answer = await ROUTES[route](rig, form.model, way)

        assert answer.status == 200, (way, answer.body)
        await check_delivered(answer, link, route=route, relayed=form.model == "gpt-4o-image")
        row = (await rig.rows(number))[-1]
        assert len(bought(rig)) == number, f"{way}: bought more than once"
        assert (row.outcomes, row.images, row.state) == (["ok"], 1, "settled"), way
        assert (row.charged, row.upstream_cost) == (price, price), way
        assert rig.sandbox.billed == number * price


def _path(model: str, route: str) -> str:
    if model == "gpt-4o-image":
        return CHAT
    return EDITS if route == "edits" else GENERATIONS


async def check_delivered(answer: Answer, link: str, *, route: str, relayed: bool) -> None:
    """The client holds the picture's own bytes, or its link. ``relayed``: a chat is passed on as it came."""
    shown = sandbox_image(link)
    if route == "chat":
        if relayed:
            said = re.sub(r"\\n|\s", "", answer.body.decode())
            b64 = base64.b64encode(shown).decode().rstrip("=")
            assert link in said or b64 in said or b64.replace("+", "-").replace("/", "_") in said
        else:
            text = answer.text if answer.is_stream else answer.json()["choices"][0]["message"]["content"]
            [address] = LINK.findall(text)
            assert await get(address) == shown
        return
    items = [json.loads(payload) for payload in answer.payloads] if answer.is_stream else answer.json()["data"]
    [item] = items
    if (b64 := item.get("b64_json")) is not None:
        assert base64.b64decode(b64, validate=True) == shown
    else:
        assert await get(item["url"]) == shown
    if answer.is_stream:
        assert item["type"] == f"image_{'edit' if route == 'edits' else 'generation'}.completed"
        assert item["output_format"] == "png"
