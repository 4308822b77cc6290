"""The question for an upstream's models, ``GET /v1/models``, in the words of its dialect."""

from __future__ import annotations

from urllib.parse import quote

from gateway.core.headers import Header
from gateway.core.types import Dialect
from gateway.wire.messages.headers import version_header

MODELS_PATH = "/v1/models"

_A_PAGE = 1000
"""The most models that Anthropic gives on one page; without a word it gives twenty."""


def question_headers(dialect: Dialect, key: str) -> tuple[Header, ...]:
    """The headers of a question that costs nothing, but for PiAPI's own routes. ``key``: the upstream's."""
    if dialect == "anthropic":
        return (b"x-api-key", key.encode()), version_header()
    return ((b"authorization", b"Bearer " + key.encode()),)


def models_path(dialect: Dialect, after: str = "") -> str:
    """The path. ``after``: the last model of the page before."""
    if dialect != "anthropic":
        return MODELS_PATH
    behind = f"&after_id={quote(after, safe='')}" if after else ""
    return f"{MODELS_PATH}?limit={_A_PAGE}{behind}"
