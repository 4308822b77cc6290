"""Answers that come whole and not as a stream: which ones do, and JSON that only a lenient reader takes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from gateway.core.types import Outcome
from gateway.translate.commands import Beginning, Command, Result, receive_beginning
from gateway.wire.answer_head import Head
from gateway.wire.sse import begins_like_events, begins_like_json
from gateway.wire.writable import written_strictly

T = TypeVar("T")

WHOLE_ANSWER_LIMIT = 64 << 20
CHAT_ERROR_LIMIT = 1 << 20
"""Bytes of a body that is no event stream: of a chat's success (``WHOLE_ANSWER_LIMIT``) and of an error."""


def comes_as_stream(head: Head) -> bool:
    """Whether an answer is called a stream of events, which nothing has to be read of."""
    return (
        head.status == 200
        and (head.get(b"content-type") or b"")[:17].lower() == b"text/event-stream"
        and (head.get(b"content-encoding") or b"identity").lower() == b"identity"
    )


def told_apart(head: Head) -> Generator[Command, Result, tuple[bool, Beginning]]:
    """Whether an answer comes whole, and not as a stream; and what had to be read of it to tell."""
    if comes_as_stream(head):
        return False, Beginning()
    if head.status != 200 or (head.get(b"content-encoding") or b"identity").lower() != b"identity":
        return True, Beginning()
    beginning = yield from receive_beginning()  # the label of an answer says less than its first bytes
    return not begins_like_events(beginning.data), beginning


def judged_leniently(body: bytes, judge: Callable[[bytes], tuple[Outcome, T]]) -> tuple[Outcome, T, bytes]:
    """``judge`` of a whole answer's body or, if that fails for want of strict JSON, of the nearest such JSON.

    Returns also the body that was judged. What a strict reader takes is judged once.
    """
    outcome, read = judge(body)
    if not outcome.ok and begins_like_json(body) and (strict := written_strictly(body)) is not body:
        outcome, read = judge(strict)
        body = strict
    return outcome, read, body
