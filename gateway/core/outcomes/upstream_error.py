"""An upstream's error: found in any of the known shapes, and sanitised for the client.

The shapes: OpenAI's ``{"error": {"message", "type", "param", "code"}}``, the relays' ``{"error": "text"}``, PiAPI's
envelope ``{"code", "message", "data"}``, and the bare ``{"message": …}`` and ``{"detail": …}`` of web frameworks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MESSAGE_LIMIT = 500
_READ_LIMIT = 2_000

_ENVELOPE_OK = (0, 200)

_MARKUP = re.compile(
    r"<\s*/?\s*(?:!doctype|html|head|body|title|meta|script|style|div|span|p|br|hr|pre|center|h[1-6]|a|table)\b", re.I
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\ufeff\ud800-\udfff]+")
_URL = re.compile(r"\b(?:https?|wss?|ftp)://[^\s\"'<>)\]}]+", re.I)
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[[0-9a-f:]{3,}\](?::\d+)?", re.I)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_HOST = re.compile(
    r"(?<![a-z0-9.-])(?:[a-z0-9](?:[a-z0-9-]{0,62})\.)+"
    r"(?:com|net|org|ai|io|app|dev|cn|cc|site|cloud|xyz|top|internal|local|svc|localdomain)\b(?::\d+)?"
    r"|\blocalhost(?::\d+)?\b",
    re.I,
)
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|org|proj|acct)[-_][A-Za-z0-9*._-]{4,}"  # the shapes of keys and account ids
    r"|\bBearer\s+\S+"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?=[A-Za-z_]*[0-9])[A-Za-z0-9_]{24,}"  # any long unbroken run with a digit in it
)
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PARAM = re.compile(r"[A-Za-z0-9_.\[\]$-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """An error as the upstream sent it.

    ``message``: not sanitised.
    ``code``: a name or a number.
    """

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


def error_in(document: object) -> UpstreamError | None:
    """The error inside a JSON document that looks successful; None if it holds none.

    ``document``: parsed JSON, a whole body or a whole stream event.
    """
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if error:
        return _error_from(error, document)
    code = _number(document.get("code"))
    if code is not None and "message" in document and "choices" not in document and code not in _ENVELOPE_OK:
        return _error_from(document, document)
    return None


def read_upstream_error(document: object) -> UpstreamError:
    """The error in a document known to be one, with as many of its fields as can be found."""
    found = error_in(document)
    if found is not None:
        return found
    if isinstance(document, dict | str):
        return _error_from(document, {})
    return UpstreamError()


def sanitise(message: str | None) -> str | None:
    """``message`` as a client may see it: one line, no HTML, no hosts, links, addresses, keys or account ids, at most
    500 characters. None if nothing is left that may be shown.
    """
    if message is None:
        return None
    text = message[:_READ_LIMIT]
    if _MARKUP.search(text):
        return None
    text = _CONTROL.sub(" ", text)
    text = _URL.sub("[link]", text)
    text = _MAIL.sub("[address]", text)
    text = _SECRET.sub("[redacted]", text)
    text = _ADDRESS.sub("[host]", text)
    text = _HOST.sub("[host]", text)
    text = " ".join(text.split())
    if len(text) > MESSAGE_LIMIT:
        text = text[: MESSAGE_LIMIT - 1].rstrip() + "…"
    return text or None


def plain_name(value: object) -> str | None:
    """A type or code that is a plain identifier, or None if ``value`` is not one."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) and not _SECRET.search(value) else None


def plain_param(value: object) -> str | None:
    """A field's path such as ``messages[0].content``, or None if ``value`` is no such path."""
    return value if isinstance(value, str) and _PARAM.fullmatch(value) and not _SECRET.search(value) else None


def _error_from(error: object, around: dict[str, object]) -> UpstreamError:
    if isinstance(error, str):
        return UpstreamError(message=error, type=_text(around.get("type")), code=_code(around.get("code")) or error)
    if not isinstance(error, dict):
        return UpstreamError(code=_code(around.get("code")))
    code = _code(error.get("code"))
    if code is None:
        code = _code(around.get("code"))
    message = _text(error.get("message")) or _text(error.get("detail")) or _text(error.get("raw_message"))
    return UpstreamError(
        message or _text(around.get("message")), _text(error.get("type")), _text(error.get("param")), code
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) <= 6 and value.isascii() and value.isdigit():
        return int(value)
    return None


def _code(value: object) -> str | int | None:
    number = _number(value)
    return number if number is not None else _text(value)
