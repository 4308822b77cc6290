"""Pages that a proxy on the way made in place of a provider's answer: Cloudflare's own, and any other HTML."""

from __future__ import annotations

import re

from gateway.core.outcomes.retry_after import HeaderLookup, asked_wait
from gateway.core.outcomes.shown_words import plain_name
from gateway.core.types import Outcome, Phase

BYPASS_HOST = "proxy.piapi.ai"
"""PiAPI's host without Cloudflare: a Cloudflare page from there is PiAPI relaying its own upstream's trouble."""

_CF_NEVER_REACHED = frozenset({521, 523, 525, 526, 530})
CF_EDGE_REFUSALS = frozenset({403, 429})
"""Statuses made at the edge (firewall, challenge, rate limit of an address): the origin was never asked."""

_ASKED_ABOUT = (b"cf-ray", b"request-id")
"""Headers by which an answer is known to who sent it."""

_CF_PLAIN = re.compile(rb"\s*error code: \d{3,4}\s*")
# Possessive: a comment ends at its first "-->" and nowhere else, or a row of them could be split in 2^n ways.
_HTML_START = re.compile(
    rb"\s*+(?:<!--(?:(?!-->).)*+-->\s*+)*+<(?:!doctype\s+html|html|head|body|title|center|h1)\b", re.I | re.S
)


def cloudflare_outcome(status: int, headers: HeaderLookup, wall_seconds: float) -> Outcome:
    """The outcome of an answer that Cloudflare made itself."""
    detail = f"Cloudflare's own page, status {status}{ray_of(headers)}"
    if status in _CF_NEVER_REACHED:
        return Outcome("cf_origin_down", Phase.REJECTED, status, detail=detail)
    if status == 524:
        return Outcome("cf_524", Phase.UNKNOWN, status, detail=detail)
    if status in CF_EDGE_REFUSALS:
        return Outcome(
            "waf_block", Phase.REJECTED, status, asked_wait(headers, wall_seconds=wall_seconds), detail=detail
        )
    return Outcome("cf_unknown", Phase.UNKNOWN, status, detail=detail)


def is_cloudflare(headers: HeaderLookup, body: bytes, document: object, *, html: bool, host: str) -> bool:
    """Whether Cloudflare made this answer. Answers it relays carry its headers too, so the body must be its own."""
    if host == BYPASS_HOST or headers.get(b"cf-ray") is None:
        return False
    if (headers.get(b"server") or b"").strip().lower() != b"cloudflare":
        return False
    if html or _CF_PLAIN.fullmatch(body[:64]):
        return True
    # RFC 9457 problem details, sent since 2026 to clients that accept JSON.
    return isinstance(document, dict) and "ray_id" in document and "error_code" in document


def is_web_page(headers: HeaderLookup, body: bytes) -> bool:
    """Whether an answer is a page for a browser, by its label or its first bytes."""
    if content_type(headers).startswith((b"text/html", b"application/xhtml")):
        return not body[:64].lstrip().startswith((b"{", b"["))  # JSON is JSON under any label
    return _HTML_START.match(body[:512]) is not None


def content_type(headers: HeaderLookup) -> bytes:
    """The content type in lower case; empty if none was sent."""
    return (headers.get(b"content-type") or b"").strip().lower()


def ray_of(headers: HeaderLookup) -> str:
    """What an operator may look up at Cloudflare, or ask Anthropic about, to be put behind other words; empty without
    either.
    """
    told = ((name, headers.get(name)) for name in _ASKED_ABOUT)
    return "".join(
        f", {name.decode()} {plain_name(value.decode('latin-1')) or 'unreadable'}"
        for name, value in told
        if value is not None
    )
