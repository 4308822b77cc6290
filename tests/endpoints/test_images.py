"""The image routes: JSON or a form becomes an order, for a model that makes images, within the memory there is."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from gateway.core.errors import GatewayError
from gateway.core.json_weight import LONG
from gateway.core.limits.body_memory import BodyBudget
from gateway.endpoints.images import HELD_TIMES, ImagesEndpoint
from tests.exchange.fakes import Client
from tests.exchange.scripted import Response, play
from tests.exchange.stage import CHAT, Stage
from tests.images.orders import CHAT as IMAGE_CHAT
from tests.images.orders import FLUX, IMAGES
from tests.jobs.memory import waiting_on
from tests.translate.images import BLACK, as_base64

from .gateway import admission, sent

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
JSON = ((b"content-type", b"application/json"),)
FORM = (b"content-type", b"multipart/form-data; boundary=line")


def made() -> Response:
    return Response([(0, orjson.dumps({"created": 1, "data": [{"b64_json": as_base64(BLACK)}]}))], end=0, headers=JSON)


def form(image: bytes = BLACK, **fields: str) -> bytes:
    parts = [
        b'--line\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value.encode())
        for name, value in fields.items()
    ]
    file = (
        b'--line\r\ncontent-disposition: form-data; name="image"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n'
    )
    return b"".join([*parts, file, image, b"\r\n--line--\r\n"])


async def order(stage: Stage, body: bytes, path: str = GENERATIONS, headers: Any = ()) -> Client:
    stage.services.tokenizer = cast("Any", SimpleNamespace(count=len))
    door, _ = admission(stage)
    await ImagesEndpoint(door, path, waiting_on(stage.services))(sent(headers=headers, body=body), stage.client)
    return stage.client


def asking(**fields: Any) -> bytes:
    return orjson.dumps({"model": "gpt-4o", "prompt": "a cat", **fields})


@pytest.mark.parametrize("format", [None, "url", "b64_json"])
def test_an_order_is_answered_with_images_in_the_form_it_asks_for(format: str | None) -> None:
    """Links if it asks for none: the upstream stands in for a model that gives links."""

    async def story() -> None:
        stage = Stage(made(), targets=[IMAGES])
        client = await order(stage, asking(**({} if format is None else {"response_format": format})))
        [image] = orjson.loads(client.body)["data"]
        if format == "b64_json":
            assert image["b64_json"] == as_base64(BLACK)
        else:
            assert stage.links[image["url"]] == BLACK
        assert orjson.loads(stage.pool.asked[0]["body"])["prompt"] == "a cat"

    play(story)


@pytest.mark.parametrize("format", [None, "url", "b64_json"])
def test_a_model_that_gives_bytes_has_them_kept_for_who_wants_links(format: str | None) -> None:
    """gpt-image-1's own form is base64, which it has for everybody who does not ask for links."""

    async def story() -> None:
        stage = Stage(made(), targets=[replace(IMAGES, model="gpt-4o")])
        client = await order(stage, asking(**({} if format is None else {"response_format": format})))
        [image] = orjson.loads(client.body)["data"]
        if format == "url":
            assert stage.links[image["url"]] == BLACK
            assert "b64_json" not in image
        else:
            assert image["b64_json"] == as_base64(BLACK)
        assert b"response_format" not in stage.pool.asked[0]["body"]  # which gpt-image refuses

    play(story)


async def test_an_edit_comes_as_a_form() -> None:
    stage = Stage(made(), targets=[IMAGES])
    client = await order(stage, form(model="gpt-4o", prompt="a hat"), EDITS, [FORM])
    assert client.status == 200
    assert BLACK in stage.pool.asked[0]["body"]


async def test_a_large_form_is_taken_apart_off_the_loop_and_what_is_wrong_with_it_is_told() -> None:
    stage = Stage(targets=[IMAGES])
    with pytest.raises(GatewayError) as refused:
        await order(stage, form(b"x" * (LONG + 1), model="gpt-4o", prompt="a hat"), EDITS, [FORM])
    assert (refused.value.status, stage.asked) == (400, [])


def test_a_model_that_only_talks_makes_no_images() -> None:
    async def story() -> None:
        stage = Stage(targets=[CHAT])
        with pytest.raises(GatewayError) as refused:
            await order(stage, asking())
        assert (refused.value.status, refused.value.code, stage.asked) == (404, "model_not_found", [])
        assert "/v1/chat/completions" in str(refused.value)

    play(story)


def test_a_target_that_only_talks_is_left_out() -> None:
    async def story() -> None:
        stage = Stage(made(), targets=[CHAT, IMAGES])
        assert (await order(stage, asking())).status == 200
        assert stage.pool.asked[0]["path"] == GENERATIONS

    play(story)


async def test_an_order_whose_images_have_no_room_in_memory_is_put_off() -> None:
    stage = Stage(targets=[IMAGES])
    stage.services.bodies = BodyBudget(total=1)
    assert stage.services.bodies.lease("bob").grow(1)
    with pytest.raises(GatewayError) as refused:
        await order(stage, form(model="gpt-4o", prompt="a hat"), EDITS, [FORM])
    assert (refused.value.status, refused.value.code, stage.asked) == (503, "gateway_overloaded", [])


async def test_the_room_is_given_back_when_the_order_is_done() -> None:
    stage = Stage(made(), targets=[IMAGES])
    held: list[int] = []

    async def request(*_: Any, **__: Any) -> Response:
        held.append(stage.services.bodies.held)
        return made()

    stage.services.pool = cast("Any", SimpleNamespace(request=request))
    await order(stage, form(model="gpt-4o", prompt="a hat"), EDITS, [FORM])
    assert held == [(HELD_TIMES + 1) * len(BLACK)]
    assert stage.services.bodies.held == 0


def test_a_field_of_flux_is_for_flux() -> None:
    async def story() -> None:
        stage = Stage(targets=[IMAGE_CHAT])
        with pytest.raises(GatewayError) as refused:
            await order(stage, asking(guidance_scale=3))
        assert (refused.value.code, refused.value.param) == ("unknown_parameter", "guidance_scale")
        assert FLUX.model not in str(refused.value)

    play(story)
