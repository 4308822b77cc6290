"""PiAPI's own examples of Flux tasks: asked for through OpenAI's SDK, exactly their JSON goes upstream.

Source: PiAPI's documentation (the pages that gateway/catalogue.yaml names), without ``config.webhook_config``. There is
no example of img2img-lora: that one is composed from the schema on the page Image to Image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from openai.types import ImagesResponse

from gateway.config.catalogue import flux_facts

from .harness import PIAPI_KEY, Rig
from .image_orders import ADVANCED, DEV, FLUX_PRICES, SCHNELL, TASK, bought, delivered

CAT = "https://i.ibb.co/J7ZNgSG/01.jpg"
SIGN = "https://piapi.ai/dashboard/flux/input_example.png"
GIRL = "https://i.ibb.co/TH7xMvd/girl-mask.png"
CONTROL_IMAGE = "https://i.ibb.co/yX07dwV/Comfy-UI-controlnet.webp"
POSE = "https://i.ibb.co/vkCbMZY/3-pose-1024.jpg"
SPIDERMAN = {"prompt": "spiderman", "lora_settings": [{"lora_type": "mjv6"}]}


@dataclass(frozen=True)
class Example:
    """``model``, ``task_type``, ``input``: as they are documented. ``alias``: a short name that stands for them.

    ``fields``: how the client says it, where not in the task's own words. ``made``: pixels of the sandbox's image.
    """

    page: str
    alias: str
    model: str
    task_type: str
    input: Mapping[str, Any]
    fields: Mapping[str, Any] | None = None
    made: tuple[int, int] = (1024, 1024)

    def __str__(self) -> str:
        return f"{self.task_type}-{self.page}"

    @property
    def asked(self) -> dict[str, Any]:
        """The fields of the request, ``prompt`` and ``model`` aside."""
        told = self.input if self.fields is None else self.fields
        return {name: value for name, value in told.items() if name != "prompt"}


def controlled(control: str, lora: str, strength: float) -> dict[str, Any]:
    """The input of three examples that differ in these."""
    return {
        "steps": 28,
        "prompt": "A girl in city, 25 years old, cool, futuristic",
        "negative_prompt": "low quality, ugly, distorted, artefacts",
        "guidance_scale": 2.5,
        "control_net_settings": [
            {
                "control_type": control,
                "control_image": CONTROL_IMAGE,
                "control_strength": strength,
                "return_preprocessed_image": True,
            }
        ],
        "lora_settings": [{"lora_type": lora, "lora_strength": 1}],
    }


EXAMPLES = (
    Example(
        *("text_to_image", "flux-dev", DEV, "txt2img"),
        {"prompt": "a little cat", "width": 1024, "height": 1024},
    ),
    Example(
        *("text_to_image_by_size", "flux-dev", DEV, "txt2img"),
        {"prompt": "a little cat", "width": 1024, "height": 1024},
        fields={"size": "1024x1024"},
    ),
    Example(*("image_to_image", "flux-schnell", SCHNELL, "img2img"), {"prompt": "a bear", "image": CAT}),
    Example(
        *("kontext", "flux-kontext", ADVANCED, "kontext"),
        {
            "prompt": "change the word Piapi to Pineapple",
            "image": SIGN,
            "width": 1024,
            "height": 1024,
            "steps": 10,
            "seed": -1,
        },
    ),
    Example(*("lora_only", "flux-dev-advanced", ADVANCED, "txt2img-lora"), SPIDERMAN),
    Example(
        *("by_its_schema", "flux-dev-advanced", ADVANCED, "img2img-lora"),
        {
            "prompt": "a bear",
            "negative_prompt": "",
            "denoise": 0.7,
            "guidance_scale": 2.5,
            "image": CAT,
            "lora_settings": [{"lora_type": "mjv6", "lora_image": CAT, "lora_strength": 1}],
        },
    ),
    *(
        Example(
            *(f"with_lora_{number}", "flux-dev-advanced", ADVANCED, "controlnet-lora"),
            {
                **SPIDERMAN,
                "control_net_settings": [
                    {"control_type": "depth", "control_image": f"https://example.com/control_image{number}.png"}
                ],
            },
        )
        for number in (1, 2)
    ),
    *(
        Example(*(control, "flux-dev-advanced", ADVANCED, "controlnet-lora"), controlled(control, lora, strength))
        for control, lora, strength in (
            ("canny", "graphic-portrait", 0.45),
            ("depth", "geometric-woman", 0.45),
            ("soft_edge", "remes-abstract-poster-style", 0.55),
        )
    ),
    Example(
        *("openpose", "flux-dev-advanced", ADVANCED, "controlnet-lora"),
        {
            "steps": 28,
            "prompt": "person enjoying a day at the park, full hd, cinematic",
            "negative_prompt": "low quality, ugly, distorted, artefacts",
            "guidance_scale": 4.0,
            "control_net_settings": [
                {
                    "control_type": "openpose",
                    "control_image": POSE,
                    "control_strength": 0.7,
                    "return_preprocessed_image": True,
                }
            ],
            "lora_settings": [{"lora_type": "mjv6", "lora_strength": 1}],
        },
    ),
    Example(
        *("inpaint", "flux-fill", ADVANCED, "fill-inpaint"), {"prompt": "a girl in blue and red skirt", "image": GIRL}
    ),
    *(
        Example(
            *(page, "flux-outpaint", ADVANCED, "fill-outpaint"),
            {
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
            fields=fields,
            made=(2024, 1024),
        )
        for page, fields in (
            ("outpaint", None),
            ("outpaint_in_short", {"image": GIRL, "outpaint": {"left": 500, "right": 500, "top": 0, "bottom": 0}}),
        )
    ),
    Example(*("variation", "flux-redux", ADVANCED, "redux-variation"), {"prompt": "a superman", "image": GIRL}),
)


async def check(rig: Rig, example: Example, answer: ImagesResponse) -> None:
    [order] = bought(rig)
    assert (order.path, order.key) == (TASK, PIAPI_KEY)
    assert order.json == {"model": example.model, "task_type": example.task_type, "input": example.input}
    assert [made.size for made in await delivered(answer)] == [example.made]
    assert (await rig.row()).charged == FLUX_PRICES[example.model]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_by_a_short_name(rig: Rig, example: Example) -> None:
    """The task follows from the model's name and from what is given."""
    fields = example.asked
    size: Any = {"size": fields.pop("size")} if "size" in fields else {}

    answer = await rig.openai().images.generate(
        model=example.alias, prompt=example.input["prompt"], extra_body=fields, **size
    )

    await check(rig, example, answer)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_by_piapis_names(rig: Rig, example: Example) -> None:
    """PiAPI's model and task type, on the route that fits."""
    fields = {"model": example.model, "prompt": example.input["prompt"], "task_type": example.task_type}
    route = "/images/edits" if "image" in example.input else "/images/generations"

    answer = await rig.openai().post(route, body=fields | example.asked, cast_to=ImagesResponse)

    await check(rig, example, answer)


def test_no_task_type_is_without_an_example() -> None:
    assert {example.task_type for example in EXAMPLES} == set(flux_facts().task_types)


@pytest.mark.parametrize(
    ("alias", "task_type", "fields", "sent"),
    [
        ("flux-dev", "txt2img", {}, {"width": 1024, "height": 1024}),
        ("flux-dev-advanced", "txt2img-lora", {"lora_settings": [{"lora_type": "art"}]}, None),
        ("flux-schnell", "img2img", {"image": CAT}, None),
        ("flux-kontext", "kontext", {"image": CAT}, {"image": CAT, "steps": 28, "seed": -1}),
        ("flux-redux", "redux-variation", {"image": CAT}, None),
    ],
)
async def test_what_is_left_out_is_left_to_piapi(
    rig: Rig, alias: str, task_type: str, fields: dict[str, Any], sent: dict[str, Any] | None
) -> None:
    """But for the size of txt2img and for what is documented as kontext's defaults."""
    await rig.openai().images.generate(model=alias, prompt="a cat", extra_body=fields)

    [order] = bought(rig)
    assert order.json["task_type"] == task_type
    assert order.json["input"] == {"prompt": "a cat", **(fields if sent is None else sent)}
