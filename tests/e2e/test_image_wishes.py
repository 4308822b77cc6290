"""What clients wish for beside a prompt: done where the model can, passed on where it may, named where it cannot."""

from __future__ import annotations

from typing import Any, ClassVar

import openai
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig
from .image_orders import CHAT, EDITS, GENERATIONS, SOURCE, bought, delivered, later_price, tokens_price

LATER = """
upstreams: {piapi: {keys: []}}
models:
  gpt-image-2.6-flare:
    targets: [{upstream: backup, operation: images, price: {input: 5.00, image_input: 8.00, output: 30.00}}]
"""
FLARE = "gpt-image-2.6-flare"


async def ordered(rig: Rig, model: str, **extra: Any) -> Any:
    return await rig.openai().images.with_raw_response.generate(model=model, prompt=PROMPT, extra_body=extra)


class TestLegs:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_what_is_streamed_is_ordered_one_by_one(self, rig: Rig, stream: bool) -> None:
        answer = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, n=2, stream=stream)

        images = [event async for event in answer] if stream else answer.data
        assert len(images) == 2
        assert [(order.json["n"], order.json["stream"]) for order in bought(rig)] == [(1, True)] * 2
        row = await rig.row()
        assert (row.charged, row.images) == (2 * tokens_price(), 2)
        assert row.charged == rig.sandbox.billed

    async def test_a_stream_of_the_backup_too(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {keys: []}}")

        stream = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, n=3, stream=True)

        assert len([event async for event in stream]) == 3
        assert [order.json["n"] for order in bought(rig)] == [1] * 3
        assert (await rig.row()).charged == rig.sandbox.billed == 3 * later_price()

    async def test_what_is_not_streamed_is_ordered_at_once(self, gateway: StartGateway) -> None:
        rig = await gateway("upstreams: {piapi: {keys: []}}")

        answer = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, n=3)

        assert len(await delivered(answer)) == 3
        [order] = bought(rig)
        assert (order.json["n"], "stream" in order.json) == (3, False)
        assert (await rig.row()).charged == rig.sandbox.billed

    @pytest.mark.parametrize("fault", ["rejected", "moderation_blocked", "cut;after_events=0"])
    async def test_what_came_is_delivered_and_charged_once(self, rig: Rig, fault: str) -> None:
        rig.sandbox.script(fault)

        answer = await rig.openai().images.generate(model="gpt-image-1", prompt=PROMPT, n=3, quality="high")

        assert len(await delivered(answer)) == 2
        row = await rig.row()
        assert (row.images, row.charged) == (2, 2 * (len(PROMPT.split()) * 5_000 + 4160 * 40_000))
        assert len(bought(rig)) == 3


class TestFieldsAModelCannotHonour:
    @pytest.mark.parametrize(
        ("model", "fields", "note"),
        [
            ("flux-dev", {"style": "vivid", "quality": "hd"}, "ignored: style, quality"),
            (
                "flux-schnell",
                {"user": "u", "moderation": "low", "quality": "standard"},
                "ignored: quality, user, moderation",
            ),
            (
                "flux-dev",
                {"output_format": "webp", "output_compression": 50},
                "ignored: output_compression, output_format",
            ),
            ("flux-dev", {"background": "transparent"}, "ignored: background"),
            ("flux-dev", {"background": "auto", "quality": "auto", "moderation": "auto"}, None),
            ("gpt-4o-image", {"background": "transparent"}, None),
            ("gpt-4o-image", {"background": "opaque", "style": "natural"}, "ignored: style"),
            ("gpt-4o-image", {"quality": "hd", "user": "u"}, "ignored: quality, user"),
            ("gpt-image-1", {"style": "vivid"}, "ignored: style"),
            ("gpt-image-1", {"quality": "hd", "user": "u"}, None),
        ],
    )
    async def test_are_taken_and_named(self, rig: Rig, model: str, fields: dict[str, Any], note: str | None) -> None:
        answer = await ordered(rig, model, **fields)

        assert len(await delivered(answer.parse())) == 1
        assert answer.headers.get("x-gateway-note") == note
        [order] = bought(rig)
        assert "style" not in order.json
        if order.path == CHAT:
            words = order.json["messages"][0]["content"]
            assert (f"Background: {fields.get('background')}." in words) is ("background" in fields)
        assert (await rig.row()).charged == rig.sandbox.billed

    @pytest.mark.parametrize(("given", "sent"), [("hd", "high"), ("standard", "medium"), ("low", "low")])
    async def test_dall_es_words_for_quality_become_gpt_images(self, rig: Rig, given: str, sent: str) -> None:
        await ordered(rig, "gpt-image-1", quality=given)

        assert bought(rig)[0].json["quality"] == sent

    async def test_several_pieces_say_it_once(self, rig: Rig) -> None:
        answer = await ordered(rig, "flux-dev", style="vivid", n=3)

        assert answer.headers["x-gateway-note"] == "ignored: style"
        assert len(bought(rig)) == 3


class TestSizes:
    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ("9:16", (720, 1280)),
            ("16:9", (1280, 720)),
            ("1024*1024", (1024, 1024)),
            ("1024X768", (1024, 768)),
            ("768×1024", (768, 1024)),
            ("1K", (1024, 1024)),
            ("2K", (1024, 1024)),
            ("", (1024, 1024)),
        ],
    )
    async def test_of_flux(self, rig: Rig, given: str, made: tuple[int, int]) -> None:
        answer = (await ordered(rig, "flux-schnell", size=given)).parse()

        [picture] = await delivered(answer)
        assert picture.size == made

    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            ("9:16", "1024x1536"),
            ("3:2", "1536x1024"),
            ("1:1", "1024x1024"),
            ("1024*1536", "1024x1536"),
            ("2K", "1024x1024"),
        ],
    )
    async def test_of_gpt_image_1(self, rig: Rig, given: str, sent: str) -> None:
        answer = (await ordered(rig, "gpt-image-1", size=given)).parse()

        assert bought(rig)[0].json["size"] == answer.size == sent

    @pytest.mark.parametrize(
        ("given", "sent"), [("16:9", "1280x720"), ("2K", "2048x2048"), ("4K", "2880x2880"), ("1536x864", "1536x864")]
    )
    async def test_of_later_models(self, gateway: StartGateway, given: str, sent: str) -> None:
        rig = await gateway(LATER)

        await ordered(rig, FLARE, size=given)

        assert bought(rig)[0].json["size"] == sent

    @pytest.mark.parametrize(
        ("given", "words"),
        [("9:16", "Aspect ratio: 9:16."), ("1024*1536", "Size: 1024x1536 (2:3)."), ("2K", "Size: 2K.")],
    )
    async def test_in_gpt_4o_images_words(self, rig: Rig, given: str, words: str) -> None:
        await ordered(rig, "gpt-4o-image", size=given)

        assert words in bought(rig)[0].json["messages"][0]["content"]

    async def test_what_is_no_size_is_refused(self, rig: Rig) -> None:
        with pytest.raises(openai.BadRequestError, match="16:9"):
            await ordered(rig, "flux-dev", size="big")


class TestAnImagesApi:
    """Gets what the client sent: fields and values that are newer than this gateway are the upstream's to judge."""

    NEWEST: ClassVar[dict[str, Any]] = {
        "complexity": "high",
        "svg": {"model": "gpt-6-luna", "reasoning": {"effort": "low"}},
        "frame_count": 4,
        "frame_duration_ms": 120,
        "output_format": "gif",
        "quality": "xhigh",
        "size": "1536x864",
        "moderation": "newer",
        "background": "newer",
        "prompt_rewriter": "off",
        "something": [{"new": 1}],
    }

    async def test_in_json(self, gateway: StartGateway) -> None:
        rig = await gateway(LATER)

        answer = await ordered(rig, FLARE, **self.NEWEST)

        assert "x-gateway-note" not in answer.headers
        [order] = bought(rig)
        assert order.path == GENERATIONS
        assert {name: order.json[name] for name in self.NEWEST} == self.NEWEST
        assert (await rig.row()).charged > 0

    async def test_in_a_form(self, gateway: StartGateway) -> None:
        rig = await gateway(LATER)
        extra = {"complexity": "high", "svg": {"model": "gpt-6-luna"}, "frame_count": 4, "new": ["a", "b"]}

        await rig.openai().images.edit(model=FLARE, prompt=PROMPT, image=SOURCE, quality="low", extra_body=extra)

        [order] = bought(rig)
        assert order.path == EDITS
        fields = list(order.form.fields)
        for pair in (("complexity", "high"), ("svg[model]", "gpt-6-luna"), ("frame_count", "4"), ("quality", "low")):
            assert pair in fields
        assert [value for name, value in fields if name == "new[]"] == ["a", "b"]

    async def test_does_not_get_what_chooses_another_place(self, gateway: StartGateway) -> None:
        rig = await gateway(LATER)

        answer = await ordered(rig, FLARE, api_base="https://elsewhere.example", webhook_config={"endpoint": "x"})

        assert answer.headers["x-gateway-note"] == "ignored: api_base, webhook_config"
        assert not {"api_base", "webhook_config"} & bought(rig)[0].json.keys()


class TestNames:
    @pytest.mark.parametrize("model", ["gpt-4o-image", "gpt-4o-image-preview"])
    async def test_an_alias_is_the_model(self, rig: Rig, model: str) -> None:
        answer = (await ordered(rig, model)).parse()

        assert len(await delivered(answer)) == 1
        [order] = bought(rig)
        assert order.model == "gpt-4o-image"
        row = await rig.row()
        assert (row.model, row.charged) == ("gpt-4o-image", 20_000_000)

    async def test_an_alias_is_the_model_in_chat(self, rig: Rig) -> None:
        answer = await rig.chat(model="gpt-4o-image-preview")

        assert answer.status == 200
        assert bought(rig)[0].model == "gpt-4o-image"
        assert (await rig.row()).model == "gpt-4o-image"

    @pytest.mark.parametrize("model", ["dall-e-3", "gpt-4o", "gpt-4-gizmo-g-1", "flux-9"])
    async def test_a_model_that_makes_no_pictures_here_is_not_found(self, rig: Rig, model: str) -> None:
        with pytest.raises(openai.NotFoundError):
            await ordered(rig, model)
        assert bought(rig) == []
