"""The words of an upstream's error: which of them say something, and an error that is written inside a text.

Relays often hand on another server's error as a text: as JSON, as Python prints it (after ``Error code: 400 -``), cut
off in the middle, or as the web page it came as. Read is only what is an error with nothing said around it: a message
that quotes the client's own JSON or HTML stays as it is.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gateway.core.late_patterns import compiled_late

MOST_READ = 16 * 1024
"""Characters of a text that are read."""

_CUT_OFF = 500
"""Characters from which on a text may be one that a relay has cut off."""

_DOCTYPE = compiled_late(r"\s*<!doctype\s+html\b", re.IGNORECASE)
_PAGE_STARTS = compiled_late(
    r"\s*<(?:html|head|body|title|center|h1)\b[^>]{0,200}>.*<(?:/|body|title|meta)", re.I | re.S
)
_PAGE_WITHIN = compiled_late(
    r"(?<![\"'`“‘(«])<(?:!doctype\s+html\b|html\b[^>]{0,200}>\s{0,20}<(?:head|meta|title)\b)", re.IGNORECASE
)

_NOTHINGS = frozenset(
    {
        "error",
        "an error",
        "an error occurred",
        "error occurred",
        "unknown",
        "unknown error",
        "fail",
        "failed",
        "failure",
        "invalid request",
        "invalid_request_error",
        "request failed",
        "upstream error",
        "upstream_error",
        "upstream request failed",
        "provider error",
        "provider returned error",
        "error from provider",
        "openai_error",
        "openai error",
        "api error",
        "api_error",
        "server error",
        "internal error",
        "validation error",
        "validation failed",
        "unprocessable entity",
        "unprocessable content",
        "request contains an invalid argument",
        "the given data was invalid",
        "invalid input",
        "one or more validation errors occurred",
        "bad_response_status_code",
        "bad request",
        "unauthorized",
        "payment required",
        "forbidden",
        "not found",
        "method not allowed",
        "not acceptable",
        "request timeout",
        "conflict",
        "content too large",
        "payload too large",
        "request entity too large",
        "unsupported media type",
        "too many requests",
        "internal server error",
        "bad gateway",
        "service unavailable",
        "gateway timeout",
        "null",
        "none",
    }
)
_SOMEWHERE = compiled_late(
    r"(?:an? )?(?:upstream|provider|internal|unexpected|unknown) (?:server )?(?:error|failure)"
    r"(?: (?:from|by) .{1,40})?",
    re.IGNORECASE,
)
_XML = compiled_late(r"\s*<(?:\?xml\b|Error\b|ErrorResponse\b)")
_XML_MESSAGE = compiled_late(r"<Message>([^<]{1,4000})</Message>", re.IGNORECASE)
_NUMBERED = compiled_late(
    r"(?:(?:bad|invalid) )?(?:upstream |provider )?(?:response |http )?(?:status(?: code)?|error(?: code)?)[ :=]*\d{3}",
    re.IGNORECASE,
)
_NAME = compiled_late(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)

# What stands before an error that is handed on: numbers, names of exceptions, and words that say nothing themselves.
_HANDED_ON = compiled_late(
    r"(?:[\s:;,.\-–—>(\[|=]++|\d++|\([^()]{1,40}\)|[\w.]*(?:error|exception)\b|(?:bad|body|by|code|content|data|event|failed|from|got|http|"
    r"is|message|provider|raw|request|response|returned|server|status|text|the|upstream|with|litellm|openai|azure|"
    r"anthropic|google|gemini|vertexai|vertex|bedrock|api|invalid)\b)*+",
    re.IGNORECASE,
)
_LONGEST_PREFIX = 200
_STRUCTURE = compiled_late(r"\{\s*[\"'][\w.\-]{1,64}[\"']\s*:|\[\s*\{\s*[\"']")
_FIELD = compiled_late(
    r"[\"'](message|msg|detail|error_msg|type|param|code)[\"']\s*:\s*"
    r"(?:\"((?:[^\"\\]|\\.)*+)(?:\"|\Z|\\\Z)|'((?:[^'\\]|\\.)*+)(?:'|\Z|\\\Z))",
    re.DOTALL,
)
_ERROR_MEMBERS = frozenset({"error", "errors", "detail", "error_msg", "error_message"})
_WORD_MEMBERS = frozenset({"message", "msg", "Message"})
_NAME_MEMBERS = frozenset({"code", "type", "status", "object", "error_code", "status_code", "__type"})


def is_page(text: str) -> bool:
    """Whether a text is a web page, whole or cut off, and not words that begin by quoting a tag."""
    if _DOCTYPE.match(text):
        return True
    return _reaches_the_end(text) and _PAGE_STARTS.match(text[:MOST_READ]) is not None


def readable(text: str) -> str | None:
    """The words of a text without a web page that it hands on; of XML, its message. None if nothing is left."""
    text = text.strip()
    if not text or is_page(text):
        return None
    if _XML.match(text):
        message = _XML_MESSAGE.search(text[:MOST_READ])
        return message[1].strip() or None if message else None
    page = _PAGE_WITHIN.search(text[:MOST_READ]) if _reaches_the_end(text) else None
    return text[: page.start()].rstrip(" :-,\n\r\t") or None if page else text


def _reaches_the_end(text: str) -> bool:
    """Whether markup ends a text, as it ends one that hands on a page, or the text is too long to tell."""
    return text.rstrip(" .)").endswith(">") or len(text) >= _CUT_OFF


def says_nothing(words: str) -> bool:
    """Whether words only say that something failed."""
    plain = " ".join(words.lower().replace("’", "'").strip(" .!:").split())
    return plain in _NOTHINGS or any(pattern.fullmatch(plain) for pattern in (_NUMBERED, _SOMEWHERE))


def is_vague(words: str) -> bool:
    """Whether words say nothing, or are the name of an error rather than a sentence about it."""
    return _NAME.fullmatch(words.strip()) is not None or says_nothing(words)


def fields_in_text(text: str) -> Any:
    """The error that a text hands on, as parsed JSON; None if the text is words of its own."""
    text = text.strip()[:MOST_READ]
    start = _STRUCTURE.search(text)
    if start is None or start.start() > _LONGEST_PREFIX or not _HANDED_ON.fullmatch(text, 0, start.start()):
        return None
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text, start.start())
    except (ValueError, RecursionError):
        return _fields_by_name(text[start.start() :])
    return found if _looks_like_an_error(found) else None


def _looks_like_an_error(found: object) -> bool:
    """Whether JSON in a text is an error, and not something of the client's that a message quotes."""
    if isinstance(found, list):
        return bool(found) and _looks_like_an_error(found[0])
    if not isinstance(found, dict):
        return False
    names = found.keys()
    return not _ERROR_MEMBERS.isdisjoint(names) or not (
        _WORD_MEMBERS.isdisjoint(names) or (len(names) > 1 and _NAME_MEMBERS.isdisjoint(names))
    )


def _fields_by_name(text: str) -> dict[str, str] | None:
    """The error's fields in a text that is not JSON (any more): cut off, or as Python prints it."""
    found: dict[str, str] = {}
    for field in _FIELD.finditer(text):
        name, double, single = field.groups()
        if double is None:
            double = (single or "").replace("\\'", "'").replace('"', '\\"')
        found.setdefault(name, _unescaped(double))
    return found if not (_WORD_MEMBERS | _ERROR_MEMBERS).isdisjoint(found) else None


def _unescaped(text: str) -> str:
    """A string's content without its escapes, if they are whole."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
