"""The pictures that stand in fields of an answer: beside a chat's text, as parts of it, or as an Images API's data.

Vendors and relays name these fields in many ways: ``images`` with ``image_url.url`` (OpenRouter), parts of the types
``image_url``, ``output_image`` and ``image``, ``inline_data`` (Google), ``source`` (Anthropic), ``data`` with ``url``
or ``b64_json`` (OpenAI's Images API), ``result`` (its calls in Responses). A name is only a hint where to look: what
is taken must be a web link, a data URL, or base64 of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from gateway.core.images.types import MOST_READ, MadeImage
from gateway.wire.base64_text import standard_base64
from gateway.wire.picture_address import picture_at, picture_of

_LINKS = ("url", "image_url", "imageUrl", "uri", "file_uri", "fileUri", "link", "href", "src", "download_url")
_BYTES = ("b64_json", "base64", "b64", "image_base64", "imageBase64", "bytesBase64Encoded")
_PERHAPS_BYTES = ("data", "result", "image", "output", "file_data")
"""Fields that may hold a text of any kind: only base64 that begins like a picture counts."""

_ONE = (
    "image_url",
    "imageUrl",
    "image",
    "source",
    "inline_data",
    "inlineData",
    "file_data",
    "fileData",
    "file",
    "item",
    "response",
    "result",
    "output_image",
)
_SEVERAL = (
    "images",
    "data",
    "image_urls",
    "imageUrls",
    "urls",
    "output",
    "results",
    "content",
    "artifacts",
    "candidates",
    "parts",
    "predictions",
)
_DEEPEST = 8
_MOST_FIELDS = 1000
"""Items of one list that are looked at; no answer has as many pictures."""

_WORDS_OF_A_PART = ("text", "content")
_THOUGHTS = ("reasoning_content", "reasoning")
_THINKING = frozenset({"thinking", "reasoning", "thought"})
_NO_ANSWER = ("error", "choices")


class Spoken(NamedTuple):
    """What one delta or message of a chat says.

    ``words``: its text. ``refusal``: what it says in the field for refusals. ``thoughts``: its reasoning.
    ``pictures``: those beside the text, and those that are parts of it.
    """

    words: str = ""
    refusal: str = ""
    thoughts: str = ""
    pictures: tuple[MadeImage, ...] = ()


def spoken(message: dict[str, Any]) -> Spoken:
    """Read a delta or a message. Accepts any object and never raises."""
    content, refusal = message.get("content"), message.get("refusal")
    thoughts = next((text for name in _THOUGHTS if isinstance(text := message.get(name), str) and text), "")
    refused = refusal if isinstance(refusal, str) else ""
    found: list[MadeImage] = []
    if not isinstance(content, list | dict):
        words = content if isinstance(content, str) else ""
    else:
        pieces: list[str] = []
        for part in content if isinstance(content, list) else [content]:
            _read_part(part, pieces, found)
        words = "".join(pieces)
    for name in ("images", "image", "image_url", "image_urls", "attachments", "b64_json"):
        if value := message.get(name):
            found += _pictures(value, _DEEPEST) if name != "b64_json" else _pictures({name: value}, _DEEPEST)
    return Spoken(words, refused, thoughts, each_once(found) if found else ())


def pictures_of_answer(document: dict[str, Any]) -> tuple[MadeImage, ...]:
    """The first ``MOST_READ`` pictures of a whole answer, or of an event, that is no chat's. Two equal ones of one list
    are two; one that a second field names again is one.

    Empty for an error, and for an event that brings a preview.
    """
    if any(document.get(name) for name in _NO_ANSWER):
        return ()
    kind = document.get("type")
    if isinstance(kind, str) and "partial" in kind:
        return ()
    return tuple(islice(_pictures(document, _DEEPEST), MOST_READ))


def each_once(pictures: Iterable[MadeImage]) -> tuple[MadeImage, ...]:
    """The first ``MOST_READ`` pictures, each once: some relays repeat them in a later event, or in another field."""
    known: dict[str, MadeImage] = {}
    for picture in pictures:
        known.setdefault(picture.b64 or picture.url or "", picture)
    return tuple(islice(known.values(), MOST_READ))


def _read_part(part: object, pieces: list[str], found: list[MadeImage]) -> None:
    """Take the text of a part of a content, or the pictures in it."""
    if isinstance(part, str):
        pieces.append(part)
    elif isinstance(part, dict):
        kind = part.get("type")
        if (isinstance(kind, str) and kind in _THINKING) or part.get("thought") is True:
            return
        made = list(_pictures(part, _DEEPEST))
        found += made
        text = next((text for name in _WORDS_OF_A_PART if isinstance(text := part.get(name), str)), "")
        if text and not (made and kind != "text"):
            pieces.append(text)


def _pictures(value: object, levels: int) -> Iterator[MadeImage]:
    if isinstance(value, str):
        if (made := picture_of(value)) is not None:
            yield made
    elif levels and isinstance(value, list):
        for item in islice(value, _MOST_FIELDS):
            yield from _pictures(item, levels - 1)
    elif levels and isinstance(value, dict):
        yield from _pictures_of_fields(value, levels)


def _pictures_of_fields(fields: dict[str, Any], levels: int) -> Iterator[MadeImage]:
    own = _own_picture(fields)
    known: set[str] = set()
    if own is not None:
        known.update(filter(None, (own.url, own.b64)))
        yield own
    for name in (*_SEVERAL, *(_ONE if own is None else ())):
        if isinstance(inner := fields.get(name), list | dict):
            found = [one for one in _pictures(inner, levels - 1) if not known & {one.url, one.b64}]
            for one in found:
                known.update(filter(None, (one.url, one.b64)))
            yield from found


def _own_picture(fields: dict[str, Any]) -> MadeImage | None:
    """The picture whose link, bytes or both are fields of an object itself."""
    words = fields.get("revised_prompt")
    revised = words if isinstance(words, str) and words else None
    made: MadeImage | None = None
    for name in (*_LINKS, *_BYTES, *_PERHAPS_BYTES):
        text = fields.get(name)
        if not isinstance(text, str) or not text or (made is not None and name in _PERHAPS_BYTES):
            continue
        one = picture_of(text) if name in _PERHAPS_BYTES or name in _LINKS else _bytes_or_link(text)
        if one is not None:
            made = MadeImage(made.url or one.url, made.b64 or one.b64) if made is not None else one
    return None if made is None else MadeImage(made.url, made.b64, revised)


def _bytes_or_link(text: str) -> MadeImage | None:
    """What a field for base64 holds: that, a data URL, or the link that some relays put there."""
    made = picture_at(text)
    if made is None and text.lstrip()[:5].lower() != "data:":
        b64 = standard_base64(text)
        made = None if b64 is None else MadeImage(None, b64)
    return made
