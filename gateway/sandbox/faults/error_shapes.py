"""Errors in the shapes that vendors, relays and web frameworks really send, by name.

Each has a status and a body as users have reported them. All words are the sandbox's own play: nothing was looked at,
counted or refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from gateway.sandbox.faults.playback import Play, ScenarioContext, play_reply
from gateway.sandbox.wire.answers import Reply
from gateway.sandbox.wire.steps import Step

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """One error. ``body``: bytes go out as they are, anything else as JSON. ``fault_row``: of the fault catalogue."""

    name: str
    summary: str
    status: int
    body: Any
    content_type: bytes = JSON
    fault_row: int = 14

    @property
    def play(self) -> Play:
        """The scenario's function."""
        body = self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)

        def play(context: ScenarioContext) -> Iterator[Step]:
            yield from play_reply(context, Reply(self.status, body, content_type=self.content_type))

        return play


def _error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def _openrouter(raw: object) -> dict[str, Any]:
    return _error("Provider returned error", code=400, metadata={"raw": raw, "provider_name": "Sandbox"})


_AZURE_WORDS = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify "
    "your prompt and retry."
)
_AZURE_FILTER = _error(
    _AZURE_WORDS,
    type=None,
    param="prompt",
    code="content_filter",
    status=400,
    innererror={
        "code": "ResponsibleAIPolicyViolation",
        "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
    },
)
_FASTAPI = {
    "detail": [
        {"loc": ["body", "messages", 0, "content"], "msg": "field required", "type": "value_error.missing"},
        {"loc": ["body", "top_k"], "msg": "ensure this value is greater than 0", "type": "value_error.number.not_gt"},
    ]
}
_TOO_LARGE = "Request too large for model on tokens per min (TPM): Limit 30000, Requested 48211."
_USED_UP = "Rate limit reached for model on tokens per min (TPM): Limit 30000, Used 29000, Requested 5000."
_NAMES = (
    "Invalid schema for function 'fetch_user_profile_v2_details' (call_abc123DEF456ghi789JKL012, org_chart_lookup, "
    "socket.io): see https://platform.openai.com/docs/guides/function-calling"
)
_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
_PYTHON = (
    "Error code: 400 - {'error': {'message': \"Unsupported value: 'top_k'\", 'type': 'invalid_request_error', "
    "'param': 'top_k', 'code': None}}"
)

_SHAPES = (
    # Where the words stand
    ErrorShape(
        "error-google-array",
        "Google: an array with one error in it",
        400,
        [_error("Invalid value at 'tools[0]'", code=400, status="INVALID_ARGUMENT")],
    ),
    ErrorShape(
        "error-google-details",
        "Google: what was wrong stands in the details",
        400,
        _error(
            "Request contains an invalid argument.",
            code=400,
            status="INVALID_ARGUMENT",
            details=[{"@type": "BadRequest", "fieldViolations": [{"field": "contents[0]", "description": "is empty"}]}],
        ),
    ),
    ErrorShape(
        "error-openrouter-raw",
        "OpenRouter: the provider's error as JSON text in metadata.raw",
        400,
        _openrouter(json.dumps(_error("max_tokens is too large: 999999", param="max_tokens"))),
    ),
    ErrorShape(
        "error-openrouter-object",
        "OpenRouter: the provider's error as an object in metadata.raw",
        400,
        _openrouter(_error("max_tokens is too large: 999999")),
    ),
    ErrorShape(
        "error-openrouter-cut",
        "OpenRouter: metadata.raw, cut off",
        400,
        _openrouter(json.dumps(_error("max_tokens is too large: 999999"))[:-11]),
    ),
    ErrorShape(
        "error-openrouter-text", "OpenRouter: metadata.raw is plain text", 400, _openrouter("max_tokens is too large")
    ),
    ErrorShape("error-openrouter-page", "OpenRouter: metadata.raw is a web page", 400, _openrouter(_PAGE)),
    ErrorShape("error-fastapi-detail", "FastAPI: detail is a list", 422, _FASTAPI),
    ErrorShape("error-detail-text", "detail is a text", 400, {"detail": "top_k is not supported"}),
    ErrorShape("error-detail-object", "detail is an object", 400, {"detail": _error("top_k is not supported")}),
    ErrorShape("error-plain-text", "plain text", 400, b"max_tokens too large\n", TEXT),
    ErrorShape("error-msg", "the words are called msg", 400, {"success": False, "msg": "top_k is not supported"}),
    ErrorShape(
        "error-list", "a list of errors", 400, {"errors": [{"message": "n is odd"}, {"message": "top_k is odd"}]}
    ),
    ErrorShape(
        "error-nested-message", "the message is an object", 400, {"error": {"message": {"message": "top_k is odd"}}}
    ),
    ErrorShape("error-json-text", "the message is JSON text", 400, _error(json.dumps(_error("top_k is odd")))),
    ErrorShape("error-python-text", "the message is an error as Python prints it", 400, _error(_PYTHON)),
    ErrorShape(
        "error-status-phrase",
        "a web framework: the status's name as error, the words beside it",
        400,
        {"statusCode": 400, "error": "Bad Request", "message": "top_k must be a number"},
    ),
    ErrorShape(
        "error-html-label", "JSON that calls itself HTML", 400, _error("top_k is odd"), b"text/html; charset=utf-8"
    ),
    # What stands in the words
    ErrorShape(
        "error-quotes-html",
        "a message that quotes HTML",
        400,
        _error("Invalid tag <div> in your input: close it, or write <p><table> as text."),
    ),
    ErrorShape(
        "error-names-and-pages",
        "a tool's name, ids, and the page to read",
        400,
        _error(
            _NAMES,
            type="invalid_request_error",
            param="tools[0].function.parameters",
            code="invalid_function_parameters",
        ),
    ),
    # Whose fault it is
    ErrorShape(
        "prompt-refused-403",
        "OpenRouter: a prompt flagged by moderation",
        403,
        _error("The request was flagged by moderation: violence.", code=403, metadata={"reasons": ["violence"]}),
    ),
    ErrorShape(
        "prompt-refused-text",
        "a prompt refused in plain text",
        403,
        b"Your prompt was rejected by our safety system.",
        TEXT,
    ),
    ErrorShape(
        "prompt-refused-chinese",
        "Zhipu: a prompt that is not safe",
        400,
        {"error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"}},
    ),
    ErrorShape(
        "prompt-refused-dashscope",
        "DashScope: data that did not pass inspection",
        400,
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content.", "request_id": "1"},
    ),
    ErrorShape("error-azure-filter", "Azure: the content filter", 400, _AZURE_FILTER),
    ErrorShape(
        "key-barred-403",
        "an account that was flagged, which is no prompt's fault",
        403,
        _error("Your account was flagged for violating our usage policies.", code=403),
        fault_row=9,
    ),
    ErrorShape(
        "request-too-large-429",
        "429 for a request above the whole allowance",
        429,
        _error(_TOO_LARGE, type="tokens", code="rate_limit_exceeded"),
        fault_row=13,
    ),
    ErrorShape(
        "request-too-large-413",
        "Groq: the same as a 413 with the code of a rate limit",
        413,
        _error(f"{_TOO_LARGE} Please reduce your message size.", type="tokens", code="rate_limit_exceeded"),
        fault_row=13,
    ),
    ErrorShape(
        "tokens-used-up-429",
        "429 for a request that fits into the allowance, later",
        429,
        _error(_USED_UP, type="tokens", code="rate_limit_exceeded"),
        fault_row=15,
    ),
)

ERROR_SHAPES: Mapping[str, ErrorShape] = MappingProxyType({shape.name: shape for shape in _SHAPES})
