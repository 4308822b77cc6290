"""The most input tokens that a chat request can be billed for: the bound by which budgets reserve.

A token of text is at least one byte, in any vendor's vocabulary, so that the bytes of the request bound all that is in
them. Three things are not: pictures, whose most tokens are known; packed files, whose pages are read and shown; and
what the provider fetches, for which the model's whole context window counts (known_chat.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.wire.known_chat import brings_more
from gateway.wire.writable import dump_json

UNKNOWN_WINDOW = 2_000_000
"""Tokens of a context window that is not known: of the largest that any vendor sells."""

HIDDEN_INPUT = 256
"""Tokens that a provider may put around the client's: the day, a word on the answer's form."""

HIDDEN_WITH_TOOLS = 1_000
"""The same for a request with tools, which are described to the model in the vendor's own words: Anthropic documents up
to 735."""

DEAREST_PICTURE = 5_000
_DEAREST_OF_4O_MINI = 48_169
_DEAREST_IN_ANOTHER_DETAIL = 32_000
"""Tokens of the largest picture in high detail: 85 and 170 a tile (at most 8) for gpt-4o, up to 1,536 patches times
2.46 for the small models of gpt-4.1, 2,833 and 5,667 a tile for gpt-4o-mini, 4,784 for Claude (OpenAI's guide "Images
and vision", Anthropic's "Vision"). Details that are newer, ``original`` among them, allow 10,000 patches and more."""

_USUAL_DETAILS = ("auto", "low", "high")
_PICTURES = ("image_url", "input_image", "image")
_FILES = ("file", "input_file", "document")

_PACKED = (".pdf", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".epub", ".zip", ".gz", ".7z")
"""Endings of files that are packed under any type; some vendors go by the name."""

BYTE_OF_A_FILE = 16
"""Tokens for each byte of a file that is not plain text: what is packed in it, and its pages shown as pictures, may be
more than its bytes."""


def most_input(body: Mapping[str, Any], model: str, context: int | None = None, size: int | None = None) -> int:
    """The most input tokens of a chat request.

    ``body``: has passed ``parse_chat_request``. ``model``: the upstream's name.
    ``context``: tokens of its context window, beyond which there is nothing to bill but pictures that count as more
        than they take of it; None if it is not known, which counts as ``UNKNOWN_WINDOW``.
    ``size``: bytes of the request, no fewer than the body has; None to count them.
    """
    window = UNKNOWN_WINDOW if context is None else context
    tokens, beyond = _around(tools=bool(body.get("tools") or body.get("functions"))), 0
    for part in _parts_of(body):
        if part.get("type") in _PICTURES or "image_url" in part:
            held, is_picture, detail = _picture(part)
            if not is_picture:
                tokens += (BYTE_OF_A_FILE - 1) * held
                continue
            tokens -= held
            if "4o-mini" in model:  # which bills a picture as many more tokens than it takes of the window
                beyond += _DEAREST_OF_4O_MINI
            else:
                tokens += DEAREST_PICTURE if detail in _USUAL_DETAILS else _DEAREST_IN_ANOTHER_DETAIL
        elif part.get("type") in _FILES:
            tokens += (BYTE_OF_A_FILE - 1) * _packed(part)
    if brings_more(body, model):
        return window + beyond
    tokens += len(dump_json(body)) if size is None else size
    return min(max(0, tokens), window) + beyond


def most_of_words(size: int, context: int | None, *, tools: bool) -> int:
    """``most_input`` of a request of ``size`` bytes that brings nothing but them. ``tools``: whether it has any."""
    return min(_around(tools=tools) + size, UNKNOWN_WINDOW if context is None else context)


def _around(*, tools: bool) -> int:
    return HIDDEN_WITH_TOOLS if tools else HIDDEN_INPUT


def _parts_of(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of all messages that are objects, and those within them, as in results of tools."""
    for message in body["messages"]:
        content, pictures = message.get("content"), message.get("images")
        if content and not isinstance(content, str):
            yield from _parts_within(content)
        for picture in pictures if isinstance(pictures, list) else [pictures]:
            if isinstance(picture, str):
                yield _as_part(picture)
            elif picture:
                yield from _parts_within(picture)


def _parts_within(content: Any) -> Iterator[dict[str, Any]]:
    for part in content if isinstance(content, list) else (content,):
        if isinstance(part, list):
            yield from _parts_within(part)
        elif isinstance(part, dict):
            yield part
            if part.get("content"):
                yield from _parts_within(part["content"])


def _as_part(picture: str) -> dict[str, Any]:
    """A picture that is a text, its bytes in Base64 (Ollama's) or a link."""
    if picture[:5].lower() == "data:" or "://" in picture[:16]:
        return {"type": "image_url", "image_url": picture}
    return {"type": "image", "source": {"data": picture, "media_type": "image/*"}}


def _picture(part: dict[str, Any]) -> tuple[int, bool, object]:
    """How many of the request's bytes are a part's picture, whether it is one, and the detail it is to be seen in.

    A part may call anything a picture; a link is taken for one.
    """
    source = part.get("source")
    if isinstance(source, dict):
        data, media = source.get("data"), source.get("media_type")
        held = len(data) if isinstance(data, str) else 0
        return held, not held or str(media).lower().startswith("image/"), "auto"
    picture = part.get("image_url")
    fields = picture if isinstance(picture, dict) else {"url": picture}
    url, detail = fields.get("url"), fields.get("detail") or part.get("detail") or "auto"
    if not isinstance(url, str) or not url.startswith("data:"):
        return 0, True, detail
    return len(url), url[:16].lower().startswith("data:image/"), detail


def _packed(part: dict[str, Any]) -> int:
    """Bytes of a file that is not plain text."""
    file = part.get("file") or part.get("source") or part
    data = (file.get("file_data") or file.get("data")) if isinstance(file, dict) else None
    if not isinstance(data, str):
        return 0
    name = str(file.get("filename") or file.get("name") or part.get("filename") or part.get("title") or "")
    if data[:64].lower().startswith(("data:text/", "data:application/json")) and not name.lower().endswith(_PACKED):
        return 0
    return 0 if file.get("type") == "text" else len(data)
