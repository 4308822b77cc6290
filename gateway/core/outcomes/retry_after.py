"""Retry-After, as servers really send it (RFC 9110 §10.2.3, and OpenAI's ``retry-after-ms``)."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

SHORTEST = 0.1
LONGEST = 3600.0
_BELIEVABLE = 86_400.0
"""Seconds. Above a day it is a mistake (a Unix time, milliseconds), not a wish, and treated as if nothing was said."""

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{0,9})?", re.ASCII)


class HeaderLookup(Protocol):
    """An answer's header fields by their names, in lower case."""

    def get(self, name: bytes, /) -> bytes | None: ...


def parse_retry_after(value: bytes | str | None, *, wall_seconds: float) -> float | None:
    """Seconds to wait, within 0.1 s and 1 h, or None if the field is missing or means nothing.

    ``value``: a number of seconds (fractions are taken too) or an HTTP date. ``wall_seconds``: Unix time now.
    Negative numbers, NaN, exponents, dates in the past and anything beyond a day mean nothing.
    """
    if value is None:
        return None
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip()
    if _NUMBER.fullmatch(text):
        return _within_reason(float(text))
    if len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - wall_seconds
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _within_reason(seconds) if seconds > 0 else None


def asked_wait(headers: HeaderLookup, *, wall_seconds: float) -> float | None:
    """Seconds an answer asks to be left alone: ``retry-after-ms`` if it says something, else ``retry-after``."""
    precise = headers.get(b"retry-after-ms")
    if precise is not None:
        text = precise.decode("latin-1").strip()
        if _NUMBER.fullmatch(text):
            return _within_reason(float(text) / 1000.0)
    return parse_retry_after(headers.get(b"retry-after"), wall_seconds=wall_seconds)


def _within_reason(seconds: float) -> float | None:
    if seconds > _BELIEVABLE:
        return None
    return min(max(seconds, SHORTEST), LONGEST)
