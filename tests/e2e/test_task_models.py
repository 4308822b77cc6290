"""PiAPI's task models other than Flux: described as data, checked before they are bought, charged as PiAPI bills."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from .conftest import StartGateway
from .harness import ALICE, PROMPT, Answer, Rig
from .image_orders import SOURCE, TASK, as_base64, bought, delivered

CREATE = "method=POST;path=/api/v1/task"
CENT = 10_000_000
LINK = "https://example.com/cat.png"


async def order(rig: Rig, model: str, **fields: Any) -> openai.types.ImagesResponse:
    known = {name: fields.pop(name) for name in ("n", "size", "quality", "style", "response_format") if name in fields}
    return await rig.openai().images.generate(model=model, prompt=PROMPT, extra_body=fields, **known)


async def refused(rig: Rig, model: str, **fields: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        await order(rig, model, **fields)
    assert bought(rig) == []
    return caught.value


async def create(rig: Rig, body: dict[str, Any], key: str = ALICE) -> Answer:
    """A task as PiAPI itself is asked for it."""
    async with rig.client() as client:
        await client.ask(json.dumps(body).encode(), key, target=TASK)
        return await client.rest(await client.head())


GENERATED = [
    ("nano-banana-2", {}, "gemini", "nano-banana-2", {"resolution": "1K"}, 6 * CENT, (1024, 1024)),
    (
        "nano-banana-2",
        {"size": "2048x2048"},
        "gemini",
        "nano-banana-2",
        {"aspect_ratio": "1:1", "resolution": "2K"},
        8 * CENT,
        (2048, 2048),
    ),
    (
        "nano-banana-2",
        {"aspect_ratio": "16:9", "resolution": "4K", "enable_web_search": False},
        "gemini",
        "nano-banana-2",
        {"aspect_ratio": "16:9", "resolution": "4K", "enable_web_search": False},
        12 * CENT,
        (4096, 2304),
    ),
    (
        "nano-banana-pro",
        {"size": "9:16", "safety_level": "high"},
        "gemini",
        "nano-banana-pro",
        {"aspect_ratio": "9:16", "resolution": "1K", "safety_level": "high"},
        105_000_000,
        (576, 1024),
    ),
    ("seedream-5-lite", {"size": "3K"}, "seedream", "seedream-5-lite", {"size": "3K"}, 42_000_000, (3072, 3072)),
    (
        "qwen-image",
        {"size": "512x256", "steps": 8},
        "Qubico/qwen-image",
        "txt2img",
        {"width": 512, "height": 256, "steps": 8},
        15_000_000,
        (512, 256),
    ),
    ("z-image", {"size": "512x512"}, "Qubico/z-image", "txt2img", {"width": 512, "height": 512}, 2_000_000, (512, 512)),
    ("z-image", {}, "Qubico/z-image", "txt2img", {"width": 1024, "height": 1024}, 6_000_000, (1024, 1024)),
    (
        "Qubico/z-image",
        {"size": "1536x1024"},
        "Qubico/z-image",
        "txt2img",
        {"width": 1536, "height": 1024},
        8_000_000,
        (1536, 1024),
    ),
    ("image-01", {"size": "1536x1024"}, "minimax", "image-01", {"aspect_ratio": "3:2"}, CENT, (1023, 682)),
]


@pytest.mark.parametrize(
    ("model", "fields", "asked", "task_type", "given", "cost", "pixels"),
    GENERATED,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(GENERATED)],
)
class TestAPictureOfWords:
    async def test_is_one_task_of_these_fields_at_this_price(
        self,
        model: str,
        fields: dict[str, Any],
        asked: str,
        task_type: str,
        given: dict[str, Any],
        cost: int,
        pixels: tuple[int, int],
        rig: Rig,
    ) -> None:
        [image] = await delivered(await order(rig, model, **fields))

        assert image.size == pixels
        [task] = bought(rig)
        assert task.json == {"model": asked, "task_type": task_type, "input": {"prompt": PROMPT, **given}}
        row = await rig.row()
        assert (row.charged, row.images, row.confidence) == (cost, 1, "measured")
        assert rig.sandbox.billed == cost

    async def test_without_its_points_costs_no_less(
        self,
        model: str,
        fields: dict[str, Any],
        asked: str,
        task_type: str,
        given: dict[str, Any],
        cost: int,
        pixels: tuple[int, int],
        rig: Rig,
    ) -> None:
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        await order(rig, model, **fields)
        row = await rig.row()
        assert row.confidence == "estimated"
        assert row.charged == (52_000_000 if model == "seedream-5-lite" else cost)


class TestAPictureOfAPicture:
    async def test_is_never_a_picture_of_words_alone(self, rig: Rig) -> None:
        await rig.openai().images.edit(model="qwen-image", prompt=PROMPT, image=("a.png", SOURCE))
        [task] = bought(rig)
        assert task.json["task_type"] == "image-edit"
        assert base64.b64decode(task.json["input"]["image1"]) == SOURCE
        assert (await rig.row()).charged == rig.sandbox.billed == 25_000_000

    async def test_takes_several_in_order(self, rig: Rig) -> None:
        await rig.openai().images.edit(
            model="nano-banana-2", prompt=PROMPT, image=[("a.png", SOURCE), ("b.png", SOURCE)], size="1024x1024"
        )
        [task] = bought(rig)
        assert task.json["input"]["image_urls"] == [f"data:image/png;base64,{as_base64(SOURCE)}"] * 2
        assert (await rig.row()).charged == rig.sandbox.billed == 6 * CENT

    async def test_by_chat_with_a_link(self, rig: Rig) -> None:
        content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": LINK}}]
        answer = await rig.chat(
            model="nano-banana-pro", messages=[{"role": "user", "content": content}], resolution="4K", temperature=1
        )
        assert answer.status == 200
        [task] = bought(rig)
        assert task.json["input"] == {"image_urls": [LINK], "prompt": PROMPT, "resolution": "4K"}
        assert (await rig.row()).charged == rig.sandbox.billed == 18 * CENT

    async def test_enlarged_costs_its_megapixels(self, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        answer = await rig.openai().images.edit(
            model="image-toolkit", prompt=PROMPT, image=("a.png", SOURCE), extra_body={"scale": "8"}
        )
        assert answer.data
        [task] = bought(rig)
        assert (task.json["task_type"], task.json["input"]) == (
            "upscale",
            {"image": as_base64(SOURCE), "scale": 8},
        )
        assert (await rig.row()).charged == 1_000_000  # 64 × 48 pixels, eight times as wide and as high: 0.2 megapixels

    async def test_needs_no_words_where_the_task_takes_none(self, rig: Rig) -> None:
        content = [{"type": "image_url", "image_url": {"url": LINK}}]
        answer = await rig.chat(
            model="image-toolkit", messages=[{"role": "user", "content": content}], rmbg_model="RMBG-2.0"
        )
        assert answer.status == 200
        [task] = bought(rig)
        assert task.json["task_type"] == "background-remove"
        assert task.json["input"] == {"image": LINK, "rmbg_model": "RMBG-2.0"}
        assert (await rig.row()).confidence == "unknown"

    @pytest.mark.parametrize("model", ["image-toolkit", "Qubico/image-toolkit"])
    async def test_needs_no_words_by_the_images_api_either(self, model: str, rig: Rig) -> None:
        async with rig.client() as client:
            body = {"model": model, "image": as_base64(SOURCE), "task_type": "upscale", "scale": 2}
            await client.ask(json.dumps(body).encode(), target="/v1/images/edits")
            answer = await client.rest(await client.head())
        assert answer.status == 200
        [task] = bought(rig)
        assert task.json["input"] == {"image": as_base64(SOURCE), "scale": 2}

    async def test_needs_words_where_the_task_does(self, rig: Rig) -> None:
        async with rig.client() as client:
            body = {"model": "qwen-image", "image": as_base64(SOURCE)}
            await client.ask(json.dumps(body).encode(), target="/v1/images/edits")
            answer = await client.rest(await client.head())
        assert (answer.status, answer.json()["error"]["param"]) == (400, "prompt")
        assert bought(rig) == []

    async def test_of_two_faces(self, rig: Rig) -> None:
        await order(rig, "image-toolkit", target_image=LINK, swap_image=as_base64(SOURCE))
        [task] = bought(rig)
        assert task.json["task_type"] == "face-swap"
        assert task.json["input"] == {"target_image": LINK, "swap_image": as_base64(SOURCE)}


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("model", "fields", "param", "words"),
        [
            ("nano-banana-2", {"resolutoin": "4K"}, "resolutoin", "resolution"),
            ("nano-banana-2", {"resolution": "8K"}, "resolution", "1K, 2K, 4K"),
            ("nano-banana-2", {"aspect_ratio": "16:10"}, "aspect_ratio", "16:9"),
            ("nano-banana-2", {"size": "1000x300"}, "size", "21:9"),
            ("nano-banana-2", {"size": "8K"}, "size", "4K"),
            ("nano-banana-2", {"enable_web_search": "perhaps"}, "enable_web_search", "true or false"),
            ("qwen-image", {"steps": "many"}, "steps", "integer"),
            ("qwen-image", {"width": 0}, "width", "at least 1"),
            ("qwen-image", {"task_type": "txt2imgs"}, "task_type", "txt2img"),
            ("qwen-image", {"scale": 2}, "scale", ""),
            ("qwen-image-edit", {}, "image", "picture"),
            ("z-image", {"batch_size": 4}, "batch_size", "at most 1"),
            ("image-toolkit", {"task_type": "upscale", "image_url": LINK}, "image_url", "image"),
            ("image-toolkit", {"task_type": "upscale", "image": as_base64(SOURCE), "scale": 3}, "scale", "2, 4, 8"),
            ("seedream-5-lite", {"image_urls": [LINK] * 11}, "image_urls", "10"),
        ],
    )
    async def test_is_said_before_anything_is_bought(
        self, model: str, fields: dict[str, Any], param: str, words: str, rig: Rig
    ) -> None:
        error = await refused(rig, model, **fields)
        assert error.param == param
        assert words in error.message

    async def test_what_openais_models_have_is_left_out_and_named(self, rig: Rig) -> None:
        answer = await rig.openai().images.with_raw_response.generate(
            model="z-image", prompt=PROMPT, quality="hd", style="vivid", background="transparent", size="512x512"
        )
        note = answer.headers["x-gateway-note"]
        assert note.startswith("ignored: ")
        assert set(note.removeprefix("ignored: ").split(", ")) == {"quality", "style", "background"}
        [task] = bought(rig)
        assert task.json["input"].keys() == {"prompt", "width", "height"}


class TestSeveral:
    async def test_go_in_one_task_where_it_counts(self, rig: Rig) -> None:
        images = await delivered(await order(rig, "image-01", n=3))
        assert len(images) == 3
        [task] = bought(rig)
        assert task.json["input"]["n"] == 3
        assert (await rig.row()).charged == rig.sandbox.billed == 3 * CENT

    async def test_go_in_tasks_side_by_side_where_it_does_not(self, rig: Rig) -> None:
        images = await delivered(await order(rig, "z-image", n=3, size="512x512"))
        assert len(images) == 3
        assert len(bought(rig)) == 3
        assert (await rig.row()).charged == rig.sandbox.billed == 3 * 2_000_000


NEW = """
models:
  fresh:
    targets:
      - upstream: piapi
        model: Qubico/z-image
        operation: task
        tasks:
          txt2img:
            fields:
              prompt: {required: true}
              width: {kind: integer, maximum: 512, default: 256}
              height: {kind: integer, maximum: 512, default: 128}
            width: width
            height: height
            max_pixels: 131072
            price: {image: 0.05, steps: {0.1: 0.001}}
"""


class TestAModelThatOnlyTheConfigurationDescribes:
    async def test_is_ordered_checked_and_priced_without_code(self, gateway: StartGateway) -> None:
        rig = await gateway(NEW)
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        [image] = await delivered(await order(rig, "fresh"))
        assert image.size == (256, 128)
        assert (await rig.row()).charged == 1_000_000

    async def test_keeps_its_own_bounds(self, gateway: StartGateway) -> None:
        rig = await gateway(NEW)
        assert (await refused(rig, "fresh", size="512x384")).param == "size"
        assert (await refused(rig, "fresh", width=513)).param == "width"
        assert (await refused(rig, "fresh", seed=1)).param == "seed"


class TestAsPiapiIsAskedForIt:
    @pytest.mark.parametrize(
        ("body", "cost", "model"),
        [
            (
                {"model": "gemini", "task_type": "nano-banana-2", "input": {"prompt": "x", "resolution": "4K"}},
                12 * CENT,
                "nano-banana-2",
            ),
            (
                {"model": "gemini", "task_type": "nano-banana-pro", "input": {"prompt": "x"}},
                18 * CENT,
                "nano-banana-pro",
            ),
            (
                {
                    "model": "Qubico/z-image",
                    "task_type": "txt2img",
                    "input": {"prompt": "x", "width": 512, "height": 512, "batch_size": 3},
                },
                3 * 2_000_000,
                "z-image",
            ),
            ({"model": "minimax", "task_type": "image-01", "input": {"prompt": "x", "n": 4}}, 4 * CENT, "image-01"),
        ],
    )
    async def test_a_model_that_is_known_is_priced(self, body: dict[str, Any], cost: int, model: str, rig: Rig) -> None:
        rig.sandbox.script(f"ok;consume=0;{CREATE}")
        assert (await create(rig, body)).status == 200
        row = await rig.row()
        assert (row.charged, row.model, row.confidence) == (cost, model, "estimated")
        [task] = bought(rig)
        assert task.json == body

    async def test_only_a_key_that_may_use_the_model_is_served(self, gateway: StartGateway) -> None:
        rig = await gateway(
            "keys: [{name: bob, key: gw-bob-000111222333444555, models: [nano-banana-2]}, {name: eve, key:"
            " gw-eve-000111222333444555, models: [flux-*]}]"
        )
        body = {"model": "gemini", "task_type": "nano-banana-2", "input": {"prompt": "x"}}
        other = {"model": "gemini", "task_type": "nano-banana-pro", "input": {"prompt": "x"}}
        assert (await create(rig, body, "gw-bob-000111222333444555")).status == 200
        assert (await create(rig, other, "gw-bob-000111222333444555")).status == 403
        assert (await create(rig, body, "gw-eve-000111222333444555")).status == 403
        await rig.rows(1)
        assert len(bought(rig)) == 1
