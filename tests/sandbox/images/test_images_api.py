"""The Images API: what it takes, what it refuses, and every way in which its images come back."""

from __future__ import annotations

import base64
from typing import Any

import openai
import orjson
import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.wire.answers import Role
from tests.sandbox.client import Received, ask
from tests.sandbox.task_client import sides, size_of

BODY: dict[str, Any] = {"model": "gpt-image-1", "prompt": "a red fox"}
PATHS = {"generation": "/v1/images/generations", "edit": "/v1/images/edits"}
EDIT: dict[str, Any] = {**BODY, "images": [{"image_url": "https://i.example.com/1.png"}]}


async def make(sandbox: Sandbox, content: Any, scenario: str | None = None, **options: Any) -> Received:
    """Ask the backup, which answers whole."""
    return await ask(sandbox, content, scenario, **{"role": "backup", "path": PATHS["generation"], **options})


def events_of(received: Received) -> list[Any]:
    """The named events' data, each checked against its name."""
    events = []
    for event in received.body.split(b"\n\n")[:-1]:
        name, _, data = event.partition(b"\n")
        content = orjson.loads(data.removeprefix(b"data: "))
        assert name == f"event: {content['type']}".encode()
        events.append(content)
    return events


@pytest.mark.parametrize(
    ("given", "size", "quality", "tokens"),
    [
        ({}, "1024x1024", "medium", 1056),
        ({"size": "auto", "quality": "auto"}, "1024x1024", "medium", 1056),
        ({"size": "1536x1024", "quality": "low"}, "1536x1024", "low", 408),
        ({"size": "1024x1536", "quality": "high", "n": 2}, "1024x1536", "high", 12_480),
    ],
)
async def test_a_whole_answer(sandbox: Sandbox, given: dict[str, Any], size: str, quality: str, tokens: int) -> None:
    answer = (await make(sandbox, {**BODY, **given})).json

    assert (answer["size"], answer["quality"], answer["output_format"]) == (size, quality, "png")
    assert answer["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
        "output_tokens": tokens,
        "total_tokens": 3 + tokens,
    }
    images = [base64.b64decode(item["b64_json"]) for item in answer["data"]]
    assert len(set(images)) == given.get("n", 1)
    assert {f"{width}x{height}" for width, height in map(sides, images)} == {size}
    assert [line.amount for line in sandbox.bill] == [15_000 + tokens * 40_000]


@pytest.mark.parametrize("role", ["api", "proxy"])
@pytest.mark.parametrize(("kind", "content"), [("generation", BODY), ("edit", EDIT)])
async def test_piapi_only_streams(sandbox: Sandbox, role: Role, kind: str, content: dict[str, Any]) -> None:
    refused = await make(sandbox, content, role=role, path=PATHS[kind])
    events = events_of(
        await make(sandbox, {**content, "stream": True, "partial_images": 2}, role=role, path=PATHS[kind])
    )

    assert refused.status == 400
    assert "stream mode" in refused.json["error"]["message"]
    family = f"image_{kind}"
    assert [event["type"] for event in events] == [f"{family}.partial_image"] * 2 + [f"{family}.completed"]
    assert [event.get("partial_image_index") for event in events] == [0, 1, None]
    assert sides(base64.b64decode(events[-1]["b64_json"])) == (1024, 1024)
    assert events[-1]["usage"]["output_tokens"] == 1056
    assert len(sandbox.bill) == 1


async def test_a_whole_answer_to_a_streaming_client(sandbox: Sandbox) -> None:
    received = await make(sandbox, {**BODY, "stream": True}, "ok;whole=1", role="api")

    assert received.headers[b"content-type"] == b"application/json"
    assert len(received.json["data"]) == 1
    assert len(sandbox.bill) == 1


async def test_an_answer_that_does_not_say_what_it_took(sandbox: Sandbox) -> None:
    assert "usage" not in (await make(sandbox, BODY, "ok;usage=0")).json
    (event,) = events_of(await make(sandbox, {**BODY, "stream": True}, "ok;usage=0"))

    assert "usage" not in event
    assert [line.amount for line in sandbox.bill] == [42_255_000] * 2


async def test_cached_tokens(sandbox: Sandbox) -> None:
    usage = (await make(sandbox, EDIT, "ok;cached=2", path=PATHS["edit"])).json["usage"]
    full = (await make(sandbox, BODY, "ok;cached=99")).json["usage"]

    assert usage["input_tokens_details"] == {"text_tokens": 3, "image_tokens": 323, "cached_tokens": 2}
    assert full["input_tokens_details"]["cached_tokens"] == 3
    assert sandbox.bill[0].amount == 5_000 + 2 * 1_250 + 323 * 10_000 + 1056 * 40_000


async def test_links_in_place_of_base64(sandbox: Sandbox) -> None:
    (item,) = (
        await make(
            sandbox, {**BODY, "size": "1024x1536"}, "ok;link=1", path=f"/role/backup{PATHS['generation']}", role="api"
        )
    ).json["data"]
    (event,) = events_of(await make(sandbox, {**BODY, "stream": True}, "ok;link=1;site=https://img.example.com"))

    assert sorted(item) == ["url"]
    assert await size_of(sandbox, item["url"]) == (1024, 1536)
    assert event["url"].startswith("https://img.example.com/files/")
    assert "b64_json" not in event


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"response_format": "b64_json"}, "response_format", "unknown_parameter"),
        ({"style": "vivid"}, "style", "unknown_parameter"),
        ({"size": "1792x1024"}, "size", "invalid_value"),
        ({"quality": "hd"}, "quality", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"partial_images": 4}, "partial_images", "invalid_value"),
        ({"prompt": ""}, "prompt", None),
        ({"prompt": 5}, "prompt", None),
        ({"mask": "x"}, "image", "unknown_parameter"),
    ],
)
async def test_what_openai_refuses(sandbox: Sandbox, given: dict[str, Any], param: str, code: str | None) -> None:
    received = await make(sandbox, {**BODY, **given})

    assert received.status == 400
    assert (received.json["error"]["param"], received.json["error"]["code"]) == (param, code)
    assert sandbox.bill == []


async def test_other_refusals(sandbox: Sandbox) -> None:
    assert (await make(sandbox, {**BODY, "model": "dall-e-9"})).status == 404
    assert (await make(sandbox, b"{")).status == 400
    assert (await make(sandbox, [])).status == 400
    for images in (None, "x", [], ["x"], [{"file_id": "1"}], EDIT["images"] * 17):
        assert (await make(sandbox, {**EDIT, "images": images}, path=PATHS["edit"])).status == 400
    wrong = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\nx\r\n--b--'
    for body in (wrong, b"no form"):
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert (await make(sandbox, body, path=PATHS["edit"], headers=headers)).status == 400
    assert sandbox.bill == []


async def test_a_moderated_prompt(sandbox: Sandbox) -> None:
    error = (await make(sandbox, BODY, "moderation_blocked;stage=output")).json["error"]

    assert (error["type"], error["code"]) == ("image_generation_user_error", "moderation_blocked")
    assert "safety_violations=[violence]" in error["message"]
    assert error["moderation_details"] == {"moderation_stage": "output", "categories": ["violence"]}
    assert sandbox.bill == []


async def test_an_edit_is_recorded_as_it_arrived(sandbox: Sandbox) -> None:
    first, second, mask = b"\x89PNG\r\n\x1a\n1", b"\xff\xd8\r\n--2", b"\x89PNG mask"
    async with openai.AsyncOpenAI(api_key="sk", base_url=f"{sandbox.urls['backup']}/v1", max_retries=0) as client:
        await client.images.edit(model="gpt-image-1", prompt="add a hat", image=[("1.png", first), second], mask=mask)
        await client.images.edit(model="gpt-image-1", prompt="add a hat", image=first, n=2)

    several, single = (request.form for request in sandbox.requests)
    assert several is not None
    assert single is not None
    assert several.fields == (("prompt", "add a hat"), ("model", "gpt-image-1"))
    assert [(file.name, file.data) for file in several.files] == [
        ("image[]", first),
        ("image[]", second),
        ("mask", mask),
    ]
    assert several.files[0].filename == "1.png"
    assert (single.get("n"), [file.name for file in single.files]) == ("2", ["image"])
    assert [request.model for request in sandbox.requests] == ["gpt-image-1", "gpt-image-1"]
    assert [(line.input_tokens, line.images) for line in sandbox.bill] == [(3 + 646, 1), (3 + 323, 2)]


@pytest.mark.parametrize("role", ["api", "proxy", "backup"])
async def test_a_stream_brings_one_image(sandbox: Sandbox, role: Role) -> None:
    received = await make(sandbox, {**BODY, "stream": True, "n": 2}, role=role)
    assert (received.status, received.json["error"]["param"]) == (400, "n")
    assert sandbox.bill == []
    assert len(events_of(await make(sandbox, {**BODY, "stream": True, "n": 1}, role=role))) == 1


async def test_later_models_take_any_size_and_fields_of_their_own(sandbox: Sandbox) -> None:
    body = {**BODY, "model": "gpt-image-2.6-flare", "size": "1536x864", "quality": "xhigh", "complexity": "high"}
    assert (await make(sandbox, body)).json["size"] == "1536x864"
    assert (await make(sandbox, {**body, "size": "16:9"})).status == 400
