"""gpt-image-1 over the Images API: base64 PNGs, usage, and streaming events with partial images.

PiAPI's relay (the roles ``api`` and ``proxy``) only streams; the backup does both. A stream brings one image.

Models after gpt-image-1 take any size and more qualities, and fields that this sandbox need not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.sandbox.images.gpt_image_tokens import gpt_image_tokens
from gateway.sandbox.images.picture_forms import ANSWERS, ITEMS, Picture
from gateway.sandbox.images.png import image_name
from gateway.sandbox.wire.answers import DONE, Answer, Event, EventStream, Json, Reply, Sale, json_reply
from gateway.sandbox.wire.errors import error_reply
from gateway.sandbox.wire.forms import is_form
from gateway.sandbox.wire.options import Options
from gateway.sandbox.wire.requests import RecordedRequest

_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_QUALITIES = ("low", "medium", "high")
_PIXELS = re.compile(r"[1-9][0-9]{1,3}x[1-9][0-9]{1,3}")
_LATER_MODELS = ("gpt-image-2", "gpt-image-3")
_DEFAULT_MODEL = "gpt-image-1"
_SOURCE_TOKENS = 323  # for each image sent in
_MOST_SOURCES = 16
_FILES = ("image", "image[]", "mask", "markup")


@dataclass(frozen=True, slots=True)
class _ResolvedOrder:
    """An order as it is carried out: its ``size`` and ``quality`` are no longer ``auto``.

    ``family``: the beginning of its events' names. ``partial``: previews for each image. ``sources``: images sent in.
    """

    family: str
    model: str
    prompt: str
    size: str
    quality: str
    count: int
    partial: int
    sources: int

    @property
    def sides(self) -> tuple[int, int]:
        width, _, height = self.size.partition("x")
        return int(width), int(height)

    @property
    def names(self) -> Iterator[str]:
        return (image_name(f"{self.prompt}{number}", *self.sides) for number in range(self.count))

    def usage(self, cached: int) -> dict[str, Any]:
        width, height = self.sides
        words, sources = len(self.prompt.split()), _SOURCE_TOKENS * self.sources
        output = self.count * gpt_image_tokens(self.model, self.quality, width, height)
        details = {"text_tokens": words, "image_tokens": sources}
        if cached:
            details["cached_tokens"] = min(cached, words + sources)
        return {
            "input_tokens": words + sources,
            "input_tokens_details": details,
            "output_tokens": output,
            "total_tokens": words + sources + output,
        }


def answer_images(request: RecordedRequest, options: Options, *, edit: bool, created: int, site: str) -> Answer:
    """The answer to ``/v1/images/generations`` (JSON) and ``/v1/images/edits`` (multipart or JSON).

    ``site``: this sandbox's base URL, for the links of ``link=1``.
    """
    fields, sources = _fields(request)
    if fields is None:
        return error_reply(400, message="Sandbox: the body is neither a JSON object nor a form.")
    streamed = str(fields.get("stream")).lower() == "true"
    problem = _problem(fields) or _wrong_sources(fields, sources, edit=edit) or _wrong_stream(fields, streamed=streamed)
    if problem is None and request.role != "backup" and not streamed:
        problem = error_reply(400, message="Sandbox: Can only be used in stream mode")
    if problem is not None:
        return problem
    size, quality = (str(fields.get(name) or "auto") for name in ("size", "quality"))
    order = _ResolvedOrder(
        family="image_edit" if edit else "image_generation",
        model=str(fields.get("model") or _DEFAULT_MODEL),
        prompt=fields["prompt"],
        size=size if _PIXELS.fullmatch(size) else _SIZES[0],
        quality="medium" if quality == "auto" else quality,
        count=_number(fields.get("n"), least=1, most=10) or 1,
        partial=_number(fields.get("partial_images"), least=0, most=3) or 0,
        sources=sources,
    )
    answer = _answer(order, options, created, site)
    return answer if streamed and not options.whole else answer.whole


def _answer(order: _ResolvedOrder, options: Options, created: int, site: str) -> EventStream:
    usage = order.usage(options.cached)
    details = usage["input_tokens_details"]
    sale = Sale(
        model=order.model,
        input_tokens=usage["input_tokens"],
        cached_tokens=details.get("cached_tokens", 0),
        output_tokens=usage["output_tokens"],
        images=order.count,
        image_tokens=details["image_tokens"],
    )
    told: dict[str, Any] = {
        "size": order.size,
        "quality": order.quality,
        "background": "opaque",
        "output_format": "png",
    }
    spent = {"usage": _in_chats_words(usage) if options.words == "chat" else usage} if options.usage else {}
    if options.form in ANSWERS:
        document = {"created": created, **ANSWERS[options.form](Picture(f"{site}/files/{next(order.names)}")), **spent}
        one = Event(orjson.dumps(document), "content", sale.output_tokens, 1)
        return EventStream([one, DONE], json_reply(200, document, sale=sale), sale)
    data = [_item(name, site, options) for name in order.names]
    whole = json_reply(200, {"created": created, **told, "data": data, **spent}, sale=sale)
    return EventStream(_events(order, {"created_at": created, **told}, data, spent, sale.output_tokens), whole, sale)


def _item(name: str, site: str, options: Options) -> dict[str, Any]:
    """One image: a link below ``site``, or base64, or in a form of picture_forms.py."""
    picture = Picture(f"{site}/files/{name}")
    if options.form in ITEMS:
        item: dict[str, Any] = ITEMS[options.form](picture)
        return item
    return {"url": picture.url} if options.link else {"b64_json": picture.b64}


def _in_chats_words(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt_tokens": usage["input_tokens"],
        "prompt_tokens_details": usage["input_tokens_details"],
        "completion_tokens": usage["output_tokens"],
        "completion_tokens_details": {"image_tokens": usage["output_tokens"], "reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }


def _events(order: _ResolvedOrder, told: Json, data: list[dict[str, Any]], spent: Json, tokens: int) -> Iterator[Event]:
    """Partial images, then the finished ones; no ``[DONE]`` (OpenAI's images streaming reference).

    Each finished one comes with the usage of them all.
    """
    for item in data:
        for index in range(order.partial):
            name = f"{order.family}.partial_image"
            content = {**item, "type": name, **told, "partial_image_index": index}
            yield Event(orjson.dumps(content), "other", name=name.encode())
        name = f"{order.family}.completed"
        content = {**item, "type": name, **told, **spent}
        yield Event(orjson.dumps(content), "content", tokens // len(data), 1, name.encode())


def _problem(fields: Json) -> Reply | None:
    """The refusal of an order OpenAI would refuse, or None."""
    if not isinstance(fields.get("prompt"), str) or not fields["prompt"].strip():
        return error_reply(400, message="Sandbox: a prompt is needed.", param="prompt")
    model = str(fields.get("model") or _DEFAULT_MODEL)
    if not model.startswith("gpt-image-"):
        return error_reply(404, message=f"Sandbox: the model `{model[:80]}` does not exist.")
    for name in ("response_format", "style"):
        if name in fields:
            return error_reply(
                400, code="unknown_parameter", message=f"Sandbox: Unknown parameter: '{name}'.", param=name
            )
    if model.startswith(_LATER_MODELS):
        wanted = fields.get("size")
        return None if wanted in (None, "auto") or _PIXELS.fullmatch(str(wanted)) else _no_size(fields)
    for name, known in (("size", _SIZES), ("quality", _QUALITIES)):
        if fields.get(name) not in (None, "auto", *known):
            message = f"Sandbox: Invalid value: '{str(fields[name])[:80]}'. Supported: {', '.join(known)}, auto."
            return error_reply(400, code="invalid_value", message=message, param=name)
    for name, least, most in (("n", 1, 10), ("partial_images", 0, 3)):
        if fields.get(name) is not None and _number(fields[name], least=least, most=most) is None:
            message = f"Sandbox: '{name}' is from {least} to {most}."
            return error_reply(400, code="invalid_value", message=message, param=name)
    return None


def _no_size(fields: Json) -> Reply:
    message = f"Sandbox: Invalid size '{str(fields['size'])[:80]}'. Expected WIDTHxHEIGHT or auto."
    return error_reply(400, code="invalid_value", message=message, param="size")


def _wrong_stream(fields: Json, *, streamed: bool) -> Reply | None:
    if streamed and (_number(fields.get("n"), least=1, most=10) or 1) > 1:
        message = "Sandbox: Streaming is only supported with n=1."
        return error_reply(400, code="invalid_value", message=message, param="n")
    return None


def _wrong_sources(fields: Json, sources: int, *, edit: bool) -> Reply | None:
    if edit and not 1 <= sources <= _MOST_SOURCES:
        return error_reply(400, message=f"Sandbox: from 1 to {_MOST_SOURCES} images to edit are needed.", param="image")
    if not edit and (sources or "mask" in fields):
        return error_reply(400, code="unknown_parameter", message="Sandbox: Unknown parameter: 'image'.", param="image")
    return None


def _number(value: object, *, least: int, most: int) -> int | None:
    """A whole number within bounds, from JSON or a form field; None for any other value."""
    if type(value) is str and value.isascii() and value.isdigit():
        value = int(value[:9])
    return value if type(value) is int and least <= value <= most else None


def _fields(request: RecordedRequest) -> tuple[dict[str, Any] | None, int]:
    """A request's fields, and how many images to edit came with them; None if it is neither JSON nor form."""
    if is_form(request.get(b"content-type") or b""):
        form = request.form
        if form is None or any(file.name not in _FILES for file in form.files):
            return None, 0
        return dict(form.fields), sum(file.name not in ("mask", "markup") for file in form.files)
    content = request.json
    if not isinstance(content, dict):
        return None, 0
    images = content.get("images")
    links = [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    return content, sum(isinstance(image.get("image_url"), str) for image in links)
