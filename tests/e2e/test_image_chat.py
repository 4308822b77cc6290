"""Images on the chat route, by OpenAI's own SDK: the prompt is in the messages, the answer is a markdown image."""

from __future__ import annotations

import re
from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig, get
from .image_orders import (
    ADVANCED,
    BACKUP_ONLY,
    CHAT,
    DEV,
    EDITS,
    GENERATIONS,
    IMAGE,
    SCHNELL,
    SOURCE,
    Cell,
    as_base64,
    by_the_backup,
    cells,
    check_books,
    check_what_was_bought,
    flux,
    later_price,
    opened,
    relayed,
    tokens_price,
)

AN_IMAGE_TOO = [
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{as_base64(SOURCE)}"}},
    {"type": "text", "text": PROMPT},
]


async def chatted(sdk: openai.AsyncOpenAI, model: str, content: Any, *, stream: bool) -> str:
    """What a chat with the model comes to."""
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    if not stream:
        completion = await sdk.chat.completions.create(model=model, messages=messages)
        assert completion.choices[0].finish_reason == "stop"
        return completion.choices[0].message.content or ""
    chunks = [one async for one in await sdk.chat.completions.create(model=model, messages=messages, stream=True)]
    assert chunks[-1].choices[0].finish_reason == "stop"
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def linked_images(text: str) -> list[tuple[int, int]]:
    """Pixels of the images behind a text's markdown images."""
    return [opened(await get(url)).size for url in re.findall(r"!\[[^]]*]\(([^)]+)\)", text)]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
class TestChat:
    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", GENERATIONS, tokens_price()),
        flux("flux-schnell", "txt2img", SCHNELL),
        flux("flux-dev", "txt2img", DEV),
        flux("flux-dev-advanced", "txt2img", ADVANCED),
        flux(SCHNELL, "txt2img", SCHNELL),
    )
    async def test_a_prompt(self, rig: Rig, cell: Cell, stream: bool) -> None:
        text = await chatted(rig.openai(), cell.model, PROMPT, stream=stream)

        order = check_what_was_bought(rig, cell)
        assert await linked_images(text) == [cell.pixels]
        assert text.startswith("![") or cell.buys == CHAT
        if cell.buys == CHAT:
            assert [message["role"] for message in order.json["messages"]] == ["system", "user"]
        await check_books(rig, cell)

    @cells(
        Cell("gpt-4o-image", CHAT, IMAGE),
        relayed("gpt-image-1", EDITS, tokens_price(sources=1)),
        flux("flux-schnell", "img2img", SCHNELL),
        flux("flux-kontext", "kontext", ADVANCED),
        flux("flux-dev-advanced", "kontext", ADVANCED),
        flux("flux-redux", "redux-variation", ADVANCED),
    )
    async def test_an_image_and_a_prompt(self, rig: Rig, cell: Cell, stream: bool) -> None:
        text = await chatted(rig.openai(), cell.model, AN_IMAGE_TOO, stream=stream)

        order = check_what_was_bought(rig, cell)
        assert as_base64(SOURCE).encode() in order.body or SOURCE in order.body
        assert await linked_images(text) == [cell.pixels]
        await check_books(rig, cell)

    @cells(*by_the_backup(GENERATIONS, later_price()))
    async def test_by_the_backup(self, gateway: StartGateway, cell: Cell, stream: bool) -> None:
        rig = await gateway(BACKUP_ONLY)

        text = await chatted(rig.openai(), cell.model, PROMPT, stream=stream)

        check_what_was_bought(rig, cell)
        assert text.startswith(f"![image]({rig.gateway.main_url}/images/")
        assert await linked_images(text) == [cell.pixels]
        await check_books(rig, cell)

    async def test_an_image_by_the_backup(self, gateway: StartGateway, stream: bool) -> None:
        rig = await gateway(BACKUP_ONLY)
        cell = relayed("flux-dev", EDITS, later_price(sources=1), "backup")

        text = await chatted(rig.openai(), cell.model, AN_IMAGE_TOO, stream=stream)

        form = check_what_was_bought(rig, cell).form
        assert form is not None
        assert [file.data for file in form.files] == [SOURCE]
        assert await linked_images(text) == [cell.pixels]
        await check_books(rig, cell)
