"""The shape of a request: what may decide whether an upstream will stream its answer, without what is said in it.

OpenAI streams audio in one format only, some servers stream no JSON, others no tools, log probabilities or several
choices. Which ones do is not known beforehand, so everything but the knobs of the sampling counts: the kinds of output,
the fields that are set, the kinds of content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.core.images.types import ImagesRequest

_KNOBS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "logit_bias",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "top_k",
        "top_p",
        "user",
        "verbosity",
    }
)
"""Fields that no upstream makes its stream depend on, or that are looked at by themselves."""

_USUAL = {"text"}
"""The kind of output that need not be named."""

_KINDS_KEPT = 32
"""Kinds of content that are told apart; clients choose their names."""


def chat_shape(body: Mapping[str, Any]) -> bytes:
    """A digest of 16 bytes of a chat request's shape.

    ``body``: the request; no value in it is trusted to be of its proper type.
    """
    audio, form = body.get("audio"), body.get("response_format")
    choices = body.get("n")
    return _digest(
        "chat",
        sorted(_texts(body.get("modalities")) - _USUAL),
        _text(audio.get("format")) if isinstance(audio, dict) else "",
        "".join({_text(form.get("type"))} - _USUAL) if isinstance(form, dict) else "",
        isinstance(choices, int) and choices > 1,
        sorted(_text(name) for name, value in body.items() if name not in _KNOBS and value not in (None, False, [])),
        sorted(_kinds(body.get("messages"))),
    )


def images_shape(request: ImagesRequest) -> bytes:
    """The same of an order for images."""
    return _digest(
        "images",
        request.kind,
        bool(request.images),
        request.mask is not None,
        request.n > 1,
        sorted(map(_text, request.options)),
        _text(request.options.get("output_format")),
        _text(request.options.get("background")),
    )


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).digest()


def _kinds(messages: object) -> set[str]:
    """The kinds of content parts, text aside."""
    found: set[str] = set()
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            kind = _text(part.get("type")) if isinstance(part, dict) else ""
            if kind and kind != "text" and len(found) < _KINDS_KEPT:
                found.add(kind)
    return found


def _texts(value: object) -> set[str]:
    return {_text(one) for one in value} if isinstance(value, list) else set()


def _text(value: object) -> str:
    """A text as it may be hashed: lone surrogates cannot be written."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
