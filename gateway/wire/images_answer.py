"""The answers of an Images API: the events of its streams and its whole answers (OpenAI's, and relays' of it).

Every value is checked: an image must be valid base64 or a web link, a word one of OpenAI's, a figure plausible.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

from gateway.core.images.types import MOST_READ, ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.wire.base64_text import is_base64

EventKind = Literal["partial", "completed", "whole", "other"]

_QUALITIES = frozenset({"low", "medium", "high", "xhigh", "max"})
_BACKGROUNDS = frozenset({"transparent", "opaque"})
_FORMATS = frozenset({"png", "webp", "jpeg"})
_SIZE = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")
_LINK = re.compile(r"https?://[^\s<>\x00-\x1f\x7f]+", re.IGNORECASE)
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,", re.IGNORECASE)

OUTPUT_TOKENS: Mapping[str, tuple[int, int]] = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
"""Tokens of a square and of an oblong image of gpt-image-1 by quality
(https://platform.openai.com/docs/guides/image-generation, "Cost and latency")."""

_MOST_OUTPUT = 100_000
"""Tokens of one image that are believed; this leaves room for previews, a hundred tokens each, and for later models."""

_MOST_IMAGE_INPUT = 100_000
"""Tokens of one image sent in that are believed."""

_HIDDEN_INPUT = 30_000
"""Tokens a provider may add before the client's prompt."""


class StatedUsage(NamedTuple):
    """The usage an upstream stated.

    ``usage``: the figures.
    ``document``: the same in OpenAI's form, complete, for the client.
    """

    usage: Usage
    document: dict[str, Any]


def event_kind(document: dict[str, Any], event: bytes | None) -> EventKind:
    """The kind of an event.

    ``event``: its name, or None; some relays leave out either the name or ``type``.
    """
    if isinstance(document.get("data"), list):
        return "whole"
    name = document.get("type")
    if not isinstance(name, str):
        name = (event or b"").decode("latin-1")
    family, _, what = name.rpartition(".")
    if family not in ("image_generation", "image_edit"):
        return "other"
    return "partial" if what == "partial_image" else "completed" if what == "completed" else "other"


def images_in(document: dict[str, Any]) -> tuple[MadeImage, ...]:
    """The first ``MOST_READ`` images of a whole answer. Items of its data that are no images are left out."""
    data = document.get("data")
    found: Iterator[MadeImage | None] = map(image_in, data if isinstance(data, list) else [])
    return tuple(islice((image for image in found if image is not None), MOST_READ))


def image_in(item: object) -> MadeImage | None:
    """The image of an item of a whole answer's data, or of a completed event; None if there is none."""
    if not isinstance(item, dict):
        return None
    text = item.get("revised_prompt")
    revised = text if isinstance(text, str) and text else None
    link, text = item.get("url"), item.get("b64_json")
    at_link = image_at(link, revised) if isinstance(link, str) else None
    b64 = base64_text(text) if isinstance(text, str) else None
    if b64 is None:
        return at_link
    return MadeImage(at_link.url if at_link is not None else None, b64, revised)


def image_at(address: str, revised_prompt: str | None = None) -> MadeImage | None:
    """The image behind a web link or in a data URL; None for any other address."""
    if _LINK.fullmatch(address):
        return MadeImage(address, None, revised_prompt)
    if _DATA_URL.match(address) and (b64 := base64_text(address)) is not None:
        return MadeImage(None, b64, revised_prompt)
    return None


def base64_text(text: str) -> str | None:
    """``text`` without a data URL's prefix and without line breaks; None if it is empty or is not base64."""
    if head := _DATA_URL.match(text):
        text = text[head.end() :]
    if "\n" in text or "\r" in text:
        text = "".join(text.split())
    return text if is_base64(text) else None


def facts_in(document: dict[str, Any]) -> ImageFacts:
    """What an event or a whole answer says about its images; ``auto`` says nothing."""
    size = document.get("size")
    return ImageFacts(
        size=size if isinstance(size, str) and _SIZE.fullmatch(size) else None,
        quality=_one_of(document.get("quality"), _QUALITIES),
        background=_one_of(document.get("background"), _BACKGROUNDS),
        output_format=_one_of(document.get("output_format"), _FORMATS),
    )


def usage_in(document: dict[str, Any], *, images_sent: int, images_asked: int, prompt_bytes: int) -> StatedUsage | None:
    """The ``usage`` of an event or a whole answer; None if it is missing or implausible.

    ``prompt_bytes``: of the prompt as it was sent; a token of text is at least one byte.
    """
    stated = document.get("usage")
    if not isinstance(stated, dict):
        return None
    most_input = prompt_bytes + _HIDDEN_INPUT + images_sent * _MOST_IMAGE_INPUT
    tokens = _count(stated.get("input_tokens"), most_input)
    output = _count(stated.get("output_tokens"), images_asked * _MOST_OUTPUT)
    if tokens is None or output is None:
        return None
    given = stated.get("input_tokens_details")
    details = given if isinstance(given, dict) else {}
    of_images = min(_count(details.get("image_tokens"), most_input) or 0, tokens)
    cached = min(_count(details.get("cached_tokens"), most_input) or 0, tokens)
    input_details: dict[str, Any] = {"text_tokens": tokens - of_images, "image_tokens": of_images}
    if cached:
        input_details["cached_tokens"] = cached
    return StatedUsage(
        Usage(tokens, cached, output, image_input_tokens=of_images),
        {
            "input_tokens": tokens,
            "input_tokens_details": input_details,
            "output_tokens": output,
            "total_tokens": tokens + output,
        },
    )


def likely_output_tokens(size: str | None, quality: str | None) -> int:
    """Output tokens of one image of gpt-image-1.

    ``size``, ``quality``: None or an unknown word counts as the most expensive one.
    """
    square, oblong = OUTPUT_TOKENS.get(quality or "", OUTPUT_TOKENS["high"])
    return square if size == "1024x1024" else oblong


def _one_of(value: object, allowed: frozenset[str]) -> str | None:
    return value if isinstance(value, str) and value in allowed else None


def _count(value: object, most: int) -> int | None:
    return value if type(value) is int and 0 <= value <= most else None
