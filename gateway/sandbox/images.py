"""gpt-image-1 over the Images API: base64 PNGs, usage, and streaming events with partial pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import orjson

from gateway.sandbox.answers import Answer, Event, EventStream, Sale, json_reply
from gateway.sandbox.http import Request
from gateway.sandbox.pictures import picture
from gateway.sandbox.refusals import refusal

_SIZES = ("1024x1024", "1536x1024", "1024x1536")
_QUALITIES = ("low", "medium", "high")
# Output tokens of a square and of an oblong picture, by quality (OpenAI's image token table, seen in its guide).
_TOKENS: Mapping[str, tuple[int, int]] = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
_TINT = re.compile(r"\W+")


def answer_images(request: Request, *, edit: bool, created: int) -> Answer:
    """``/v1/images/generations`` (JSON) and ``/v1/images/edits`` (multipart or JSON)."""
    fields, pictures = _fields(request)
    if fields is None or not isinstance(fields.get("prompt"), str):
        return refusal(400, message="Sandbox: a prompt is needed.")
    if edit and not pictures:
        return refusal(400, message="Sandbox: an image to edit is needed.")
    size = fields.get("size") if fields.get("size") in _SIZES else _SIZES[0]
    quality = fields.get("quality") if fields.get("quality") in _QUALITIES else "high"
    count = whole_number(fields.get("n"), 1, most=10)
    width, height = map(int, str(size).split("x"))
    prompt_words = len(fields["prompt"].split())
    output = count * _TOKENS[str(quality)][width != height]
    usage: dict[str, Any] = {
        "input_tokens": prompt_words + 323 * pictures,
        "input_tokens_details": {"text_tokens": prompt_words, "image_tokens": 323 * pictures},
        "output_tokens": output,
        "total_tokens": prompt_words + 323 * pictures + output,
    }
    model = str(fields.get("model") or "gpt-image-1")
    sale = Sale(model, usage["input_tokens"], 0, output, images=count, image_tokens=323 * pictures)
    data = [base64.b64encode(picture(width, height, created + number)).decode() for number in range(count)]
    told = {"created": created, "size": size, "quality": quality, "background": "opaque", "output_format": "png"}
    whole = json_reply(200, {**told, "data": [{"b64_json": item} for item in data], "usage": usage}, sale=sale)
    if str(fields.get("stream")).lower() != "true":
        return whole
    partial = whole_number(fields.get("partial_images"), 0, most=3)
    told = {**told, "created_at": told.pop("created")}
    return EventStream(_events("image_edit" if edit else "image_generation", told, data, usage, partial), whole, sale)


def _events(
    family: str, told: dict[str, Any], data: list[str], usage: Mapping[str, Any], partial: int
) -> Iterator[Event]:
    """Partial pictures, then the finished ones; no ``[DONE]`` (OpenAI's images streaming reference)."""

    def event(kind: Any, name: str, **content: Any) -> Event:
        full = f"{family}.{name}"
        goods = {"tokens": int(usage["output_tokens"]) // len(data), "images": 1} if kind == "content" else {}
        return Event(orjson.dumps({"type": full, **content, **told}), kind, name=full.encode(), **goods)

    for item in data:
        for index in range(partial):
            yield event("other", "partial_image", b64_json=item, partial_image_index=index)
        yield event("content", "completed", b64_json=item, usage=usage)


def whole_number(value: object, usual: int, *, most: int) -> int:
    """A number as JSON or a form field carries it; ``usual`` for what is none or not from 1 to ``most``."""
    if type(value) is str and value.isascii() and value.isdigit():
        value = int(value[:9])
    return value if type(value) is int and 1 <= value <= most else usual


def _fields(request: Request) -> tuple[dict[str, Any] | None, int]:
    """The fields, and how many picture parts came with them; None for a body that is neither JSON nor multipart."""
    content_type = request.get(b"content-type") or b""
    if content_type.startswith(b"multipart/form-data"):
        parsed = BytesParser(policy=HTTP).parsebytes(b"content-type: " + content_type + b"\r\n\r\n" + request.body)
        fields: dict[str, Any] = {}
        pictures = 0
        for part in parsed.iter_parts():
            name = str(part.get_param("name", "", "content-disposition"))
            if part.get_filename() is not None:
                pictures += name in ("image", "image[]")
            else:
                payload = part.get_payload(decode=True)
                fields[name] = payload.decode(errors="replace") if isinstance(payload, bytes) else ""
        return fields, pictures
    try:
        content = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return None, 0
    if not isinstance(content, dict):
        return None, 0
    images = content.get("images")
    return content, len(images) if isinstance(images, list) else 0
