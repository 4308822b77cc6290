"""Orders that can be known to be wrong: the SDK gets a 400 that names the parameter, and nothing is bought for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import PROMPT, Rig, eventually
from .image_orders import (
    ADVANCED,
    CONTROL,
    DEV,
    LORA,
    MASK,
    OTHER_SOURCE,
    SCHNELL,
    SOURCE,
    as_base64,
    bought,
    delivered,
    image,
    mask,
)

SQUARE = image(1024, 1024)
TWO_LORAS = {"lora_settings": [{"lora_type": "mjv6"}, {"lora_type": "art"}]}
TWO_CONTROLS = {"control_net_settings": [{"control_type": "depth"}, {"control_type": "canny"}]}
BOMB = SOURCE[:16] + (60_000).to_bytes(4, "big") * 2 + SOURCE[24:]
"""A PNG whose header tells of 3.6 billion pixels."""


@dataclass(frozen=True)
class Wrong:
    """One order. ``says``: words of the message. ``extra``: of ``extra_body``; ``fields``: the SDK's own."""

    param: str
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join((self.model, self.param, *(str(value)[:24] for value in self.extra.values())))


def wrong(param: str, model: str, *says: str, extra: Mapping[str, Any] | None = None, **fields: Any) -> Wrong:
    return Wrong(param, model, extra or {}, fields, says)


GENERATIONS = (
    wrong("prompt", "flux-dev", prompt=""),
    wrong("prompt", "gpt-4o-image", prompt=" \n"),
    wrong("n", "flux-schnell", n=0),
    wrong("n", "gpt-4o-image", n=11),
    wrong("size", "flux-dev", "1048576", size="1025x1024"),
    wrong("size", "flux-dev", size="wide"),
    wrong("width", "flux-dev", "1048576", extra={"width": 1025, "height": 1024}),
    wrong("width", "flux-dev", extra={"width": 0}),
    wrong("guidance_scale", "flux-dev", "1.5", extra={"guidance_scale": 1.4}),
    wrong("guidance_scale", "flux-dev", "5", extra={"guidance_scale": 5.1}),
    wrong("denoise", "flux-dev", "above 0", extra={"denoise": 0}),
    wrong("denoise", "flux-dev", "at most 1", extra={"denoise": 1.01}),
    wrong("batch_size", "flux-schnell", extra={"batch_size": 0}),
    wrong("batch_size", "flux-schnell", "at most 4", extra={"batch_size": 5}),
    wrong("batch_size", "flux-dev", "flux-schnell", extra={"batch_size": 2}),
    wrong("batch_size", "flux-schnell", "'n'", n=2, extra={"batch_size": 3}),
    wrong("lora_settings", "flux-dev", "flux-dev-advanced", ADVANCED, extra=LORA),
    wrong("control_net_settings", "flux-schnell", "flux-dev-advanced", extra=CONTROL),
    wrong("lora_settings", DEV, "flux-dev-advanced", extra=LORA),
    wrong("lora_settings", "flux-dev-advanced", "at most 1", extra=TWO_LORAS),
    wrong("control_net_settings", "flux-dev-advanced", "at most 1", extra=TWO_CONTROLS),
    wrong(
        *("lora_settings[0].lora_type", "flux-dev-advanced", "mjv6", "flux: {extra_loras: [mjv7]}"),
        extra={"lora_settings": [{"lora_type": "mjv7"}]},
    ),
    wrong("lora_settings[0].lora_type", ADVANCED, "mjv6", extra={"lora_settings": [{"lora_type": "MJv6"}]}),
    wrong(
        *("control_net_settings[0].control_type", "flux-dev-advanced", "canny", "flux: {extra_controls: [cany]}"),
        extra={"control_net_settings": [{"control_type": "cany"}]},
    ),
    wrong("task_type", "flux-dev", "txt2img", extra={"task_type": "txt2video"}),
    wrong("task_type", "flux-dev", "flux-dev-advanced", extra={"task_type": "kontext"}),
    wrong("steps", SCHNELL, "txt2img-lora", extra={"steps": 20}),
    wrong("image", "flux-kontext"),
    wrong("image", "flux-dev", extra={"image": "ftp://example.com/cat.png"}),
    wrong("service_mode", "flux-dev", "public", extra={"service_mode": "secret"}),
    wrong("config.webhook_config", "flux-dev", extra={"config": {"webhook_config": {"endpoint": "http://a"}}}),
    wrong("api_base", "flux-dev", extra={"api_base": "http://127.0.0.1:1"}),
    wrong("denoise", "gpt-4o-image", "Flux", extra={"denoise": 0.5}),
    wrong("lora_settings", "gpt-4o-image", "Flux", extra=LORA),
    wrong("qualty", "flux-dev", "quality", extra={"qualty": "high"}),
    wrong("promt", "gpt-4o-image", "prompt", extra={"promt": "a fox"}),
    wrong("image_urls", "flux-dev", "image", extra={"image_urls": ["https://cdn.example/in.png"]}),
    wrong("response_format", "gpt-image-1", response_format="svg"),
    wrong("partial_images", "gpt-image-1", "stream", partial_images=2),
)

EDITS = (
    wrong("steps", "flux-kontext", "at most 40", extra={"steps": 41}),
    wrong("outpaint", "flux-outpaint", "1048575", image=SQUARE, extra={"outpaint": {"left": 512, "right": 512}}),
    wrong("outpaint", "flux-outpaint", "above 0", extra={"outpaint": {"left": 0}}),
    wrong("outpaint.left", "flux-outpaint", extra={"outpaint": {"left": -1}}),
    wrong("outpaint", "flux-outpaint"),
    wrong("size", "flux-schnell", "img2img", size="512x512"),
    wrong("size", "flux-fill", "fill-inpaint", size="1024x1024"),
    wrong("width", "flux-schnell", "txt2img", extra={"width": 512}),
    wrong("mask", "flux-kontext", "fill-inpaint", mask=MASK),
    wrong("mask", "flux-fill", "64x48", "32x24", mask=mask(32, 24)),
    wrong("mask", "flux-fill", "alpha", mask=SOURCE),
    wrong("mask", "flux-fill", mask=MASK[:-40]),
    wrong("mask", "gpt-4o-image", mask=b"no image at all"),
    wrong("image", "gpt-image-1", image=b"no image at all"),
    wrong("image", "flux-fill", "60000x60000", image=BOMB, mask=MASK),
    wrong("mask", "flux-fill", "60000x60000", mask=BOMB),
    wrong("image[1]", "gpt-4o-image", image=[SOURCE, b"no image at all"]),
    wrong("image", "flux-kontext", "one image", image=[SOURCE, OTHER_SOURCE]),
    wrong("image", "gpt-image-1", "16", image=[SOURCE] * 17),
    wrong("prompt", "flux-kontext", prompt=""),
    wrong("lora_settings", "flux-dev", "flux-dev-advanced", extra=LORA),
)

VARIATIONS = (
    wrong("model", "flux-schnell", "flux-dev-advanced"),
    wrong("model", "flux-dev", "flux-dev-advanced"),
    wrong("size", "flux-redux", size="512x512"),
    wrong("image", "flux-redux", image=b"no image at all"),
)


async def check_refused(rig: Rig, order: Wrong, caught: pytest.ExceptionInfo[openai.BadRequestError]) -> None:
    """The SDK's error for the parameter; nothing sent, nothing in the books, nothing charged."""
    error = caught.value
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", order.param)
    assert error.code
    assert not [words for words in order.says if words not in error.message]
    assert rig.sandbox.requests == []
    await rig.rows(0)
    figures = await rig.figures()
    assert figures.total("gateway_requests_total", status="400") == figures.total("gateway_requests_total") == 1
    assert figures.total("gateway_cost_usd_total") == 0


@pytest.mark.parametrize("order", GENERATIONS, ids=str)
async def test_generations(rig: Rig, order: Wrong) -> None:
    fields: Any = {"prompt": PROMPT, **order.fields}

    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().images.generate(model=order.model, extra_body=order.extra, **fields)

    await check_refused(rig, order, caught)


@pytest.mark.parametrize("order", EDITS, ids=str)
async def test_edits(rig: Rig, order: Wrong) -> None:
    fields: Any = {"prompt": PROMPT, "image": SOURCE, **order.fields}

    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().images.edit(model=order.model, extra_body=order.extra, **fields)

    await check_refused(rig, order, caught)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of variations
@pytest.mark.parametrize("order", VARIATIONS, ids=str)
async def test_variations(rig: Rig, order: Wrong) -> None:
    fields: Any = {"image": SOURCE, **order.fields}

    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().images.create_variation(model=order.model, extra_body=order.extra, **fields)

    await check_refused(rig, order, caught)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 2}),
        ("messages", {"messages": [{"role": "user", "content": " "}]}),
        ("messages", {"messages": [{"role": "assistant", "content": PROMPT}]}),
    ],
    ids=["n", "empty", "nobody_asked"],
)
async def test_chats(rig: Rig, param: str, fields: Any) -> None:
    chat: Any = {"messages": [{"role": "user", "content": PROMPT}], **fields}

    with pytest.raises(openai.BadRequestError) as caught:
        await rig.openai().chat.completions.create(model="flux-schnell", **chat)

    await check_refused(rig, wrong(param, "flux-schnell"), caught)


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("flux-dev", {"width": 2048, "height": 512}),
        ("flux-dev", {"guidance_scale": 1.5, "denoise": 1}),
        ("flux-dev", {"guidance_scale": 5, "denoise": 0.001}),
        ("flux-schnell", {"batch_size": 4}),
        ("flux-kontext", {"steps": 40, "image": as_base64(SOURCE)}),
        ("flux-outpaint", {"outpaint": {"left": 512, "right": 511}, "image": as_base64(SQUARE)}),
        ("flux-dev-advanced", {**LORA, **CONTROL}),
    ],
)
async def test_what_is_just_within_the_bounds_passes(rig: Rig, model: str, extra: dict[str, Any]) -> None:
    answer = await rig.openai().images.generate(model=model, prompt=PROMPT, extra_body=extra)

    assert len(await delivered(answer)) == extra.get("batch_size", 1)


@pytest.mark.parametrize(
    ("extra", "configuration"),
    [
        ({"lora_settings": [{"lora_type": "mjv7"}]}, "flux: {extra_loras: [mjv7]}"),
        ({"control_net_settings": [{"control_type": "cany"}]}, "flux: {extra_controls: [cany]}"),
    ],
    ids=["lora", "control"],
)
async def test_the_line_that_a_refusal_names_lets_a_newer_name_pass(
    gateway: StartGateway, extra: dict[str, Any], configuration: str
) -> None:
    rig = await gateway(configuration)

    answer = await rig.openai().images.generate(model="flux-dev-advanced", prompt=PROMPT, extra_body=extra)

    assert len(await delivered(answer)) == 1
    [order] = bought(rig)
    assert extra.items() <= order.json["input"].items()


async def test_a_model_that_makes_no_images_is_said_to_make_none(rig: Rig) -> None:
    with pytest.raises(openai.NotFoundError, match="/v1/chat/completions") as caught:
        await rig.openai().images.generate(model="gpt-4o", prompt=PROMPT)

    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    assert rig.sandbox.requests == []


async def test_a_refused_order_frees_what_it_had_reserved(gateway: StartGateway) -> None:
    rig = await gateway("keys: [{name: alice, team: growth, key: gw-alice-000111222333444555, parallel: 1}]")
    sdk = rig.openai()

    for _ in range(2):
        with pytest.raises(openai.BadRequestError):
            await sdk.images.generate(model="flux-dev", prompt="")
    await eventually(lambda: len(rig.gateway.services.gate) == 0, "no request in flight")

    assert len(await delivered(await sdk.images.generate(model="flux-dev", prompt=PROMPT))) == 1
