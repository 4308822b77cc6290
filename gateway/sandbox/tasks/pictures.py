"""PiAPI's asynchronous GPT-image routes, simulated: ``POST /api/v1/images/generations/async`` and ``/edits/async``.

They answer with a task at the top level, without PiAPI's envelope, and are asked after like any task
(piapi.ai/blogs/gpt-image-2-5-api-first-call-editing). What an edit's body looks like is not documented: here it is JSON
with OpenAI's ``images: [{"image_url": …}]``. The texts of refusals are the sandbox's own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.sandbox.images.gpt_image_tokens import gpt_image_tokens
from gateway.sandbox.images.png import image_by_name, image_name
from gateway.sandbox.wire.answers import Sale
from gateway.sandbox.wire.options import Options

MODELS = ("gpt-image-2.5-flare", "gpt-image-2.5-sunburst")
PATHS: Mapping[str, str] = {
    "/api/v1/images/generations/async": "gpt-image-generation",
    "/api/v1/images/edits/async": "gpt-image-edit",
}
"""The routes, and the type of the tasks they make."""

_QUALITIES = ("auto", "low", "medium", "high")
_FIELDS = frozenset(
    {
        *("model", "prompt", "size", "quality", "images", "mask", "config"),
        *("background", "output_format", "output_compression", "moderation", "input_fidelity"),
    }
)
_SIZE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})")
_SOURCE_TOKENS = 323  # for each picture sent in
_MOST_SOURCES = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """An order that was taken. ``site``: where its picture can be fetched."""

    model: str
    prompt: str
    width: int
    height: int
    quality: str
    sources: int
    site: str

    @property
    def name(self) -> str:
        return image_name(self.prompt, self.width, self.height)

    @property
    def usage(self) -> dict[str, Any]:
        words, sources = len(self.prompt.split()), _SOURCE_TOKENS * self.sources
        output = gpt_image_tokens(self.model, self.quality, self.width, self.height)
        return {
            "input_tokens": words + sources,
            "input_tokens_details": {"text_tokens": words, "image_tokens": sources},
            "output_tokens": output,
            "output_tokens_details": {"image_tokens": output, "text_tokens": 0},
            "total_tokens": words + sources + output,
        }

    @property
    def sale(self) -> Sale:
        usage = self.usage
        return Sale(
            model=self.model,
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            images=1,
            image_tokens=usage["input_tokens_details"]["image_tokens"],
        )

    def output(self, options: Options) -> dict[str, Any]:
        """The task's output once it is done."""
        link = f"{self.site}/files/{self.name}"
        b64 = base64.b64encode(image_by_name(self.name) or b"").decode()
        item = {"url": link} if options.picture in ("url", "images") else {"b64_json": b64}
        told = {"size": f"{self.width}x{self.height}", "quality": self.quality, "output_format": "png"}
        spent = {"usage": self.usage} if options.usage else {}
        return {"created": 0, ("images" if options.picture == "images" else "data"): [item], **told, **spent}


def picture_problem(fields: object, *, edit: bool) -> str | None:
    """What is wrong with an order, or None."""
    if not isinstance(fields, dict):
        return "Sandbox: the body is not a JSON object"
    if unknown := sorted(fields.keys() - _FIELDS):
        return f"Sandbox: unknown field {unknown[0][:80]!r}"
    if fields.get("model") not in MODELS:
        return f"Sandbox: the asynchronous routes have only {', '.join(MODELS)}"
    if not isinstance(fields.get("prompt"), str) or not fields["prompt"].strip():
        return "Sandbox: a prompt is needed"
    if fields.get("quality", "auto") not in _QUALITIES:
        return f"Sandbox: quality must be one of {', '.join(_QUALITIES)}"
    size = fields.get("size", "1024x1024")
    if not isinstance(size, str) or _SIZE.fullmatch(size) is None:
        return "Sandbox: size must be WIDTHxHEIGHT"
    images = fields.get("images", [])
    fit = isinstance(images, list) and all(isinstance(one, dict) and one.get("image_url") for one in images)
    if not fit or not (1 <= len(images) <= _MOST_SOURCES if edit else not images):
        return "Sandbox: an edit takes from 1 to 16 images, a generation none"
    return None


def picture_of(fields: Mapping[str, Any], site: str) -> Picture:
    """The picture a good order is for."""
    match = _SIZE.fullmatch(fields.get("size", "1024x1024"))
    assert match is not None
    quality = fields.get("quality", "auto")
    return Picture(
        model=fields["model"],
        prompt=fields["prompt"],
        width=int(match[1]),
        height=int(match[2]),
        quality="medium" if quality == "auto" else quality,
        sources=len(fields.get("images", [])) + ("mask" in fields),
        site=site,
    )
