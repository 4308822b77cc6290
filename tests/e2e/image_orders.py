"""What the tests of images share: images to send, what was bought upstream for them, what came back."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from openai.types import ImagesResponse
from PIL import Image

from gateway.sandbox.wire.requests import RecordedRequest

from .harness import PIAPI_KEY, PROMPT, Rig, get

CHAT, GENERATIONS, EDITS, TASK = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits", "/api/v1/task"
SCHNELL, DEV, ADVANCED = "Qubico/flux1-schnell", "Qubico/flux1-dev", "Qubico/flux1-dev-advanced"

IMAGE = 20_000_000
"""Nano-dollars of an answer of gpt-4o-image with an image."""

FLUX_PRICES = {SCHNELL: 2_000_000, DEV: 15_000_000, ADVANCED: 20_000_000}
"""Nano-dollars of one image."""

LORA: dict[str, Any] = {"lora_settings": [{"lora_type": "mjv6", "lora_strength": 0.8}]}
CONTROL: dict[str, Any] = {
    "control_net_settings": [
        {
            "control_type": "depth",
            "control_image": "https://example.com/depth.png",
            "control_strength": 0.45,
            "return_preprocessed_image": True,
        }
    ]
}

EDITED = (1152, 864)
"""The size of what Kontext makes of an image of 64 × 48 pixels: as large as Flux's pictures are, in that shape."""

BACKUP_ONLY = """
upstreams: {piapi: {keys: []}}
models:
  flux-dev:
    targets:
    - upstream: backup
      model: gpt-image-2.6-flare
      operation: images
"""
"""PiAPI is off, and flux-dev is sold by the backup's Images API as well."""


def image(width: int = 64, height: int = 48, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A PNG in one colour."""
    return _encoded(Image.new("RGB", (width, height), colour))


def mask(width: int = 64, height: int = 48) -> bytes:
    """A PNG whose left half is transparent: that is to be painted anew."""
    stencil = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    stencil.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    return _encoded(stencil)


def _encoded(made: Image.Image) -> bytes:
    written = io.BytesIO()
    made.save(written, "PNG")
    return written.getvalue()


def opened(data: bytes) -> Image.Image:
    """The image, once it is known to be a whole PNG."""
    found = Image.open(io.BytesIO(data), formats=["PNG"])
    found.load()
    return found


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str | None) -> bytes:
    """Bytes of base64 text, or of a data URL."""
    assert text
    return base64.b64decode(text.rpartition(",")[2], validate=True)


SOURCE, OTHER_SOURCE, MASK = image(), image(colour=(30, 30, 200)), mask()


async def delivered(answer: ImagesResponse) -> list[Image.Image]:
    """The images of an answer: fetched where they are links, decoded where they are base64."""
    assert answer.data
    assert all((one.url is None) is not (one.b64_json is None) for one in answer.data)
    return [opened(await get(one.url) if one.url else from_base64(one.b64_json)) for one in answer.data]


def bought(rig: Rig) -> list[RecordedRequest]:
    """The requests that buy something, in their order: no polls, no fetches of results, no account pages."""
    return [request for request in rig.sandbox.requests if request.method == "POST"]


def tokens_price(prompt: str = PROMPT, *, sources: int = 0, images: int = 1) -> int:
    """Nano-dollars of squares of gpt-image-1 of medium quality, after what the sandbox says they take: a token a word
    at $5, 323 tokens an image sent in at $10, 1,056 an image made at $40 per 1,000,000."""
    return len(prompt.split()) * 5_000 + sources * 323 * 10_000 + images * 1056 * 40_000


LATER = "gpt-image-2.6-flare"
"""What the backup draws with in the place of gpt-image-1, which OpenAI no longer has, and of gpt-4o-image."""


def later_price(prompt: str = PROMPT, *, sources: int = 0) -> int:
    """Nano-dollars of a square of that of medium quality: a token a word at $5, 323 tokens an image sent in at $8, 439
    an image made at $30 per 1,000,000."""
    return len(prompt.split()) * 5_000 + sources * 323 * 8_000 + 439 * 30_000


@dataclass(frozen=True)
class Cell:
    """A cell of the table of routes and models.

    ``buys``: the upstream's path. ``task_type``, ``flux``: of a task, with PiAPI's name for the model. ``extra``: of
    the request. ``masked``: a mask comes along. ``cost``: nano-dollars. ``pixels``: of the image that comes.
    """

    model: str
    buys: str
    cost: int
    task_type: str = ""
    flux: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    masked: bool = False
    pixels: tuple[int, int] = (1024, 1024)
    upstream: str = "piapi"

    def __str__(self) -> str:
        return "-".join(filter(None, (self.model, self.task_type, self.upstream if self.upstream == "backup" else "")))


def flux(
    model: str, task_type: str, name: str, /, *, masked: bool = False, pixels: Sequence[int] = (), **extra: Any
) -> Cell:
    """A task, under the name ``model``; ``name`` is PiAPI's own. Without ``pixels`` its image is as large as the one
    it works on, or as ``usual`` says."""
    usual = {"txt2img": (1024, 1024), "txt2img-lora": (1024, 1024), "kontext": EDITED}
    made = tuple(pixels) or usual.get(task_type, (64, 48))
    return Cell(model, TASK, FLUX_PRICES[name], task_type, name, extra, masked, (made[0], made[1]))


def relayed(model: str, path: str, cost: int, upstream: str = "piapi") -> Cell:
    """A sale by an Images API."""
    return Cell(model, path, cost, upstream=upstream)


def by_the_backup(path: str, cost: int) -> tuple[Cell, ...]:
    """One model of each kind, sold by the backup's Images API."""
    return tuple(relayed(model, path, cost, "backup") for model in ("gpt-4o-image", "gpt-image-1", "flux-dev"))


def cells(*wanted: Cell) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cell", wanted, ids=str)


def check_what_was_bought(rig: Rig, cell: Cell) -> RecordedRequest:
    """One order, to the right place, for the right model."""
    [order] = bought(rig)
    assert (order.path, order.role) == (cell.buys, "backup" if cell.upstream == "backup" else "api")
    if cell.task_type:
        assert (order.json["model"], order.json["task_type"]) == (cell.flux, cell.task_type)
        assert order.key == PIAPI_KEY
    else:
        relay = LATER if cell.upstream == "backup" else "gpt-image-1"
        assert order.model == ("gpt-4o-image" if cell.buys == CHAT else relay)
    return order


async def check_books(rig: Rig, cell: Cell, *, images: int = 1) -> None:
    """One exchange, with the right charge, and the same in the metrics and on the sandbox's bill."""
    row = await rig.row()
    assert (row.model, row.upstream, row.images) == (cell.model, cell.upstream, images)
    assert (row.charged, row.upstream_cost, row.status, row.state) == (cell.cost, cell.cost, 200, "settled")
    assert rig.sandbox.billed == cell.cost
    labels = {"model": cell.model, "upstream": cell.upstream, "key": "alice"}
    assert (await rig.figures()).total("gateway_images_total", **labels) == images
