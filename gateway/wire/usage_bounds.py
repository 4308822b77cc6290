"""Upper bounds for the usage an upstream states.

A request is charged by the usage its upstream states. What cannot be checked is believed, but not beyond what the bytes
on the wire allow: a token of text is at least one byte. Every bound here is generous, so that no true answer breaks it;
it stops a fault or a lie by orders of magnitude and does not check a bill.
"""

from __future__ import annotations

from typing import Any

from gateway.core.types import Usage
from gateway.wire.chat_request import ChatRequest, unknown_fields
from gateway.wire.writable import dump_json

_HIDDEN_INPUT = 30_000
"""Tokens a provider may add before the client's: its own system prompt and its descriptions of tools."""

_IMAGE = 100_000
"""Tokens of one image. A link is short for any image; gpt-4o-mini counts 48,169 for one in highest detail."""

_MEDIUM = 2_000_000
"""Tokens of a file, a recording, a film, or any other medium of a part: the largest context window there is."""

_FETCHED = 1_000_000
"""Tokens a provider may fetch for itself where it was given a search, or tools that it runs on its side."""

_HIDDEN_OUTPUT = 200_000
"""Tokens of reasoning for a choice without a bound; the longest answers that models may write have 128,000."""

_AROUND_OUTPUT = 1_000
"""Tokens a choice may have that neither are text nor count against the client's bound: marks, frames of calls."""


def believed(
    usage: Usage | None, request: ChatRequest, context: int | None = None, *, request_bytes: int, answer_bytes: int
) -> Usage | None:
    """``usage`` if it is plausible for an answer to ``request``, else None."""
    if usage is None or believable_usage(
        usage, request, context, request_bytes=request_bytes, answer_bytes=answer_bytes
    ):
        return usage
    return None


def believable_usage(
    usage: Usage, request: ChatRequest, context: int | None = None, *, request_bytes: int, answer_bytes: int
) -> bool:
    """Whether ``usage`` is plausible for an answer to ``request``.

    ``request_bytes``: of the body that was sent.
    ``answer_bytes``: of the body that was received, framing included, up to the end of the answer.
    ``context``: tokens of the model's context window; None if it is not known. Pictures may be billed as more tokens
        than they take of it, and what the provider fetches for itself may be of several turns.

    To be called once the answer is complete: a usage that came early would be compared with too few bytes.
    """
    # Nearly every usage is within the first bound of each line, and the request's parts need not be looked at.
    sent, made, bound = usage.input_tokens, usage.output_tokens, request_bytes + _HIDDEN_INPUT
    return (
        (context is None or sent <= context or sent <= context + _beyond_the_window(request))
        and (made <= answer_bytes or made <= _most_output(usage, request, answer_bytes))
        and (sent <= bound or sent <= bound + _not_in_the_bytes(request))
    )


def _most_output(usage: Usage, request: ChatRequest, answer_bytes: int) -> int:
    """The most output tokens: text has been received byte by byte; reasoning may be hidden, within the client's bound.

    But where the client asked for thinking by Anthropic's field, relays may add its budget to the bound, and a field
    that is not known here may ask for it in the words of another vendor. Some vendors' bound is not of reasoning at
    all. Of a prediction, what was not used counts as output, too.
    """
    hidden = request.max_output_tokens or 0
    asked = request.max_output_tokens is None or request.body.get("thinking") or unknown_fields(request)
    if asked or usage.reasoning_tokens > hidden:
        hidden += _HIDDEN_OUTPUT
    if prediction := request.body.get("prediction"):
        hidden += len(dump_json(prediction))
    return answer_bytes + request.n * (hidden + _AROUND_OUTPUT)


def _beyond_the_window(request: ChatRequest) -> int:
    """The most input tokens that may be billed beyond the context window."""
    contents = (message.get("content") for message in request.body["messages"])
    parts = [part for content in contents if isinstance(content, list) for part in content]
    pictures = sum(1 for part in parts if isinstance(part, dict) and part.get("type") == "image_url")
    return pictures * _IMAGE + _fetched(request)


def _fetched(request: ChatRequest) -> int:
    body = request.body
    asked = _hosted_tools(body.get("tools")) or body.get("web_search_options") is not None or unknown_fields(request)
    return _FETCHED if asked else 0


def _not_in_the_bytes(request: ChatRequest) -> int:
    """The most input tokens that may not show in the size of the request."""
    body = request.body
    tokens = 0
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            tokens += sum(map(_tokens_of_part, content))
        elif isinstance(content, dict):  # a single part, for those who read it so
            tokens += _tokens_of_part(content)
        if message.get("audio"):  # an answer's sound, named by its id
            tokens += _MEDIUM
    return tokens + _fetched(request)


def _hosted_tools(tools: Any) -> bool:
    if not isinstance(tools, list):
        return bool(tools)
    return any(not isinstance(tool, dict) or tool.get("type") != "function" for tool in tools)


def _tokens_of_part(part: Any) -> int:
    if not isinstance(part, dict):
        return 0
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return 0
    return _IMAGE if kind == "image_url" else _MEDIUM
