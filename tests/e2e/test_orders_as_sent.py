"""Orders as the world's clients build them: each gets its picture, bought once.

Written down by hand after the clients' own code, with where that was read:

- Open WebUI 0.12 (backend/open_webui/routers/images.py, commit 02530d50): generations in JSON, with ``response_format:
  b64_json`` for every model it does not know to answer otherwise; edits as a form of one ``image`` or several
  ``image[]``.
- LobeChat (packages/model-runtime/src/core/openaiCompatibleFactory/createImage.ts, commit 3c7f1866): openai-node with
  every parameter the model's card has, and ``input_fidelity: high`` for edits; for models marked ``:image`` a chat.
- n8n (packages/@n8n/nodes-langchain/nodes/vendors/OpenAi/v2/actions/image/generate.operation.ts and
  edit.operation.ts, commits 0713e950 and 2475cbe0; the node's types 2.1 and 2.2): JSON with DALL·E's words for quality,
  and a form with ``image[]`` and every number as text.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from .harness import PROMPT, Rig
from .image_orders import EDITS, GENERATIONS, SOURCE, as_base64, bought, opened
from .raw_orders import order

_B64 = {"response_format": "b64_json"}
_FORM = "multipart/form-data; boundary=----clients"


@dataclass(frozen=True)
class Sent:
    """What a client sends. ``files``: the names of a form's files; empty for JSON. ``note``: what it is told."""

    client: str
    fields: dict[str, Any]
    files: tuple[str, ...] = ()
    note: str | None = None
    images: int = 1

    def __str__(self) -> str:
        return f"{self.client}-{self.fields['model']}-{'edit' if self.files else 'generation'}"


SENT = (
    Sent("Open WebUI", {"model": "flux-dev", "n": 1, "size": "512x512", **_B64}),
    Sent("Open WebUI", {"model": "flux-schnell", "n": 2, "size": "1024x1024", **_B64}, images=2),
    Sent("Open WebUI", {"model": "gpt-4o-image", "n": 1, "size": "auto", **_B64}),
    Sent("Open WebUI", {"model": "gpt-image-1", "n": 2, "size": "1024x1024"}, images=2),
    Sent("Open WebUI", {"model": "flux-kontext", "n": "1", **_B64}, ("image",)),
    Sent("Open WebUI", {"model": "flux-dev", "n": "1", "size": "64x48", **_B64}, ("image[]",)),
    Sent(
        *("Open WebUI", {"model": "flux-kontext", "n": "1", "background": "transparent", **_B64}, ("image",)),
        note="ignored: background",
    ),
    Sent("Open WebUI", {"model": "gpt-image-1", "n": "1", "background": "transparent"}, ("image[]", "image[]")),
    Sent("LobeChat", {"model": "flux-schnell", "n": 1, "width": 1024, "height": 768, "seed": None}),
    Sent("LobeChat", {"model": "gpt-4o-image", "n": 1, "size": "1024x1536", "quality": "hd"}, note="ignored: quality"),
    Sent("LobeChat", {"model": "gpt-image-1", "n": 1, "quality": "high"}),
    Sent(
        *("LobeChat", {"model": "flux-kontext", "n": "1", "input_fidelity": "high"}, ("image",)),
        note="ignored: input_fidelity",
    ),
    Sent("LobeChat", {"model": "gpt-image-1", "n": "1", "input_fidelity": "high"}, ("image[]", "image[]")),
    Sent(
        *("n8n", {"model": "flux-dev", "quality": "hd", "style": "vivid", "size": "1792x1024", **_B64}),
        note="ignored: style, quality",
    ),
    Sent(
        *("n8n", {"model": "gpt-4o-image", "quality": "standard", "style": "natural", "n": 1, **_B64}),
        note="ignored: style, quality",
    ),
    Sent("n8n", {"model": "gpt-image-1", "quality": "medium", "n": 2, "size": "1536x1024"}, images=2),
    Sent(
        *("n8n", {"model": "gpt-image-1", "n": "1", "size": "512x512", "quality": "standard", "user": "u"}),
        ("image[]",),
    ),
    Sent(
        *("n8n", {"model": "flux-kontext", "n": "1", "size": "1024x1024", "quality": "auto"}, ("image",)),
    ),
)


def form(fields: dict[str, Any], files: tuple[str, ...]) -> bytes:
    parts = [f'content-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for name in files:
        head = f'content-disposition: form-data; name="{name}"; filename="in.png"\r\ncontent-type: image/png\r\n\r\n'
        parts.append(head.encode() + SOURCE)
    return b"".join(b"------clients\r\n" + part + b"\r\n" for part in parts) + b"------clients--\r\n"


@pytest.mark.parametrize("sent", SENT, ids=str)
async def test_an_order_gets_its_pictures(rig: Rig, sent: Sent) -> None:
    fields = {"prompt": PROMPT, **sent.fields}
    if sent.files:
        answer = await order(rig, path=EDITS, body=form(fields, sent.files), content_type=_FORM)
    else:
        answer = await order(rig, path=GENERATIONS, body=orjson.dumps(fields))

    assert answer.status == 200, answer.body
    assert len(answer.json()["data"]) == sent.images
    assert all(opened(base64.b64decode(one["b64_json"])) for one in answer.json()["data"] if "b64_json" in one)
    assert answer.header("x-gateway-note") == sent.note
    row = await rig.row()
    assert (row.images, row.charged) == (sent.images, rig.sandbox.billed)
    assert row.charged > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_lobechats_chat_for_image_models(rig: Rig, stream: bool) -> None:
    """``modalities`` is what asks for ``images``; the markdown is there in any case."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{as_base64(SOURCE)}"}}
    content = [{"type": "text", "text": PROMPT}, picture]
    messages = [{"role": "user", "content": content}]

    answer = await rig.chat(model="flux-dev", messages=messages, modalities=["image", "text"], stream=stream)

    [task] = bought(rig)
    assert task.json["task_type"] == "img2img"
    if stream:
        deltas = [orjson.loads(event)["choices"][0]["delta"] for event in answer.payloads[:-1]]
        shown = [image for delta in deltas for image in delta.get("images", [])]
        text = "".join(delta.get("content") or "" for delta in deltas)
    else:
        message = answer.json()["choices"][0]["message"]
        shown, text = message["images"], message["content"]
    [image] = shown
    assert image["type"] == "image_url"
    assert text == f"![image]({image['image_url']['url']})"
    assert (await rig.row()).charged == rig.sandbox.billed


@pytest.mark.parametrize("stream", [False, True])
async def test_images_stand_beside_a_relayed_chat_as_well(rig: Rig, stream: bool) -> None:
    messages = [{"role": "user", "content": PROMPT}]
    answer = await rig.chat(model="gpt-4o-image", messages=messages, modalities=["image", "text"], stream=stream)

    if stream:
        choices = [choice for event in answer.payloads[:-1] for choice in orjson.loads(event)["choices"]]
        shown = [image for choice in choices for image in choice["delta"].get("images", [])]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
    else:
        message = answer.json()["choices"][0]["message"]
        shown, text = message["images"], message["content"]
    [image] = shown
    assert f"({image['image_url']['url']})" in text
    assert (await rig.row()).charged == rig.sandbox.billed
