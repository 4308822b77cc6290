"""The reading of whole answers in JSON that only a lenient reader takes: half an emoji makes no answer unreadable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.core.types import Outcome
from gateway.wire.sse import begins_like_json
from gateway.wire.writable import written_strictly

T = TypeVar("T")

WHOLE_ANSWER_LIMIT = 64 << 20
CHAT_ERROR_LIMIT = 1 << 20
"""Bytes of a body that is no event stream: of a chat's success (``WHOLE_ANSWER_LIMIT``) and of an error."""


def judged_leniently(body: bytes, judge: Callable[[bytes], tuple[Outcome, T]]) -> tuple[Outcome, T, bytes]:
    """``judge`` of a whole answer's body or, if that fails for want of strict JSON, of the nearest such JSON.

    Returns also the body that was judged. What a strict reader takes is judged once.
    """
    outcome, read = judge(body)
    if not outcome.ok and begins_like_json(body) and (strict := written_strictly(body)) is not body:
        outcome, read = judge(strict)
        body = strict
    return outcome, read, body
