"""Errors as clients of the Responses API are told of them: in the words of what they asked, not of the chat."""

from __future__ import annotations

import re
from collections.abc import Callable

import orjson

from gateway.core.errors import OPENAI_ERRORS, ClientError, GatewayError, UpstreamFault

_PLACES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"messages.*"), "input"),
    (re.compile(r"max_(?:completion_)?tokens"), "max_output_tokens"),
    (re.compile(r"reasoning_effort"), "reasoning.effort"),
    (re.compile(r"response_format(?:\.json_schema)?"), "text.format"),
    (re.compile(r"verbosity"), "text.verbosity"),
    (re.compile(r"logprobs"), "include"),
    (re.compile(r"(tools\[\d+\])\.(?:function|custom)"), r"\1"),
    (re.compile(r"tool_choice\.(?:function|custom)"), "tool_choice"),
)
"""What a chat calls a field → what a response does."""


def place_of(param: str | None) -> str | None:
    """The field of a Responses request that a chat's field was made of."""
    if param is not None:
        for pattern, name in _PLACES:
            if (found := pattern.match(param)) is not None and (
                found.end() == len(param) or param[found.end()] in ".["
            ):
                return found.expand(name) + param[found.end() :]
    return param


def _param(error: GatewayError) -> str | None:
    """The field that the error is about. One that a response cannot have is named as it was sent."""
    own = isinstance(error, ClientError) and error.code == "unsupported_parameter"
    return error.param if own else place_of(error.param)


class ResponsesErrors:
    """The form of errors on the routes of responses. Implements ``core.errors.ErrorForm``.

    ``failed``: writes the last events of a stream of a response; None as long as there is none.
    ``left_out``: why targets were not asked that might have served the request; empty if all might be.
    """

    def __init__(self) -> None:
        self.failed: Callable[[GatewayError], bytes] | None = None
        self.left_out = ""

    def body(self, error: GatewayError) -> bytes:
        message = error.message
        if self.left_out and isinstance(error, UpstreamFault) and (error.status == 429 or error.status >= 500):
            message = f"{message} {self.left_out}"
        told = {"message": message, "type": error.type, "param": _param(error), "code": error.code}
        return orjson.dumps({"error": told})

    def last_event(self, error: GatewayError) -> bytes:
        return OPENAI_ERRORS.last_event(error) if self.failed is None else self.failed(error)
