"""The exact JSON that goes upstream for each task type, beside the examples of PiAPI's documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from .flux_orders import DEV, SCHNELL, body_of, linked, wish

HOOK = "https://webhook.site/d35ab4aa-95f9-4855-af82-32fbfbb67063"
GIRL = "https://i.ibb.co/TH7xMvd/girl-mask.png"
PERSON = "https://i.ibb.co/yX07dwV/Comfy-UI-controlnet.webp"


def control_example(kind: str, strength: float, lora: str) -> dict[str, Any]:
    return {
        "steps": 28,
        "negative_prompt": "low quality, ugly, distorted, artefacts",
        "guidance_scale": 2.5,
        "control_net_settings": [
            {
                "control_type": kind,
                "control_image": PERSON,
                "control_strength": strength,
                "return_preprocessed_image": True,
            }
        ],
        "lora_settings": [{"lora_type": lora, "lora_strength": 1}],
    }


def test_text_to_image():
    request = wish(prompt="a little cat", size="1024x1024", flux={})
    assert body_of(request, DEV) == {
        "model": "Qubico/flux1-dev",
        "task_type": "txt2img",
        "input": {"prompt": "a little cat", "width": 1024, "height": 1024},
    }


def test_image_to_image():
    request = wish("edit", images=linked("https://i.ibb.co/J7ZNgSG/01.jpg"))
    assert body_of(request, SCHNELL, hook="https://webhook.site/xxxx") == {
        "model": "Qubico/flux1-schnell",
        "task_type": "img2img",
        "input": {"prompt": "a bear", "image": "https://i.ibb.co/J7ZNgSG/01.jpg"},
        "config": {"webhook_config": {"endpoint": "https://webhook.site/xxxx", "secret": ""}},
    }


def test_kontext():
    image = "https://piapi.ai/dashboard/flux/input_example.png"
    request = wish(
        "edit",
        model="flux-kontext",
        prompt="change the word Piapi to Pineapple",
        images=linked(image),
        size="1024x1024",
        flux={"steps": 10, "seed": -1},
    )
    hook = "https://webhook.site/ffa17066-be55-4a1a-abf9-789286b8da44"
    assert body_of(request, hook=hook) == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "kontext",
        "input": {
            "prompt": "change the word Piapi to Pineapple",
            "image": image,
            "width": 1024,
            "height": 1024,
            "steps": 10,
            "seed": -1,
        },
        "config": {"webhook_config": {"endpoint": hook, "secret": ""}},
    }


def test_lora_only():
    request = wish(prompt="spiderman", flux={"lora_settings": [{"lora_type": "mjv6"}]})
    assert body_of(request, hook=HOOK) == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "txt2img-lora",
        "input": {"prompt": "spiderman", "lora_settings": [{"lora_type": "mjv6"}]},
        "config": {"webhook_config": {"endpoint": HOOK, "secret": ""}},
    }


def test_image_to_image_with_lora():
    # Documented by its schema only: image-to-image's members with lora_settings.
    lora = [{"lora_type": "anime", "lora_image": GIRL, "lora_strength": 0.5}]
    flux = {"lora_settings": lora, "denoise": 0.7, "guidance_scale": 2.5, "negative_prompt": "ugly"}
    assert body_of(wish("edit", images=linked(GIRL), flux=flux)) == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "img2img-lora",
        "input": {"prompt": "a bear", "image": GIRL, **flux},
    }


def test_controlnet_and_lora():
    flux = {
        "control_net_settings": [{"control_type": "depth", "control_image": "https://example.com/control_image2.png"}],
        "lora_settings": [{"lora_type": "mjv6"}],
    }
    assert body_of(wish(prompt="spiderman", flux=flux), hook=HOOK) == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "controlnet-lora",
        "input": {"prompt": "spiderman", **flux},
        "config": {"webhook_config": {"endpoint": HOOK, "secret": ""}},
    }


@pytest.mark.parametrize(
    ("kind", "strength", "lora"),
    [
        ("canny", 0.45, "graphic-portrait"),
        ("depth", 0.45, "geometric-woman"),
        ("soft_edge", 0.55, "remes-abstract-poster-style"),
    ],
)
def test_controlnets(kind, strength, lora):
    prompt = "A girl in city, 25 years old, cool, futuristic"
    flux = control_example(kind, strength, lora)
    assert body_of(wish(prompt=prompt, flux=flux), hook="") == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "controlnet-lora",
        "input": {"prompt": prompt, **flux},
        "config": {"webhook_config": {"endpoint": "", "secret": ""}},
    }


def test_openpose():
    prompt = "person enjoying a day at the park, full hd, cinematic"
    flux = control_example("openpose", 0.7, "mjv6") | {"guidance_scale": 4.0}
    flux["control_net_settings"][0]["control_image"] = "https://i.ibb.co/vkCbMZY/3-pose-1024.jpg"
    body = body_of(wish(prompt=prompt, flux=flux))
    assert (body["task_type"], body["input"]) == ("controlnet-lora", {"prompt": prompt, **flux})


def test_inpaint():
    # The example's image has the white in it already, so it comes without a mask.
    request = wish("edit", model="flux-fill", prompt="a girl in blue and red skirt", images=linked(GIRL))
    assert body_of(request, hook="") == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "fill-inpaint",
        "input": {"prompt": "a girl in blue and red skirt", "image": GIRL},
        "config": {"webhook_config": {"endpoint": "", "secret": ""}},
    }


@pytest.mark.parametrize("name", ["flux-outpaint", "flux-dev-advanced"])
def test_outpaint(name):
    sides = {"left": 500, "right": 500, "top": 0, "bottom": 0}
    image = replace(linked(GIRL)[0], width=1024, height=1024)
    request = wish("edit", model=name, prompt="a girl in a great grass sea", images=(image,), flux={"outpaint": sides})
    expected = {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "fill-outpaint",
        "input": {
            "prompt": "a girl in a great grass sea",
            "image": GIRL,
            "custom_settings": [
                {
                    "setting_type": "outpaint",
                    "outpaint_left": 500,
                    "outpaint_right": 500,
                    "outpaint_top": 0,
                    "outpaint_bottom": 0,
                }
            ],
        },
        "config": {"webhook_config": {"endpoint": "", "secret": ""}},
    }
    assert body_of(request, hook="") == expected
    own = replace(request, flux={"custom_settings": expected["input"]["custom_settings"]})
    assert body_of(own, hook="") == expected


def test_variation():
    request = wish("variation", prompt="a superman", images=linked(GIRL))
    assert body_of(request, hook="") == {
        "model": "Qubico/flux1-dev-advanced",
        "task_type": "redux-variation",
        "input": {"prompt": "a superman", "image": GIRL},
        "config": {"webhook_config": {"endpoint": "", "secret": ""}},
    }
