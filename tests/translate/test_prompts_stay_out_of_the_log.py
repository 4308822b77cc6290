"""An upstream's words about an image may quote its prompt: the client is told them, the log is not.

``Outcome.detail`` is what is logged (core/types.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.types import Outcome
from gateway.translate.commands import Conversation
from gateway.translate.task_relay import TaskRelay
from gateway.wire.answer_head import Head

from . import image_chat, image_relay, tasks
from .transcript import Told, play

PROMPT = "a portrait of Jane Doe of 7 Elm Street"
STREAM = Head(200, ((b"content-type", b"text/event-stream"),))


def relay() -> TaskRelay:
    return TaskRelay(
        b"{}",
        tasks.CONTEXT,
        images=1,
        points_per_usd=tasks.POINTS_PER_USD,
        jitter=lambda: 0.5,
    )


def in_chat(words: str) -> list[Told]:
    return [STREAM, image_chat.text(words), image_chat.PIECES["finish"], image_chat.PIECES["done"]]


@pytest.mark.parametrize(
    ("talk", "told", "slug"),
    [
        (image_chat.conversation, in_chat(f"I cannot draw {PROMPT}."), "content_policy"),
        (image_chat.conversation, in_chat(f"See for yourself: {PROMPT}."), "no_image"),
        (image_chat.conversation, in_chat(f"Generation failed\nReason: {PROMPT}"), "no_image"),
        (image_chat.conversation, [STREAM, b'data: {"error":"no to %s"}\n\n' % PROMPT.encode()], "sse_error_first"),
        (image_relay.conversation, [STREAM, b'data: {"error":"no to %s"}\n\n' % PROMPT.encode()], "sse_error_first"),
        (image_relay.conversation, tasks.whole(b'{"error":{"message":"no to %s"}}' % PROMPT.encode(), 400), "rejected"),
        (image_relay.conversation, tasks.whole(b'{"error":{"message":"no to %s"}}' % PROMPT.encode()), "soft_error"),
        (tasks.conversation, tasks.whole(tasks.failed(f"could not paint {PROMPT}")), "task_failed"),
        (tasks.conversation, tasks.whole(tasks.failed(f"moderation of {PROMPT}")), "content_policy"),
        (tasks.conversation, tasks.whole(tasks.failed(f"rate limit for {PROMPT}")), "rate_limited"),
        (tasks.conversation, tasks.whole(tasks.answer(None, code=400, message=f"no to {PROMPT}")), "rejected"),
        (tasks.conversation, tasks.whole(tasks.task("done", output={}, logs=[f"no to {PROMPT}"])), "empty_response"),
        (relay, tasks.whole(tasks.failed(f"could not paint {PROMPT}")), "task_failed"),
    ],
)
def test_the_words_are_for_the_client_alone(talk: Callable[[], Conversation], told: list[Told], slug: str) -> None:
    outcome: Outcome
    _, outcome = play(talk(), told)
    assert outcome.slug == slug
    assert outcome.message is not None
    assert PROMPT in outcome.message
    assert outcome.detail
    assert "Jane" not in outcome.detail


def test_words_about_our_account_are_for_the_operator() -> None:
    body = tasks.answer(None, code=401, message="the key of account 7 was revoked")
    _, outcome = play(tasks.conversation(), tasks.whole(body, 401))
    assert outcome.slug == "key_invalid"
    assert "the key of account 7 was revoked" in outcome.detail
