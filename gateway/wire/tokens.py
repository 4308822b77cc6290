"""How many tokens a chat request has, for limits, and for answers whose upstream states no usage.

The rules are OpenAI's: three tokens around each message, one for a name, three to prime the answer (OpenAI cookbook,
"How to count tokens with tiktoken"); images by tiles (https://platform.openai.com/docs/guides/images-vision,
"Calculating costs"). Where a rule is not published (tools, files, sound), what is sent is counted as text.

Messages hold what the client wrote, in any shape: the upstream judges it, and counting it never fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

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
_CALLS_OF_MESSAGE = ("tool_calls", "function_call")


def rough_tokens(n_bytes: int) -> int:
    """Tokens in ``n_bytes`` of English or JSON, to within a factor of two: four bytes each."""
    return -(-n_bytes // _BYTES_PER_TOKEN)


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


def _parts(message: dict[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and (part.get("type") in _IMAGES or "image_url" in part)


def _image_tokens(part: Any) -> int:
    if not _is_image(part):
        return 0
    image = part.get("image_url")
    if isinstance(image, dict) and image.get("detail") == "low":
        return _IMAGE
    return _IMAGE + _TILE * _TILES_OF_UNKNOWN_SIZE


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
