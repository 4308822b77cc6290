"""How many tokens a chat request has, for reservations, limits, and answers whose upstream states no usage.

The rules are OpenAI's: three tokens around each message, one for a name, three to prime the answer (OpenAI cookbook,
"How to count tokens with tiktoken"); images by tiles (https://platform.openai.com/docs/guides/images-vision,
"Calculating costs"). Where a rule is not published (tools, files, sound), what is sent is counted as text.

Messages hold what the client wrote, in any shape: the upstream judges it, and counting it never fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway.wire.chat_request import CHAT_PARAMETERS

_PER_MESSAGE = 3
_PER_NAME = 1
_PRIMING = 3
# gpt-4o's figures: 85 for an image, 170 for each tile of 512 pixels in high detail. An image of unknown size is
# taken for 1024 x 1024, which is scaled to 768 x 768: four tiles.
_IMAGE = 85
_TILE = 170
_TILES_OF_UNKNOWN_SIZE = 4
_BYTES_PER_TOKEN = 4

MOST_COUNTED = 1 << 18
"""Characters that are counted for one request or answer; of a longer text a sample of this length is counted. The
slowest text takes 0.3 µs a character, hence 80 ms, during which no other request is served."""

_CALL = 16
"""The cost of counting one more text, in characters."""

# Fields the model reads beside the messages, written as JSON.
_SHOWN_AS_JSON = ("tools", "functions", "response_format")
_IMAGES = ("image_url", "input_image", "image")
_TEXTS_OF_MESSAGE = ("role", "name", "content", "refusal", "tool_call_id")
_CALLS_OF_MESSAGE = ("tool_calls", "function_call")


def rough_tokens(n_bytes: int) -> int:
    """Tokens in ``n_bytes`` of English or JSON, to within a factor of two: four bytes each."""
    return -(-n_bytes // _BYTES_PER_TOKEN)


COUNTED_EXACTLY = 32 * 1024
"""Bytes of text up to which counting takes a few milliseconds."""

_OPENAIS = ("gpt-", "chatgpt-", "o1", "o3", "o4")
_DEAREST_IMAGE = 4_000
_DEAREST_IMAGE_MINI = 48_169
"""Tokens of the largest image in high detail: 85 and 170 a tile (at most 8) for gpt-4o, up to 1,536 patches times
2.46 for the small models of gpt-4.1, 2,833 and 5,667 a tile for gpt-4o-mini (OpenAI's guide "Images and vision").
"""

_DEAREST_MEDIUM = 128_000
"""Tokens assumed for a file, a recording or a film of which a request holds no more than its link or id: a whole
context window of gpt-4o."""

_MEDIA = ("file", "document", "video", "audio", "media")
_LINKS = ("url", "uri", "fileid")


def text_of_request(body: dict[str, Any]) -> list[str]:
    """Every text in a chat request that the model reads.

    ``body``: has passed ``parse_chat_request``.
    """
    pieces = [piece for message in body["messages"] for piece in _text_of_message(message)]
    pieces.extend(orjson.dumps(body[name]).decode() for name in _SHOWN_AS_JSON if body.get(name))
    return pieces


def count_input(body: dict[str, Any], count: Callable[[str], int]) -> int:
    """Input tokens of a chat request. Images are counted by OpenAI's rule, not fetched.

    ``count``: counts a text's tokens and bounds its own work for each.

    To bound the total work, a request of more than ``MOST_COUNTED`` characters, or of a great many small texts, is
    counted as one text, which is an estimate.
    """
    messages = body["messages"]
    texts = text_of_request(body)
    if sum(map(len, texts)) + _CALL * len(texts) > MOST_COUNTED:
        texts = [" ".join(texts)]  # with a blank before it a word is one token still
    tokens = _PRIMING + sum(map(count, texts))
    for message in messages:
        tokens += _PER_MESSAGE + (_PER_NAME if message.get("name") else 0)
        tokens += sum(_image_tokens(part) for part in _parts(message))
    return tokens


def within(context: int | None, tokens: int) -> int:
    """``tokens``, but no more than the model's context window has, if that is known: what is longer is refused, or cut
    by the upstream.
    """
    return tokens if context is None else min(tokens, context)


def most_input(body: dict[str, Any], count: Callable[[str], int], model: str, context: int | None = None) -> int:
    """The most input tokens of a chat request, for reservations, which must not be too low.

    ``model``: the upstream's name. ``context``: tokens of its context window, beyond which there is nothing to bill;
    None if it is not known.

    Short texts are counted, as in ``count_input``; for long ones their bytes count, since no text has more tokens than
    bytes, and a sample could be chosen to deceive. So do the bytes of files and sounds, and of what is not known here:
    fields, parts, contents that are no text. Images count as the most expensive the model knows, and media that are
    only named as ``_DEAREST_MEDIUM``. Models that are not OpenAI's have other tokens and count half as much again.
    """
    texts = text_of_request(body)
    size = sum(len(text.encode()) for text in texts)
    parts = [part for message in body["messages"] for part in _parts(message)]
    others = sum(len(orjson.dumps(part)) for part in parts if not _is_image(part) and not _is_text(part))
    inner = [part for message in body["messages"] for part in _parts_within(message)]
    images = sum(map(_is_image, inner))
    media = sum(map(_is_medium_elsewhere, inner)) + sum(bool(message.get("audio")) for message in body["messages"])
    others += sum(map(_unknown_bytes, body["messages"]))
    others += sum(len(orjson.dumps(body[name])) for name in body.keys() - CHAT_PARAMETERS)
    spoken: int = count_input(body, count) if size <= COUNTED_EXACTLY else size + _PER_MESSAGE * len(body["messages"])
    if not model.startswith(_OPENAIS):
        spoken += spoken // 2
    counted = spoken + others + media * _DEAREST_MEDIUM
    if "4o-mini" in model:  # which bills a picture as many more tokens than it takes of the window
        return within(context, counted) + images * _DEAREST_IMAGE_MINI
    return within(context, counted + images * _DEAREST_IMAGE)


def _parts(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _parts_within(message: dict[str, Any]) -> Iterator[Any]:
    """The parts of a message's content, also a single one without a list, and those within them, as in tool results."""
    content = message.get("content")
    for part in content if isinstance(content, list) else (content,):
        yield part
        if isinstance(part, dict):
            yield from _parts_within(part)


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _IMAGES or "image_url" in part)


def _is_medium_elsewhere(part: Any) -> bool:
    """Whether a part of a message names a file, a recording or a film that it does not hold."""
    if not isinstance(part, dict) or _is_image(part):
        return False
    kinds = (str(part.get("type")), *part)
    return any(word in kind.lower() for kind in kinds for word in _MEDIA) and _has_link(part)


def _has_link(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_link, value))
    if not isinstance(value, dict):
        return False
    return any(
        name.lower().replace("_", "").endswith(_LINKS) and not inner.startswith("data:")
        if isinstance(inner, str)
        else _has_link(inner)
        for name, inner in value.items()
    )


def _is_text(part: Any) -> bool:
    """Whether ``_text_of_message`` has all of the part that a model reads."""
    if not isinstance(part, dict):
        return isinstance(part, str)
    return any(part.get("type") == name and isinstance(part.get(name), str) for name in ("text", "refusal"))


def _image_tokens(part: Any) -> int:
    if not _is_image(part):
        return 0
    image = part.get("image_url")
    if isinstance(image, dict) and image.get("detail") == "low":
        return _IMAGE
    return _IMAGE + _TILE * _TILES_OF_UNKNOWN_SIZE


def _unknown_bytes(message: dict[str, Any]) -> int:
    """The bytes of what a message has beside its texts, its calls and the parts of its content."""
    size = 0
    for name, value in message.items():
        text = name in _TEXTS_OF_MESSAGE and isinstance(value, str)
        if not (value is None or text or name in _CALLS_OF_MESSAGE or (name == "content" and isinstance(value, list))):
            size += len(orjson.dumps(value))
    return size


def _text_of_message(message: dict[str, Any]) -> Iterator[str]:
    for name in ("role", "name", "content", "refusal"):
        if isinstance(value := message.get(name), str):
            yield value
    for part in _parts(message):
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            for name in ("text", "refusal"):
                if isinstance(value := part.get(name), str):
                    yield value
    for name in _CALLS_OF_MESSAGE:
        if message.get(name):
            yield orjson.dumps(message[name]).decode()
