"""Errors as clients of Anthropic's Messages API are told them.

The types by status are those of https://docs.anthropic.com/en/api/errors; 529, ``overloaded_error``, is Anthropic's own
status, for which this gateway has 503.
"""

from __future__ import annotations

from typing import Any

from gateway.core.errors import GatewayError
from gateway.wire.sse import encode_event
from gateway.wire.writable import dump_json

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicErrors:
    """Implements ``core.errors.ErrorForm`` for ``/v1/messages``. ``request_id``: of the request; empty to tell none."""

    def __init__(self, request_id: str = "") -> None:
        self._request_id = request_id

    def body(self, error: GatewayError) -> bytes:
        """``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
        return dump_json(self._told(error))

    def last_event(self, error: GatewayError) -> bytes:
        """An event ``error``, on which Anthropic's SDKs raise; a stream that just ended they would take for whole."""
        return encode_event(dump_json(self._told(error)), b"error")

    def _told(self, error: GatewayError) -> dict[str, Any]:
        told = _error(error)
        return {**told, "request_id": self._request_id} if self._request_id else told


ANTHROPIC_ERRORS = AnthropicErrors()


def error_type(status: int) -> str:
    """Anthropic's name for the kind of an error, by its HTTP status."""
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")


def _error(error: GatewayError) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error_type(error.status), "message": error.message}}
