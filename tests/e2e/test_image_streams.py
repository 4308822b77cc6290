"""Images as OpenAI's events, by its own SDK, and what stands between the events; and the formats they come in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig, chat_body, get
from .image_orders import (
    ADVANCED,
    BACKUP_ONLY,
    CHAT,
    EDITS,
    GENERATIONS,
    IMAGE,
    MASK,
    SCHNELL,
    SOURCE,
    Cell,
    bought,
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
from .raw_orders import order

PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
EDIT_PARTIAL, EDIT_COMPLETED = "image_edit.partial_image", "image_edit.completed"


def checked(events: list[Any]) -> list[str]:
    """The events' types, after a look at each: all that the SDK's type requires, around a whole image."""
    for event in events:
        type(event).model_validate(event.to_dict(), strict=True)
        opened(from_base64(event.b64_json))
    return [event.type for event in events]


@pytest.fixture
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream's head goes out at once, as it does anyway with work that takes long."""
    monkeypatch.setattr("gateway.server.client.HOLD", 0.001)


class TestGenerations:
    @pytest.mark.parametrize(
        ("cell", "events"),
        [
            (relayed("gpt-image-1", GENERATIONS, tokens_price()), [PARTIAL, PARTIAL, COMPLETED]),
            (Cell("gpt-4o-image", CHAT, IMAGE), [COMPLETED]),
            (flux("flux-schnell", "txt2img", SCHNELL), [COMPLETED]),
            (flux(ADVANCED, "txt2img", ADVANCED), [COMPLETED]),
        ],
        ids=str,
    )
    async def test_by_piapi(self, rig: Rig, cell: Cell, events: list[str]) -> None:
        stream = await rig.openai().images.generate(model=cell.model, prompt=PROMPT, stream=True, partial_images=2)
        came: list[Any] = [event async for event in stream]

        assert checked(came) == events
        assert [event.partial_image_index for event in came[:-1]] == list(range(len(events) - 1))
        assert opened(from_base64(came[-1].b64_json)).size == cell.pixels
        check_what_was_bought(rig, cell)
        await check_books(rig, cell)

    @pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-dev"])
    async def test_by_the_backup(self, gateway: StartGateway, model: str) -> None:
        rig = await gateway(BACKUP_ONLY)

        stream = await rig.openai().images.generate(model=model, prompt=PROMPT, stream=True, partial_images=1)

        assert checked([event async for event in stream]) == [PARTIAL, COMPLETED]
        await check_books(rig, relayed(model, GENERATIONS, later_price(), "backup"))

    async def test_facts_come_with_the_event(self, rig: Rig) -> None:
        stream = await rig.openai().images.generate(
            model="gpt-image-1", prompt=PROMPT, stream=True, size="1024x1536", quality="high"
        )
        event: Any
        [event] = [event async for event in stream]

        assert (event.size, event.quality) == ("1024x1536", "high")
        assert (event.background, event.output_format) == ("opaque", "png")
        assert (event.usage.input_tokens, event.usage.output_tokens) == (len(PROMPT.split()), 6240)

    async def test_previews_only_where_they_were_asked_for(self, rig: Rig) -> None:
        stream = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, stream=True)

        assert checked([event async for event in stream]) == [COMPLETED]
        assert "partial_images" not in bought(rig)[0].json

    async def test_a_whole_client_sees_no_previews(self, rig: Rig) -> None:
        assert len(await delivered(await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT))) == 1
        assert bought(rig)[0].json["stream"]

    @pytest.mark.parametrize(
        ("model", "cost"),
        [
            ("gpt-image-1", 3 * tokens_price()),
            ("gpt-4o-image", 3 * IMAGE),
            ("flux-schnell", 3 * 2_000_000),
            ("flux-dev", 3 * 15_000_000),
        ],
    )
    async def test_every_image_has_its_event(self, rig: Rig, model: str, cost: int) -> None:
        stream = await rig.openai().images.generate(model=model, prompt=PROMPT, stream=True, n=3)

        assert checked([event async for event in stream]) == [COMPLETED] * 3
        await check_books(rig, Cell(model, "", cost), images=3)

    @pytest.mark.parametrize("scenario", ["ok;whole=1", "whole_json"])
    @pytest.mark.parametrize("model", ["gpt-image-1", "gpt-4o-image"])
    async def test_an_upstream_that_answers_whole_is_understood(self, rig: Rig, model: str, scenario: str) -> None:
        rig.sandbox.script(scenario)

        stream = await rig.openai().images.generate(model=model, prompt=PROMPT, stream=True)

        assert checked([event async for event in stream]) == [COMPLETED]
        assert len(bought(rig)) == 1


class TestEdits:
    @pytest.mark.parametrize(
        ("cell", "events"),
        [
            (relayed("gpt-image-1", EDITS, tokens_price(sources=1)), [EDIT_PARTIAL, EDIT_COMPLETED]),
            (Cell("gpt-4o-image", CHAT, IMAGE), [EDIT_COMPLETED]),
            (flux("flux-fill", "fill-inpaint", ADVANCED), [EDIT_COMPLETED]),
        ],
        ids=str,
    )
    async def test_by_piapi(self, rig: Rig, cell: Cell, events: list[str]) -> None:
        stream = await rig.openai().images.edit(
            model=cell.model, image=SOURCE, mask=MASK, prompt=PROMPT, stream=True, partial_images=1
        )

        assert checked([event async for event in stream]) == events
        check_what_was_bought(rig, cell)
        await check_books(rig, cell)


class TestTheWire:
    @pytest.mark.usefixtures("no_hold")
    @pytest.mark.parametrize(
        ("model", "comments"),
        [
            ("gpt-4o-image", [b": progress 15%", b": progress 64%"]),
            ("flux-schnell", [b": progress processing"]),
            ("gpt-image-1", []),
        ],
    )
    async def test_comments_in_between_tell_how_far_it_is(self, rig: Rig, model: str, comments: list[bytes]) -> None:
        """So that nothing on the way takes the silence for the end."""
        rig.sandbox.script("slow;polls=4")

        answer = await order(rig, model=model, stream=True)

        assert answer.complete
        assert answer.is_stream
        before, _, after = answer.body.partition(b"event: ")
        assert list(dict.fromkeys(before.split(b"\n\n"))) == [b": ping", *comments, b""]
        assert b"\n: " not in after

    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell", "gpt-image-1"])
    async def test_the_events_are_framed_as_at_openai(self, rig: Rig, model: str) -> None:
        answer = await order(rig, model=model, stream=True)

        [event] = answer.events
        name, data = event.removesuffix(b"\n\n").split(b"\n")
        assert name == b"event: image_generation.completed"
        assert orjson.loads(data.removeprefix(b"data: "))["type"] == COMPLETED
        assert answer.complete

    @pytest.mark.usefixtures("no_hold")
    async def test_a_chat_has_comments_too_and_ends_as_chats_do(self, rig: Rig) -> None:
        rig.sandbox.script("ok;polls=4")

        answer = await rig.post(chat_body(model="flux-schnell", stream=True, stream_options={"include_usage": True}))

        assert b"\n\n: progress processing\n\n" in answer.body
        assert answer.text.startswith("![image](")
        assert orjson.loads(answer.payloads[-2])["choices"] == []
        assert answer.payloads[-1] == b"[DONE]"


class TestFormats:
    """``response_format``: links and base64, whole and streamed. What has no link is kept."""

    @pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-schnell"])
    async def test_whole_in_base64(self, rig: Rig, model: str) -> None:
        answer = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="b64_json")

        assert answer.data
        assert (answer.data[0].url, opened(from_base64(answer.data[0].b64_json)).size) == (None, (1024, 1024))

    @pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-image-1", "flux-schnell"])
    async def test_streamed_in_base64(self, rig: Rig, model: str) -> None:
        stream = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="b64_json", stream=True)

        assert checked([event async for event in stream]) == [COMPLETED]

    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    async def test_whole_as_a_link(self, rig: Rig, model: str) -> None:
        answer = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="url")

        assert answer.data
        assert (answer.data[0].url or "").startswith(f"{rig.sandbox.urls['api']}/files/")
        assert [made.size for made in await delivered(answer)] == [(1024, 1024)]

    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-schnell"])
    async def test_streamed_as_a_link(self, rig: Rig, model: str) -> None:
        """The SDK's event has no field for it, but lets it through; nothing is fetched."""
        stream = await rig.openai().images.generate(model=model, prompt=PROMPT, response_format="url", stream=True)
        [event] = [event.to_dict() async for event in stream]

        assert (event["type"], event["b64_json"]) == (COMPLETED, None)
        assert not [request for request in rig.sandbox.requests if request.path.startswith("/files/")]
        assert opened(await get(str(event["url"]))).size == (1024, 1024)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    async def test_a_link_of_gpt_image_1_is_ours(self, rig: Rig, stream: bool) -> None:
        """It gives base64 only."""
        asked: Any = {"model": "gpt-image-1", "prompt": PROMPT, "response_format": "url", "stream": stream}

        answer: Any = await rig.openai().images.generate(**asked)

        [url] = [event.to_dict()["url"] async for event in answer] if stream else [answer.data[0].url]
        assert url.startswith(f"{rig.gateway.main_url}/images/")
        assert opened(await get(url)).size == (1024, 1024)

    @pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
    @pytest.mark.parametrize("model", ["gpt-4o-image", "flux-dev"])
    async def test_a_link_to_the_backups_image_is_ours(self, gateway: StartGateway, model: str, stream: bool) -> None:
        """The backup gives base64 only, so that the image is kept."""
        rig = await gateway(BACKUP_ONLY)
        asked: Any = {"model": model, "prompt": PROMPT, "response_format": "url", "stream": stream}

        answer: Any = await rig.openai().images.generate(**asked)

        [url] = [event.to_dict()["url"] async for event in answer] if stream else [answer.data[0].url]
        assert url.startswith(f"{rig.gateway.main_url}/images/")
        assert opened(await get(url)).size == (1024, 1024)

    async def test_a_link_stands_beside_the_base64_of_a_stream(self, rig: Rig) -> None:
        stream = await rig.openai().images.generate(model="flux-schnell", prompt=PROMPT, stream=True)
        [event] = [event.to_dict() async for event in stream]

        assert await get(str(event["url"])) == from_base64(str(event["b64_json"]))
