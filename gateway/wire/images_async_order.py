"""An order for images as PiAPI's asynchronous GPT-image routes read it: ``POST /api/v1/images/generations/async`` and
``/edits/async``, JSON both.

Source: piapi.ai/blogs/gpt-image-2-5-api-first-call-editing (after 2026-09-08): model, prompt, size, quality; other
words for quality than its own are refused with 400. What an edit's body looks like is not documented: pictures go as in
OpenAI's JSON form of edits, as links or data URLs (confidence: low; a refusal costs nothing). Whether ``n`` is taken is
not documented either, so an order makes one picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gateway.core.errors import ClientError
from gateway.core.images.gpt_image import gpt_image_quality
from gateway.core.images.ignored_fields import refused_by
from gateway.core.images.sizes import pixels_of
from gateway.core.images.task_order import TaskWebhook
from gateway.core.images.types import NEWEST_FORMATS, NEWEST_OPTIONS, ImagesRequest
from gateway.wire.field_checks import wrong_value
from gateway.wire.images_order import size_and_quality

GENERATIONS = "/api/v1/images/generations/async"
EDITS = "/api/v1/images/edits/async"

QUALITIES = ("auto", "low", "medium", "high")
"""What the routes take. They answer ``xhigh`` and ``max`` with 400, and ``standard``, which is written ``medium``."""


class AsyncOrder(NamedTuple):
    """The order as it goes upstream.

    ``size``, ``quality``: what the upstream is asked for; None where the choice is left to it.
    """

    path: str
    body: bytes
    size: str | None
    quality: str | None


def async_order(request: ImagesRequest, model: str, *, prompt: str, webhook: TaskWebhook | None) -> AsyncOrder:
    """Write the order for one picture. ``model``: PiAPI's name. ``webhook``: where the end is reported, if anywhere."""
    fields: dict[str, Any] = {**request.extras, "model": model, "prompt": prompt}
    fields |= size_and_quality(request, model)
    fields |= {name: value for name, value in request.options.items() if name not in refused_by(model)}
    if fields.get("size") == "auto":
        del fields["size"]
    size, quality = fields.get("size"), fields.get("quality")
    if request.images:
        fields["images"] = [{"image_url": source.as_url()} for source in request.images]
    if request.mask is not None:
        fields["mask"] = {"image_url": request.mask.as_url()}
    if webhook is not None:
        fields["config"] = {"webhook_config": {"endpoint": webhook.endpoint, "secret": webhook.secret}}
    path = EDITS if request.images or request.mask is not None else GENERATIONS
    return AsyncOrder(
        path,
        orjson.dumps(fields),
        size if pixels_of(size) is not None else None,
        None if quality == "auto" else quality,
    )


def async_quality_problem(request: ImagesRequest) -> ClientError | None:
    """Why the routes cannot be asked for the quality that was ordered; None if they can."""
    quality = request.quality
    if quality is None or gpt_image_quality(quality) in QUALITIES:
        return None
    return wrong_value("quality", f"of '{request.model}' it must be one of {', '.join(QUALITIES)}")


def takes_newest(request: ImagesRequest) -> bool:
    """Whether something is ordered that OpenAI's Images API has, and that these routes do not document."""
    options = request.options
    return any(name in options for name in NEWEST_OPTIONS) or options.get("output_format") in NEWEST_FORMATS
