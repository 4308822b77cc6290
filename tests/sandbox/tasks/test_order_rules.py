"""What the sandbox takes as a task: the documentation's examples, and nothing that PiAPI would refuse."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.images.png import draw_image
from gateway.sandbox.tasks.order_rules import image_count, image_size, order_points, order_problem
from tests.sandbox.client import ask

LINK = "https://i.example.com/girl-mask.png"
SMALL = base64.b64encode(draw_image(64, 48)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
SCHNELL, DEV, ADVANCED = "Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"
LORA = [{"lora_type": "mjv6", "lora_strength": 1}]
CONTROL = [
    {"control_type": "canny", "control_image": LINK, "control_strength": 0.45, "return_preprocessed_image": True}
]


def order(model: str, task_type: str, **wanted: Any) -> dict[str, Any]:
    return {"model": model, "task_type": task_type, "input": {"prompt": "a bear", **wanted}}


def outpaint(image: str = LINK, **margins: int) -> dict[str, Any]:
    sides = {f"outpaint_{side}": width for side, width in margins.items()}
    return order(ADVANCED, "fill-outpaint", image=image, custom_settings=[{"setting_type": "outpaint", **sides}])


@pytest.mark.parametrize(
    ("body", "size", "images", "cost"),
    [
        (order(DEV, "txt2img"), (1024, 1024), 1, 150_000),
        (order(DEV, "txt2img", width=1280, height=768, denoise=0.7, guidance_scale=3), (1280, 768), 1, 150_000),
        (order(SCHNELL, "txt2img", batch_size=4), (1024, 1024), 4, 80_000),
        (order(SCHNELL, "img2img", image=LINK), (1024, 1024), 1, 20_000),
        (order(SCHNELL, "img2img", image=SMALL, batch_size=2), (64, 48), 2, 40_000),
        (order(DEV, "img2img", image=f"data:image/png;base64,{SMALL}"), (64, 48), 1, 150_000),
        (order(DEV, "img2img", image=JPEG), (1024, 1024), 1, 150_000),
        (order(ADVANCED, "txt2img-lora", lora_settings=LORA), (1024, 1024), 1, 200_000),
        (order(ADVANCED, "img2img-lora", lora_settings=LORA, image=LINK), (1024, 1024), 1, 200_000),
        (order(ADVANCED, "controlnet-lora", control_net_settings=CONTROL, steps=28), (1024, 1024), 1, 200_000),
        (
            order(ADVANCED, "controlnet-lora", control_net_settings=CONTROL, lora_settings=LORA),
            (1024, 1024),
            1,
            200_000,
        ),
        (order(ADVANCED, "fill-inpaint", image=SMALL), (64, 48), 1, 200_000),
        (outpaint(left=500, right=500, top=0, bottom=0), (2024, 1024), 1, 200_000),
        (outpaint(SMALL, left=1, right=2, top=3, bottom=4), (67, 55), 1, 200_000),
        (order(ADVANCED, "redux-variation", image=LINK), (1024, 1024), 1, 200_000),
        (order(ADVANCED, "kontext", image=LINK, width=1024, height=768, steps=10, seed=-1), (1024, 768), 1, 200_000),
        (order("kling", "video_generation", aspect_ratio="1:1"), (1024, 1024), 1, None),
    ],
)
def test_good_orders(body: Any, size: tuple[int, int], images: int, cost: int | None) -> None:
    assert order_problem(body) is None
    assert (image_size(body), image_count(body), order_points(body)) == (size, images, cost)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "invalid model"),
        (order("nope", "txt2img"), "invalid model"),
        ({"model": DEV, "input": {}}, "task_type and input"),
        ({"model": DEV, "task_type": "txt2img", "input": None}, "task_type and input"),
        ({**order(DEV, "txt2img"), "config": "none"}, "config is an object"),
        (order(DEV, "kontext", image=LINK), "no task type 'kontext'"),
        (order(SCHNELL, "txt2img-lora", lora_settings=LORA), "no task type"),
        (order(ADVANCED, "upscale"), "no task type"),
        (order(DEV, "txt2img", prompt=" "), "a prompt is needed"),
        (order(DEV, "txt2img", n=2), "unknown input 'n'"),
        (order(DEV, "txt2img", image=LINK), "unknown input 'image'"),
        (order(ADVANCED, "fill-inpaint", image=LINK, mask=LINK), "unknown input 'mask'"),
        (order(DEV, "img2img", image=LINK, width=512), "unknown input 'width'"),
        (order(DEV, "img2img"), "an image is needed"),
        (order(DEV, "img2img", image="no image"), "failed to get valid image"),
        (order(DEV, "img2img", image=5), "failed to get valid image"),
        (order(ADVANCED, "txt2img-lora"), "lora_settings takes from 1 to 1"),
        (order(ADVANCED, "txt2img-lora", lora_settings=LORA * 2), "lora_settings takes from 1 to 1"),
        (order(ADVANCED, "txt2img-lora", lora_settings=LORA, control_net_settings=CONTROL), "takes from 0 to 0"),
        (order(ADVANCED, "controlnet-lora", lora_settings=LORA), "control_net_settings takes from 1 to 1"),
        (order(ADVANCED, "txt2img-lora", lora_settings=["mjv6"]), "needs a lora_type"),
        (order(DEV, "txt2img", denoise=1.5), "denoise is from"),
        (order(DEV, "txt2img", guidance_scale="3"), "guidance_scale is from"),
        (order(DEV, "txt2img", batch_size=2), "batch_size is from 1 to 4, for schnell only"),
        (order(SCHNELL, "txt2img", batch_size=5), "batch_size is from 1 to 4"),
        (order(DEV, "txt2img", width=0), "width is from"),
        (order(DEV, "txt2img", width=1025, height=1024), "cannot exceed 1048576"),
        (order(ADVANCED, "kontext", image=LINK, steps=41), "steps is at most 40"),
        (order(ADVANCED, "kontext", image=LINK, steps="10"), "whole numbers"),
        (order(ADVANCED, "fill-outpaint", image=LINK), "custom_settings takes one entry"),
        (outpaint(left=-1), "outpaint_left is from"),
        (outpaint(left=512, right=512), "less than 1024*1024"),
    ],
)
def test_wrong_orders(body: Any, words: str) -> None:
    assert words in (order_problem(body) or "")


async def test_a_wrong_order_is_refused_under_http_200_and_costs_nothing(sandbox: Sandbox) -> None:
    received = await ask(sandbox, order(DEV, "kontext"), path="/api/v1/task")

    assert (received.status, received.json["code"], received.json["data"]) == (200, 400, None)
    assert sandbox.bill == []


async def test_other_models_are_taken_and_have_no_price(sandbox: Sandbox) -> None:
    for scenario in ("ok;polls=0", "ok;polls=0;consume=1600000"):
        created = await ask(sandbox, order("kling", "video_generation"), scenario, path="/api/v1/task")
        done = await ask(sandbox, method="GET", path=f"/api/v1/task/{created.json['data']['task_id']}")
        assert done.json["data"]["status"] == "Completed"

    assert done.json["data"]["meta"]["usage"]["consume"] == 1_600_000
    assert [line.amount for line in sandbox.bill] == [None, 160_000_000]
