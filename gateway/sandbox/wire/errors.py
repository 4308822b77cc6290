"""Error answers, as providers and Cloudflare write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.sandbox.wire.answers import Reply, json_reply
from gateway.sandbox.wire.http import Headers

# status → (type, code, message) in OpenAI's shape. 402 is PiAPI's; its real words are not documented.
_OPENAI: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Sandbox: the request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Sandbox: incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "Sandbox: the account has not enough credit."),
    403: ("request_forbidden", None, "Sandbox: this key may not do that."),
    404: ("invalid_request_error", "model_not_found", "Sandbox: the model does not exist."),
    408: ("invalid_request_error", "request_timeout", "Sandbox: the request took too long."),
    409: ("invalid_request_error", "conflict", "Sandbox: the request conflicts with another."),
    413: ("invalid_request_error", "request_too_large", "Sandbox: the request is too large."),
    422: ("invalid_request_error", None, "Sandbox: the request cannot be processed."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Sandbox: too many requests."),
    500: ("server_error", None, "Sandbox: the server had an error."),
    502: ("server_error", "bad_gateway", "Sandbox: the relay got no good answer."),
    503: ("service_unavailable_error", "server_is_overloaded", "Sandbox: overloaded, try again later."),
    504: ("server_error", "gateway_timeout", "Sandbox: the relay's upstream timed out."),
}

_CLOUDFLARE: Mapping[int, str] = {
    403: "Attention Required!",
    502: "Bad gateway",
    504: "Gateway time-out",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
    525: "SSL handshake failed",
    526: "Invalid SSL certificate",
    527: "Railgun Listener to origin error",
    530: "Origin DNS error",
}


def error_fields(
    status: int, *, type: str = "", code: str = "", message: str = "", param: str | None = None
) -> dict[str, str | None]:
    """OpenAI's four error fields for a status; a non-empty argument replaces the usual word."""
    usual_type, usual_code, usual_message = _OPENAI.get(status, ("server_error", None, f"Sandbox: status {status}."))
    if code == "insufficient_quota":
        usual_type, usual_message = code, "Sandbox: you exceeded your current quota."
    return {"message": message or usual_message, "type": type or usual_type, "param": param, "code": code or usual_code}


def error_reply(
    status: int,
    *,
    type: str = "",
    code: str = "",
    message: str = "",
    param: str | None = None,
    headers: Headers = (),
) -> Reply:
    """An error in OpenAI's shape: ``{"error": {message, type, param, code}}``."""
    fields = error_fields(status, type=type, code=code, message=message, param=param)
    return json_reply(status, {"error": fields}, headers=headers)


_ANTHROPIC: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's types by status (https://docs.anthropic.com/en/api/errors)."""


def anthropic_fields(status: int, message: str, *, type: str = "", code: str | None = None) -> dict[str, Any]:
    """An error as Anthropic tells it. ``code``: what some relays add; none if it is empty."""
    usual = _ANTHROPIC.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    error = {"type": type or usual, "message": message, **({"code": code} if code else {})}
    return {"type": "error", "error": error, "request_id": "req_sandbox"}


def anthropic_error(
    status: int, message: str, *, type: str = "", code: str | None = None, headers: Headers = ()
) -> Reply:
    """``{"type": "error", "error": {"type", "message"}, "request_id"}``."""
    return json_reply(status, anthropic_fields(status, message, type=type, code=code), headers=headers)


def openai_refusal(message: str, param: str | None = None, code: str | None = None) -> Reply:
    """OpenAI's 400 in its very words, for software that reads them; that it is none of OpenAI's stands beside it."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json_reply(400, {"error": error, "sandbox": "a simulated refusal"})


def piapi_error(code: int, message: str, *, status: int = 200, headers: Headers = ()) -> Reply:
    """An error in PiAPI's shape, ``{code, message, data}``: the inner code may speak of an error under HTTP 200."""
    return json_reply(status, {"code": code, "message": message, "data": None}, headers=headers)


def error_in_shape(shape: str, status: int, fields: Mapping[str, Any], headers: Headers) -> Reply:
    """One error in the shape asked for: ``openai``, ``piapi``, ``string``, ``message``, ``plain`` or ``empty``."""
    message = fields["message"]
    contents: Mapping[str, Any] = {
        "openai": {"error": fields},
        "piapi": {"code": status, "message": message, "data": None},
        "string": {"error": message},
        "message": {"message": message},
    }
    if shape in contents:
        return json_reply(status, contents[shape], headers=headers)
    text = str(message).encode() if shape == "plain" else b""
    return Reply(status, text, content_type=b"text/plain; charset=utf-8", headers=headers)


def cloudflare_ray(request_id: str) -> bytes:
    """Sixteen hexadecimal digits, here the request's number, and in place of an airport's code SBX."""
    return b"%016x-SBX" % int(request_id.rpartition("-")[2])


def cloudflare_headers(request_id: str) -> Headers:
    return (
        (b"server", b"cloudflare"),
        (b"cf-ray", cloudflare_ray(request_id)),
        (b"cache-control", b"private, max-age=0, no-store, no-cache, must-revalidate"),
        (b"referrer-policy", b"same-origin"),
        (b"x-frame-options", b"SAMEORIGIN"),
    )


def cloudflare_page(status: int, request_id: str) -> Reply:
    """The HTML page Cloudflare answers with when it has nothing better from the origin."""
    title = _CLOUDFLARE.get(status, "Error")
    page = f"""<!DOCTYPE html>
<html lang="en-US">
<head><title>sandbox.invalid | {status}: {title}</title><meta charset="UTF-8"></head>
<body><div id="cf-wrapper"><h1>{title} <span>Error code {status}</span></h1>
<p>This page imitates Cloudflare's; it comes from the sandbox.</p>
<p>Ray ID: {cloudflare_ray(request_id).decode()}</p></div></body>
</html>
"""
    headers = cloudflare_headers(request_id)
    return Reply(status, page.encode(), content_type=b"text/html; charset=UTF-8", headers=headers)


def cloudflare_text(status: int, request_id: str) -> Reply:
    """The sixteen bytes of plain text that clients without an HTML ``Accept`` may get."""
    headers = cloudflare_headers(request_id)
    return Reply(status, b"error code: %d" % status, content_type=b"text/plain; charset=UTF-8", headers=headers)


def cloudflare_problem(status: int, request_id: str, retry_after: int) -> Reply:
    """Cloudflare's RFC 9457 problem document, given to clients that accept JSON (since March 2026)."""
    ray = cloudflare_ray(request_id).decode()
    content = {
        "type": "https://developers.cloudflare.com/support/troubleshooting/http-status-codes/",
        "title": f"Error {status}: {_CLOUDFLARE.get(status, 'Error')}",
        "status": status,
        "error_code": status,
        "error_name": _CLOUDFLARE.get(status, "error").lower().replace(" ", "_"),
        "retryable": True,
        "retry_after": retry_after,
        "ray_id": ray.removesuffix("-SBX"),
        "zone": "sandbox.invalid",
    }
    headers = cloudflare_headers(request_id)
    return Reply(status, orjson.dumps(content), content_type=b"application/problem+json", headers=headers)
