"""An order is checked whole before anything is bought, cut into pieces, and made heavy only once it was let in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from gateway.core.errors import ClientError
from gateway.core.images.task_order import task_body
from gateway.core.images.types import AttachedFile, ImagesRequest, SourceImage
from gateway.core.types import Target
from gateway.images.operation import ImageOperation
from tests.core.images.flux_orders import ADVANCED, DEV, IMAGE, LINK, MASK, wish

from .orders import CHAT, FLUX, IMAGES, Presenter, Renderer, desk

PATH = "/v1/images/generations"
FILL = replace(FLUX, model=ADVANCED)
OPENAI = replace(IMAGES, upstream=replace(IMAGES.upstream, name="backup", dialect="openai"))


def operation(
    request: ImagesRequest, *targets: Target, renderer: Renderer | None = None, **models: str
) -> ImageOperation:
    return desk(models or None, renderer).operation(PATH, request, targets, cast("Any", Presenter()))


class TestHowAnOrderIsCut:
    @pytest.mark.parametrize(
        ("targets", "pieces"),
        [((OPENAI,), [3]), ((IMAGES,), [1, 1, 1]), ((CHAT,), [1, 1, 1]), ((OPENAI, CHAT), [1, 1, 1])],
    )
    def test_so_that_every_target_can_bring_a_piece_at_once(
        self, targets: tuple[Target, ...], pieces: list[int]
    ) -> None:
        made = operation(wish(model="gpt-image", n=3), *targets)
        assert [part.images for part in made.parts] == pieces

    def test_parts_that_send_the_same_write_it_once(self) -> None:
        made = operation(wish(model="gpt-4o-image", n=2), CHAT)
        assert made.parts[0].shared is made.parts[1].shared

    def test_of_flux_by_what_one_task_makes(self) -> None:
        made = operation(wish(n=2), FLUX)
        assert sum(part.images for part in made.parts) == 2
        assert all(part.shared.tasks[DEV].model == DEV for part in made.parts)


class TestWhatIsWrongWithAnOrder:
    def test_is_found_before_anything_is_bought(self) -> None:
        with pytest.raises(ClientError) as refused:
            operation(wish(flux={"guidance_scale": "much"}), FLUX)
        assert (refused.value.status, refused.value.param) == (400, "guidance_scale")

    def test_is_a_field_of_flux_for_a_model_that_is_none(self) -> None:
        with pytest.raises(ClientError) as refused:
            operation(wish(model="gpt-4o-image", flux={"guidance_scale": 3}), CHAT, IMAGES)
        assert (refused.value.code, refused.value.param) == ("unknown_parameter", "guidance_scale")

    @pytest.mark.parametrize("targets", [(FLUX,), (CHAT,), (CHAT, IMAGES)])
    def test_is_a_field_that_nobody_knows_where_the_order_is_made_here(self, targets: tuple[Target, ...]) -> None:
        with pytest.raises(ClientError) as refused:
            operation(wish(model="flux" if FLUX in targets else "other", extras={"qualty": "high"}), *targets)
        assert (refused.value.status, refused.value.code, refused.value.param) == (400, "unknown_parameter", "qualty")
        assert "quality" in refused.value.message

    def test_is_a_file_that_nobody_knows(self) -> None:
        with pytest.raises(ClientError) as refused:
            operation(wish(attached=(AttachedFile("markup", "image/png", b"x"),)), FLUX)
        assert (refused.value.code, refused.value.param) == ("unknown_parameter", "markup")

    def test_is_for_an_images_api_to_say(self) -> None:
        made = operation(wish(model="gpt-image-2", extras={"new": 1}, flux={"seed": 7}), IMAGES)
        assert made.parts[0].request.extras == {"new": 1, "seed": 7}

    def test_is_the_same_for_every_target(self) -> None:
        """A Flux model whose upstream has no key at present: its backup takes the order, but no wrong one."""
        with pytest.raises(ClientError) as refused:
            operation(wish(flux={"guidance_scale": "much"}), IMAGES)
        assert refused.value.param == "guidance_scale"


class TestPreparing:
    """Images are painted and written as text only once the request has been let in."""

    def test_an_order_without_images_has_nothing_to_prepare(self) -> None:
        assert not operation(wish(), FLUX).prepares

    def test_nor_has_one_whose_images_are_links(self) -> None:
        assert not operation(wish("variation", images=(LINK,)), FILL, flux=ADVANCED).prepares

    async def test_images_reach_the_task_only_then(self) -> None:
        made = operation(wish("variation"), FILL, flux=ADVANCED)
        assert made.prepares
        order = made.parts[0].shared.tasks[ADVANCED]
        await made.prepare()
        assert made.parts[0].shared.tasks[ADVANCED] is order, "it was checked once"
        assert IMAGE.as_base64() not in repr(order.input)
        assert IMAGE.as_base64().encode() in task_body(order, 1, None, made.parts[0].shared.pictures)

    async def test_a_mask_is_painted_once_for_all_pieces_and_targets(self) -> None:
        renderer = Renderer()
        targets = (FILL, replace(FILL, upstream=replace(FILL.upstream, name="other")))
        made = operation(wish("edit", mask=MASK, n=2), *targets, renderer=renderer, flux=ADVANCED)
        assert renderer.painted == 0
        await made.prepare()
        assert renderer.painted == 1
        painted = replace(IMAGE, data=IMAGE.data + b"+" + MASK.data).as_base64()
        assert all([*part.shared.pictures.values()] == [painted] for part in made.parts)

    async def test_a_mask_that_does_not_fit_is_the_clients_to_know(self) -> None:
        class Strict(Renderer):
            async def paint(self, image: bytes, mask: bytes) -> bytes:
                raise ClientError(400, "invalid_request_error", "invalid_value", "The mask does not fit.", param="mask")

        made = operation(wish("edit", mask=MASK), FILL, renderer=Strict(), flux=ADVANCED)
        with pytest.raises(ClientError, match="does not fit"):
            await made.prepare()

    async def test_a_chat_gets_its_order_as_text(self) -> None:
        made = operation(wish("edit", model="gpt-4o-image"), CHAT)
        await asyncio.wait_for(made.prepare(), 10)
        document = orjson.loads(made.parts[0].shared.bodies[CHAT.model])
        assert document["messages"][0]["content"][0]["image_url"]["url"] == IMAGE.as_url()

    async def test_a_picture_that_is_converted_has_its_own_sides(self) -> None:
        class Turning(Renderer):
            async def convert(self, image: SourceImage, param: str) -> SourceImage:
                return replace(image, content_type="image/png", data=b"turned", width=512, height=1024)

        lying = SourceImage(b"avif", content_type="image/avif", width=1024, height=512)
        kontext = wish("edit", images=(lying,), flux={"task_type": "kontext"})
        made = operation(kontext, FILL, renderer=Turning(), flux=ADVANCED)
        before = made.parts[0].shared.tasks[ADVANCED]
        await made.prepare()
        after = made.parts[0].shared.tasks[ADVANCED]
        assert (before.size, after.size) != (None, None)
        assert before.size != after.size
        assert [*made.parts[0].shared.pictures.values()] == [SourceImage(b"turned").as_base64()]
