"""The answers of an Images API: the events of its streams and its whole answers (OpenAI's, and relays' of it).

Every value is checked: an image must be valid base64 or a web link, a word one of OpenAI's, a figure plausible.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gateway.core.images.types import ImageFacts, MadeImage
from gateway.core.types import Usage
from gateway.wire.chat_pictures import pictures_of_chat
from gateway.wire.image_bytes import image_type
from gateway.wire.image_text import ImageText
from gateway.wire.picture_address import beginning
from gateway.wire.picture_parts import pictures_of_answer

EventKind = Literal["partial", "completed", "whole", "other"]

_QUALITIES = frozenset({"low", "medium", "high", "xhigh", "max"})
_BACKGROUNDS = frozenset({"transparent", "opaque"})
_FORMATS = frozenset({"png", "webp", "jpeg", "gif", "svg"})
_SIZE = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")

OUTPUT_TOKENS: Mapping[str, tuple[int, int]] = {"low": (272, 408), "medium": (1056, 1584), "high": (4160, 6240)}
"""Tokens of a square and of an oblong image of gpt-image-1 by quality
(https://platform.openai.com/docs/guides/image-generation, "Cost and latency")."""

_MOST_OUTPUT = 100_000
"""Tokens of one image that are believed; this leaves room for previews, a hundred tokens each, and for later models."""

_MOST_IMAGE_INPUT = 100_000
"""Tokens of one image sent in that are believed."""

_HIDDEN_INPUT = 30_000
"""Tokens a provider may add before the client's prompt."""


_USAGE_NAMES = (("input_tokens", "output_tokens"), ("prompt_tokens", "completion_tokens"))
"""The Images API's names, and chat's, which relays use here as well. A pair of zeros says less than the other pair."""


_OWN_FIELDS = frozenset(
    {
        *("created", "created_at", "data", "images", "usage", "size", "quality", "background", "output_format"),
        *("type", "b64_json", "url", "revised_prompt", "partial_image_index", "error", "choices", "code", "message"),
    }
)
"""Fields of an answer that the client's answer has from elsewhere, or should not have."""

_OF_EVENTS = frozenset({"id", "object", "item_id", "output_index", "sequence_number"})
"""Fields that name an event or its place, and say nothing of the image."""


_SPLIT = ("image_tokens", "text_tokens")


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
    """The first images of a whole answer, or of a completed event, each once. What is no image is left out.

    A document of another shape is searched too: an image may be in ``images``, in the fields of a task, or in a chat's
    message.
    """
    choices = document.get("choices")
    return pictures_of_chat(document).images if isinstance(choices, list) and choices else pictures_of_answer(document)


def words_in(document: dict[str, Any]) -> ImageText | None:
    """What a chat's message says that came in place of an answer about images; None if there is none."""
    choices = document.get("choices")
    return pictures_of_chat(document).text if isinstance(choices, list) and choices else None


def format_of(images: Sequence[MadeImage]) -> str | None:
    """The format that the images' bytes have, as OpenAI calls it; None if they are links, or of several formats."""
    kinds = {image_type(beginning(image.b64)) for image in images if image.b64 is not None}
    return next((kind for kind in kinds if kind in _FORMATS), None) if len(kinds) == 1 else None


def facts_in(document: dict[str, Any]) -> ImageFacts:
    """What an event or a whole answer says about its images; ``auto`` says nothing."""
    size = document.get("size")
    return ImageFacts(
        size=size if isinstance(size, str) and _SIZE.fullmatch(size) else None,
        quality=_one_of(document.get("quality"), _QUALITIES),
        background=_one_of(document.get("background"), _BACKGROUNDS),
        output_format=_one_of(document.get("output_format"), _FORMATS),
    )


def others_in(document: dict[str, Any]) -> dict[str, Any]:
    """The fields of an Images API's answer, or of the event that brings an image, that nothing here knows; those with
    images in them are left out.
    """
    kind = event_kind(document, None)
    if kind not in ("whole", "completed"):
        return {}
    known = _OWN_FIELDS if kind == "whole" else _OWN_FIELDS | _OF_EVENTS
    return {
        name: value
        for name, value in document.items()
        if name not in known and value is not None and not pictures_of_answer({"output": value, name: value})
    }


def usage_in(document: dict[str, Any], *, images_sent: int, images_asked: int, prompt_bytes: int) -> StatedUsage | None:
    """The ``usage`` of an event or a whole answer; None if it is missing or implausible.

    ``prompt_bytes``: of the prompt as it was sent; a token of text is at least one byte.
    """
    stated = document.get("usage")
    if not isinstance(stated, dict):
        return None
    most_input = prompt_bytes + _HIDDEN_INPUT + images_sent * _MOST_IMAGE_INPUT
    most_output = images_asked * _MOST_OUTPUT
    found = [
        (tokens, output)
        for names in _USAGE_NAMES
        if (tokens := _count(stated.get(names[0]), most_input)) is not None
        and (output := _count(stated.get(names[1]), most_output)) is not None
    ]
    if not found:
        return None
    tokens, output = next((one for one in found if any(one)), found[0])
    known = {"total_tokens", *(name + what for pair in _USAGE_NAMES for name in pair for what in ("", "_details"))}
    details, made = _details(stated, 0), _details(stated, 1)
    of_images = min(_count(details.get("image_tokens"), most_input) or 0, tokens)
    cached = min(_count(details.get("cached_tokens"), most_input) or 0, tokens)
    told = {name: value for name, value in details.items() if value is not None and name != "cached_tokens"}
    input_details: dict[str, Any] = {**told, "text_tokens": tokens - of_images, "image_tokens": of_images}
    if cached:
        input_details["cached_tokens"] = cached
    written: dict[str, Any] = {
        **{name: value for name, value in stated.items() if name not in known},
        "input_tokens": tokens,
        "input_tokens_details": input_details,
        "output_tokens": output,
        "total_tokens": tokens + output,
    }
    own_words = made is stated.get("output_tokens_details")  # a chat's have details that pictures have not
    split = {
        name: value
        for name, value in made.items()
        if (_count(value, output) is not None if name in _SPLIT else own_words and value is not None)
    }
    if split:
        written["output_tokens_details"] = split
    return StatedUsage(
        Usage(
            tokens,
            cached,
            output,
            image_input_tokens=of_images,
            image_output_tokens=_pictures_of(output, split),
            cache_write_tokens=min(_count(details.get("cache_write_tokens"), most_input) or 0, tokens - cached),
        ),
        written,
    )


def _pictures_of(output: int, split: Mapping[str, Any]) -> int:
    """The output tokens that are pictures: all that are not said to be text, as the split is often left out."""
    text, images = _count(split.get("text_tokens"), output) or 0, _count(split.get("image_tokens"), output) or 0
    return max(output - text, images)


def likely_output_tokens(size: str | None, quality: str | None) -> int:
    """Output tokens of one image of gpt-image-1.

    ``size``, ``quality``: None or an unknown word counts as the most expensive one.
    """
    square, oblong = OUTPUT_TOKENS.get(quality or "", OUTPUT_TOKENS["high"])
    return square if size == "1024x1024" else oblong


def _one_of(value: object, allowed: frozenset[str]) -> str | None:
    return value if isinstance(value, str) and value in allowed else None


def _details(stated: dict[str, Any], place: int) -> dict[str, Any]:
    """The details of the tokens sent (0) or made (1), under either name."""
    found = (stated.get(f"{names[place]}_details") for names in _USAGE_NAMES)
    return next((one for one in found if isinstance(one, dict) and one), {})


def _count(value: object, most: int) -> int | None:
    return value if type(value) is int and 0 <= value <= most else None
